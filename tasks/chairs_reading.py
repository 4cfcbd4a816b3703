"""Read a dataset of chairs, split by split."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from models.rendering import Pixels
from tasks import storage, tables
from tasks.chairs_card import SYSTEM
from tasks.dataset_parts import DESCRIPTION, SPLITS
from tasks.failures import persistently
from tasks.sr_pairs import DatasetError

_COLUMNS = ["image", "mask", "chair", "name", "azimuth", "elevation"]


@dataclass(frozen=True, kw_only=True)
class ChairsDataset:
    """What a dataset says of itself: `counts` are views by split, angles are degrees.

    names: of the classes, by number. parts: (path below uri, split, rows), by path.
    request: what it was made of, for one of our own renderer with seed, chairs, azimuths and so on.
    """

    uri: str
    digest: str
    counts: dict[str, int]
    chairs: int
    size: int
    azimuths: tuple[float, ...]
    elevations: tuple[float, ...]
    names: tuple[str, ...]
    parts: tuple[tuple[str, str, int], ...]
    request: dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class ChairView:
    """One view: the bytes of a PNG on white and of its mask's; angles in degrees."""

    image: bytes
    mask: bytes
    chair: int
    name: str
    azimuth: float
    elevation: float

    def pixels(self) -> tuple[Pixels, Pixels]:
        """(size, size, 3) and (size, size), both uint8; the mask is the coverage, 0..255."""
        image = np.asarray(Image.open(BytesIO(self.image)).convert("RGB"))
        mask = np.asarray(Image.open(BytesIO(self.mask)).convert("L"))
        return image, mask


def open_chairs_dataset(uri: str) -> ChairsDataset:
    """What a dataset of chairs says of itself.

    Raises:
        DatasetError: there is no dataset, an unfinished or a damaged one, or one of another system.
        StorageError: the store cannot be asked.
    """
    place = storage.normalise(uri)
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
    try:
        return ChairsDataset(
            uri=place,
            digest=str(told["digest"]),
            counts={str(split): int(count) for split, count in told["counts"].items()},
            chairs=int(told["chairs"]),
            size=int(told["size"]),
            azimuths=tuple(float(a) for a in told["azimuths"]),
            elevations=tuple(float(e) for e in told["elevations"]),
            names=tuple(str(name) for name in told["names"]),
            parts=tuple((str(p["path"]), str(p["split"]), int(p["rows"])) for p in told["parts"]),
            request=dict(told["request"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise DatasetError(f"{shown}/{DESCRIPTION} is damaged: {what}") from error


def read_chairs(dataset: ChairsDataset, split: str) -> Iterator[ChairView]:
    """The views of a split by chair, elevation and azimuth, one part in memory at a time.

    Raises:
        ValueError: no such split.
        DatasetError: a part is missing, damaged, or has another number of rows than was written.
        StorageError: a part cannot be read.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    return _views(dataset, split)


def _views(dataset: ChairsDataset, split: str) -> Iterator[ChairView]:
    for path, own, rows in dataset.parts:
        if own == split:
            yield from _views_of_part(storage.join(dataset.uri, path), rows)


def _views_of_part(uri: str, rows: int) -> Iterator[ChairView]:
    shown = storage.redact(uri)
    try:
        table = tables.from_parquet(persistently(lambda: storage.read(uri)), _COLUMNS)
    except storage.NotFoundError as error:
        raise DatasetError(f"{shown} is missing") from error
    except ValueError as error:
        raise DatasetError(f"{shown} is damaged: {error}") from error
    if table.num_rows != rows:
        raise DatasetError(f"{shown} has {table.num_rows} rows, {DESCRIPTION} says {rows}")
    for row in table.to_pylist():
        image, mask = row.pop("image")["bytes"], row.pop("mask")["bytes"]
        yield ChairView(image=image, mask=mask, **row)
