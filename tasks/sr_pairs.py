"""Read a super-resolution dataset: pairs of a picture and its degraded version, split by split.

`dataset.json` is the commit: it names the index, and the index says which row of which part is
current. What an unfinished build has added shows only when a later one has finished.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, groupby
from operator import itemgetter
from typing import Any

import pyarrow as pa

from tasks import storage, tables
from tasks.failures import persistently

SYSTEM = "sr"
DESCRIPTION = "dataset.json"
DATA = "data"

_COLUMNS = ["source", "source_digest", "image", "low", "width", "height"]


class DatasetError(ValueError):
    """Not a dataset, or not one of this kind; the message says what it is."""


@dataclass(frozen=True, kw_only=True)
class SrDataset:
    """What a dataset says of itself; `counts` are pictures by split, `digest` is of its content."""

    uri: str
    scale: int
    degradation: str
    digest: str
    counts: dict[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedPair:
    """A picture of width x height pixels and its degraded version, as the bytes of PNG files."""

    source: str
    source_digest: str
    image: bytes
    low: bytes
    width: int
    height: int


def is_dataset(uri: str) -> bool:
    """Whether there is a dataset.json. Raises StorageError."""
    place = storage.join(storage.normalise(uri), DESCRIPTION)
    return persistently(lambda: storage.exists(place))


def open_sr_dataset(uri: str) -> SrDataset:
    """What a super-resolution dataset says of itself.

    Raises:
        DatasetError: there is no dataset, or one of another system, or its description is damaged.
        StorageError: the store cannot be asked.
    """
    place = storage.normalise(uri)
    told = read_description(place)
    try:
        return SrDataset(
            uri=place,
            scale=int(told["scale"]),
            degradation=str(told["degradation"]["kind"]),
            digest=str(told["digest"]),
            counts={str(split): int(count) for split, count in told["counts"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(place, error) from error


def read_description(place: str) -> dict[str, Any]:
    """What dataset.json says, of a super-resolution dataset at a normalised URI.

    Raises:
        DatasetError: as in `open_sr_dataset`.
    """
    shown = storage.redact(place)
    try:
        data = persistently(lambda: storage.read(storage.join(place, DESCRIPTION)))
    except storage.NotFoundError as error:
        raise DatasetError(f"{shown} is no dataset: it has no {DESCRIPTION}") from error
    try:
        told = json.loads(data)
    except ValueError as error:
        raise _damaged(place, error) from error
    system = told.get("system") if isinstance(told, dict) else None
    if system != SYSTEM:
        raise DatasetError(f"{shown} is a dataset of the system {system!r}, wanted {SYSTEM!r}")
    return dict(told)


def _damaged(place: str, error: Exception) -> DatasetError:
    what = f"no {error}" if isinstance(error, KeyError) else str(error)
    return DatasetError(f"{storage.redact(place)}/{DESCRIPTION} is damaged: {what}")


def read_index(place: str, name: str) -> pa.Table:
    """The index of that name: one row a source, its current state; empty if it is not there.

    Raises:
        DatasetError: it is no Parquet file of that schema.
    """
    where = storage.join(place, name)
    try:
        return tables.from_parquet(persistently(lambda: storage.read(where))).cast(tables.SR_INDEX)
    except storage.NotFoundError:
        return tables.SR_INDEX.empty_table()
    except ValueError as error:
        raise DatasetError(f"{storage.redact(where)} is damaged: {error}") from error


def read_pairs(uri: str, split: str) -> Iterator[EncodedPair]:
    """The pairs of a split, one part in memory at a time, in an order that does not change.

    Of a source that was edited only the newest row is given, and each content once. The order is
    that of the parts' names, and within a part of the sources'.

    Args:
        split: train, validation or test; one without pictures gives none.
    Raises:
        DatasetError: no dataset, or damaged.
        StorageError: a part cannot be read.
    """
    place = storage.normalise(uri)
    told = read_description(place)
    if told.get("index") is None:
        return iter(())  # its first build has not come to its end
    index = read_index(place, str(told["index"]))
    columns = zip(*(index[name].to_pylist() for name in ("split", "part", "row")), strict=True)
    held = sorted((part, row) for own, part, row in columns if own == split and part is not None)
    counted = told.get("counts", {}).get(split, 0)
    if len(held) != counted:
        raise DatasetError(
            f"{storage.redact(place)}/{told['index']} has {len(held)} pictures of the {split}"
            f" split, {DESCRIPTION} says {counted}: build the dataset again to mend it"
        )
    parts = groupby(held, key=itemgetter(0))
    return chain.from_iterable(
        _pairs_of_part(storage.join(place, part), [row for _, row in rows]) for part, rows in parts
    )


def _pairs_of_part(uri: str, rows: list[int]) -> Iterator[EncodedPair]:
    try:
        table = tables.from_parquet(persistently(lambda: storage.read(uri)), _COLUMNS)
    except ValueError as error:
        raise DatasetError(f"{storage.redact(uri)} is damaged: {error}") from error
    source, digest, image, low, width, height = (table[name] for name in _COLUMNS)
    for row in rows:
        yield EncodedPair(
            source=source[row].as_py(),
            source_digest=digest[row].as_py(),
            image=image[row]["bytes"].as_py(),
            low=low[row]["bytes"].as_py(),
            width=width[row].as_py(),
            height=height[row].as_py(),
        )
