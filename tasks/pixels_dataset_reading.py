"""Read a dataset for pixel models, split by split."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.pixel_pictures import Bytes, levels_of, spread
from tasks import storage, tables
from tasks.dataset_parts import DESCRIPTION, SPLITS
from tasks.failures import persistently
from tasks.pixels_card import SYSTEM
from tasks.sr_pairs import DatasetError

_COLUMNS = ["image", "label", "source"]


@dataclass(frozen=True, kw_only=True)
class PixelsDataset:
    """What a dataset says of itself: `counts` are pictures by split.

    levels: values of a pixel. names: of the labels, by number; none: it has no labels.
    parts: (path below uri, split, rows), by path.
    """

    uri: str
    digest: str
    counts: dict[str, int]
    height: int
    width: int
    channels: int
    levels: int
    names: tuple[str, ...]
    parts: tuple[tuple[str, str, int], ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class PixelsSplit:
    """Pictures in memory: levels (N, C, H, W) uint8, a label each or None, and where each is from.

    A source without a label has -1.
    """

    images: Bytes
    labels: NDArray[np.int64] | None
    sources: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)


def open_pixels_dataset(uri: str) -> PixelsDataset:
    """What a dataset for pixel models says of itself.

    Raises:
        DatasetError: there is no dataset, an unfinished or a damaged one, or one of another system.
        StorageError: the store cannot be asked.
    """
    place = storage.normalise(uri)
    told = _description(place)
    try:
        return PixelsDataset(
            uri=place,
            digest=str(told["digest"]),
            counts={str(split): int(count) for split, count in told["counts"].items()},
            height=int(told["height"]),
            width=int(told["width"]),
            channels=int(told["channels"]),
            levels=int(told["levels"]),
            names=tuple(str(name) for name in told["names"]),
            parts=tuple((str(p["path"]), str(p["split"]), int(p["rows"])) for p in told["parts"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise DatasetError(f"{storage.redact(place)}/{DESCRIPTION} is damaged: {what}") from error


def _description(place: str) -> dict[str, Any]:
    shown = storage.redact(place)
    try:
        told = json.loads(persistently(lambda: storage.read(storage.join(place, DESCRIPTION))))
    except storage.NotFoundError as error:
        raise DatasetError(f"{shown} is no dataset: it has no {DESCRIPTION}") from error
    except ValueError as error:
        raise DatasetError(f"{shown}/{DESCRIPTION} is damaged: {error}") from error
    system = told.get("system") if isinstance(told, dict) else None
    if system != SYSTEM:
        raise DatasetError(f"{shown} is a dataset of the system {system!r}, wanted {SYSTEM!r}")
    return dict(told)


def read_pixels(dataset: PixelsDataset, split: str, *, limit: int | None = None) -> PixelsSplit:
    """The pictures of a split, all in memory, in the order of the parts.

    Args:
        limit: at most so many, evenly spread over the split: it may be sorted by class.
    Raises:
        ValueError: no such split, or it has no picture.
        DatasetError: a part is missing, damaged, or not of the rows and pictures that were written.
        StorageError: a part cannot be read.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    count = dataset.counts.get(split, 0)
    if not count:
        raise ValueError(f"{storage.redact(dataset.uri)} has no picture in its {split} split")
    wanted = spread(count, limit or count)
    shape = (len(wanted), dataset.height, dataset.width, dataset.channels)
    images, labels = np.empty(shape, np.uint8), np.full(len(wanted), -1, np.int64)
    sources: list[str] = []
    for place, row in enumerate(_rows(dataset, split, wanted)):
        images[place] = _pixels(row, dataset)
        labels[place] = -1 if row["label"] is None else row["label"]
        sources.append(str(row["source"]))
    return PixelsSplit(
        images=levels_of(np.ascontiguousarray(images.transpose(0, 3, 1, 2)), dataset.levels),
        labels=labels if dataset.names else None,
        sources=tuple(sources),
    )


def _rows(
    dataset: PixelsDataset, split: str, wanted: NDArray[np.int64]
) -> Iterator[dict[str, Any]]:
    """The wanted rows of a split, one part in memory at a time."""
    before = 0
    for path, own, rows in dataset.parts:
        if own != split:
            continue
        here = wanted[(wanted >= before) & (wanted < before + rows)] - before
        before += rows
        if not len(here):
            continue
        uri = storage.join(dataset.uri, path)
        shown = storage.redact(uri)
        try:
            table = tables.from_parquet(persistently(lambda uri=uri: storage.read(uri)), _COLUMNS)  # type: ignore[misc]
        except storage.NotFoundError as error:
            raise DatasetError(f"{shown} is missing") from error
        except ValueError as error:
            raise DatasetError(f"{shown} is damaged: {error}") from error
        if table.num_rows != rows:
            raise DatasetError(f"{shown} has {table.num_rows} rows, {DESCRIPTION} says {rows}")
        for batch in table.take(here).to_batches(max_chunksize=1024):
            yield from batch.to_pylist()


def _pixels(row: dict[str, Any], dataset: PixelsDataset) -> Bytes:
    """(H, W, C) of one row."""
    try:
        pixels = np.asarray(Image.open(BytesIO(row["image"]["bytes"]), formats=["PNG"]))
    except (OSError, TypeError, KeyError) as error:
        raise DatasetError(f"the picture of {row['source']} cannot be read: {error}") from error
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    wanted = (dataset.height, dataset.width, dataset.channels)
    if pixels.shape != wanted:
        raise DatasetError(
            f"the picture of {row['source']} is {pixels.shape}, {DESCRIPTION} says {wanted}"
        )
    return pixels
