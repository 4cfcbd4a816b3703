"""The engine's stage for networks that see a neighbourhood: tiles of many images in batches."""

import numpy as np

from models import images
from models.images import Header
from models.pixels import Pixels
from models.tiling import TileGrid, core, run_in_parts, tile_grid, window
from tasks.passage import Passage
from tasks.tile_queue import Batch, TileQueue
from tasks.transform import BulkConfig, Transform, Worked


class TileStage:
    """Cuts pictures into tiles, runs equal ones together, and draws the results."""

    def __init__(self, transform: Transform, config: BulkConfig) -> None:
        self._transform = transform
        self._config = config
        self._tiles: TileQueue[Passage] = TileQueue(
            config.batch_pixels, batch_most=config.batch_most, patience_s=config.patience_s
        )

    def bytes_needed(self, header: Header, source_bytes: int, /) -> int:
        """At the peak: pixels, 4 bytes for each of Pillow's, encoded output."""
        pixels = header.width * header.height
        return source_bytes + pixels * 4 + pixels * self._transform.scale**2 * 8

    def put(self, image: Passage, /) -> None:
        """Queue the tiles of a decoded picture."""
        if image.picture is None:
            raise RuntimeError(f"{image.source.uri} reached the network without pixels")
        pixels = image.picture.pixels
        height, width, channels = pixels.shape
        scale = self._transform.scale
        image.grid = grid = tile_grid(
            height,
            width,
            tile=self._config.tile,
            radius=self._transform.radius_for(channels),
            multiple=self._transform.multiple,
        )
        image.output = images.blank(height * scale, width * scale, channels, pixels.dtype)
        image.remaining = grid.count
        shape = (grid.window_height, grid.window_width, channels, str(pixels.dtype))
        self._tiles.put(image, shape, grid.count)

    def close(self) -> None:
        """No more pictures will come."""
        self._tiles.close()

    def work(self, worked: Worked, /) -> None:
        """Run batches until the stage is closed and empty."""
        while (batch := self._tiles.take()) is not None:
            try:
                share = self._run(batch)
            except Exception as error:  # noqa: BLE001 (the images of this batch fail, no other)
                for image, _ in batch.tiles:
                    _tile_done(image, worked, error=error)
            else:
                for image, _ in batch.tiles:
                    _tile_done(image, worked, seconds=share)

    def _run(self, batch: Batch[Passage]) -> float:
        """The seconds that each tile of the batch took."""
        began, transform = self._config.clock(), self._transform
        windows = [window(*_pixels_and_grid(image), index) for image, index in batch.tiles]
        windows += [np.zeros_like(windows[0])] * (batch.size - len(windows))
        results = run_in_parts(
            transform,
            np.stack(windows),
            radius=transform.radius_for(windows[0].shape[-1]),
            scale=transform.scale,
            multiple=transform.multiple,
        )
        for (image, index), result in zip(batch.tiles, results, strict=False):
            output, grid = image.output, image.grid
            if output is not None and grid is not None:
                images.draw(output, *core(result, grid, index, transform.scale))
        return (self._config.clock() - began) / len(batch.tiles)


def _tile_done(
    image: Passage, worked: Worked, *, seconds: float = 0.0, error: Exception | None = None
) -> None:
    with image.lock:
        image.infer_s += seconds
        image.error = image.error or error
        image.remaining -= 1
        finished = image.remaining == 0
    if finished:
        worked(image, image.error)


def _pixels_and_grid(image: Passage) -> tuple[Pixels, TileGrid]:
    if image.picture is None or image.grid is None:
        raise RuntimeError(f"{image.source.uri} reached the network without pixels")
    return image.picture.pixels, image.grid
