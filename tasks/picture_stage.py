"""The engine's stage for jobs that need the whole picture: textures, styles."""

import numpy as np

from models import images
from models.images import Header
from models.pixels import Pixels
from tasks.passage import Passage
from tasks.tile_queue import Batch, TileQueue
from tasks.transform import BulkConfig, PictureTransform, Worked


class PictureStage:
    """Runs whole pictures, those of equal shape together where the device takes more than one."""

    def __init__(self, transform: PictureTransform, config: BulkConfig) -> None:
        self._transform = transform
        self._config = config
        self._pictures: TileQueue[Passage] = TileQueue(
            config.batch_pixels, batch_most=config.batch_most, patience_s=config.patience_s
        )

    def bytes_needed(self, header: Header, source_bytes: int, /) -> int:
        """At the peak: the encoded source, its pixels, and what the transform asks for."""
        pixels = header.width * header.height * 4
        return source_bytes + pixels + self._transform.bytes_needed(header)

    def put(self, image: Passage, /) -> None:
        """Queue a decoded picture."""
        pixels = _pixels(image)
        height, width, channels = pixels.shape
        self._pictures.put(image, (height, width, channels, str(pixels.dtype)), 1)

    def close(self) -> None:
        """No more pictures will come."""
        self._pictures.close()

    def work(self, worked: Worked, /) -> None:
        """Run batches until the stage is closed and empty."""
        while (batch := self._pictures.take()) is not None:
            pictures = [image for image, _ in batch.tiles]
            try:
                self._run(batch)
            except Exception as error:  # noqa: BLE001 (the images of this batch fail, no other)
                for image in pictures:
                    worked(image, error)
            else:
                for image in pictures:
                    worked(image, None)

    def _run(self, batch: Batch[Passage]) -> None:
        began, pictures = self._config.clock(), [image for image, _ in batch.tiles]
        stack = np.stack([_pixels(image) for image in pictures])
        results = self._transform(stack, [image.source for image in pictures])
        for image, pixels in zip(pictures, results, strict=True):
            height, width, channels = pixels.shape
            image.output = images.blank(height, width, channels, pixels.dtype)
            images.draw(image.output, pixels, 0, 0)
        share = (self._config.clock() - began) / len(pictures)
        for image in pictures:
            image.infer_s = share


def _pixels(image: Passage) -> Pixels:
    if image.picture is None:
        raise RuntimeError(f"{image.source.uri} reached the device without pixels")
    return image.picture.pixels
