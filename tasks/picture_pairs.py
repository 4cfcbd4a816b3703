"""What super-resolution is judged by: pictures beside what degradation made of them."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from models.image_modes import reduce_to_8_bits
from models.images import decode
from models.pixels import Pixels
from tasks import collection, sr_pairs, storage, tables
from tasks.failures import persistently


@dataclass(frozen=True, kw_only=True, eq=False)
class PicturePair:
    """An original, (scale*H, scale*W, 1 or 3) uint8, and what degradation made of it, (H, W, C)."""

    source: str
    source_digest: str
    truth: Pixels
    low: Pixels


@dataclass(frozen=True, kw_only=True)
class PairSource:
    """A picture that is yet to be read: `load` may fail with what is wrong with this one."""

    source: str
    load: Callable[[], PicturePair]


def picture_pairs(dataset: str, split: str, scale: int) -> Iterator[PairSource]:
    """What there is to judge by: a dataset's split as it was made, or a collection's originals.

    Args:
        dataset: what `pixelmill dataset sr` made; or any collection, which has no splits, and whose
            pictures are cut to a multiple of scale and made small by the published protocol.
    Raises:
        DatasetError, StorageError: it cannot be read.
    """
    if sr_pairs.is_dataset(dataset):
        for encoded in sr_pairs.read_pairs(dataset, split):
            yield PairSource(source=encoded.source, load=partial(_decode_pair, encoded))
        return
    by_name = not collection.is_list(dataset)
    for page in collection.list_collection(dataset):
        for relative, entry in page:
            if not (by_name and collection.reason_to_leave_out(relative)):
                yield PairSource(source=entry.uri, load=partial(_make_pair, entry.uri, scale))


def _decode_pair(encoded: sr_pairs.EncodedPair) -> PicturePair:
    return PicturePair(
        source=encoded.source,
        source_digest=encoded.source_digest,
        truth=decode_colour(encoded.image),
        low=decode_colour(encoded.low),
    )


def _make_pair(uri: str, scale: int) -> PicturePair:
    data = persistently(lambda: storage.read(uri))
    truth, low = degrade(decode_colour(data), scale)
    digest = hashlib.sha256(data).hexdigest()
    return PicturePair(source=tables.storable(uri), source_digest=digest, truth=truth, low=low)


def decode_colour(data: bytes) -> Pixels:
    """(H, W, 1 or 3) uint8 of an image file: alpha is left out, 16-bit gray reduced to 8 bits.

    Raises:
        ImageError: it cannot be read.
    """
    pixels = reduce_to_8_bits(decode(data).pixels)
    colours = 1 if pixels.shape[2] < 3 else 3
    return np.ascontiguousarray(pixels[..., :colours])


def degrade(truth: Pixels, scale: int) -> tuple[Pixels, Pixels]:
    """The original cut to a multiple of scale, and the published protocol's small picture.

    Args:
        truth: (H, W, C) uint8.
    Raises:
        ValueError: a side is shorter than the scale.
    """
    import torch

    from models.resampling import bicubic_downscale

    height, width = (side // scale * scale for side in truth.shape[:2])
    if not height or not width:
        raise ValueError(
            f"{truth.shape[1]}x{truth.shape[0]} is too small to be made {scale} times smaller"
        )
    cut = np.ascontiguousarray(truth[:height, :width])
    planes = torch.from_numpy(cut).permute(2, 0, 1)[None]
    small = bicubic_downscale(planes, scale)[0].permute(1, 2, 0)
    return cut, np.ascontiguousarray(small.to(torch.uint8).numpy())
