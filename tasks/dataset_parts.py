"""How a dataset of rows is kept: parts by split, a record a shard, dataset.json last.

    DESTINATION/request.json                      what shapes the dataset; written first
    DESTINATION/data/<split>/shard-00012.parquet  the rows of a shard
    DESTINATION/shards/shard-00012.json           its record: what was written; the shard's commit
    DESTINATION/failures.parquet                  sources that could not be taken in
    DESTINATION/dataset.json                      the commit of the whole

No file but runs/ has a time or a run's name in it: one request gives the same bytes, whoever makes
them, in whatever order.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol, TypeAlias

import pyarrow as pa

from tasks import storage, tables
from tasks.failures import persistently

SHARDS, DATA = "shards", "data"
DESCRIPTION, FAILURES = "dataset.json", "failures.parquet"
Split: TypeAlias = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

Part = dict[str, Any]
"""path, split, rows, sha256."""


class Row(Protocol):
    """A record of a dataset, as a dataclass."""

    @property
    def split(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class ShardRecord:
    """A finished shard; fingerprint: of its sources."""

    number: int
    fingerprint: str
    parts: list[Part]
    failures: list[dict[str, str]]


def to_json(told: dict[str, Any]) -> bytes:
    """The bytes of a JSON file."""
    return (json.dumps(told, indent=2) + "\n").encode()


def write(destination: str, name: str, data: bytes) -> None:
    """Write one file of a dataset."""
    where = storage.join(destination, name)
    persistently(lambda: storage.write(where, data))


def write_shard(
    destination: str,
    number: int,
    fingerprint: str,
    rows: Sequence[Row],
    failures: Sequence[Any],
    schema: pa.Schema,
) -> None:
    """Write a shard's rows, a part a split, and then its record, which commits it.

    Args:
        failures: dataclasses.
    """
    parts: list[Part] = []
    for split in SPLITS:
        own: list[Any] = [row for row in rows if row.split == split]
        if own:
            path = f"{DATA}/{split}/shard-{number:05d}.parquet"
            data = tables.to_parquet(own, schema)
            write(destination, path, data)
            sha256 = hashlib.sha256(data).hexdigest()
            parts.append({"path": path, "split": split, "rows": len(own), "sha256": sha256})
    told = [asdict(failure) for failure in failures]
    record = ShardRecord(number=number, fingerprint=fingerprint, parts=parts, failures=told)
    write(destination, _record_path(number), to_json(asdict(record)))


def _record_path(number: int) -> str:
    return f"{SHARDS}/shard-{number:05d}.json"


def finished_shards(destination: str) -> dict[int, ShardRecord]:
    """The records of all finished shards, by number; a damaged one is not finished."""
    found: dict[int, ShardRecord] = {}
    try:
        pages = list(storage.list_pages(storage.join(destination, SHARDS)))
    except storage.NotFoundError:
        return found
    for entry in (e for page in pages for e in page):
        data = persistently(lambda uri=entry.uri: storage.read(uri))  # type: ignore[misc]
        try:
            record = ShardRecord(**json.loads(data))
        except (ValueError, TypeError):
            continue
        found[record.number] = record
    return found


def all_shards(destination: str, shards: int) -> list[ShardRecord]:
    """The records of shards 0 to `shards` - 1. Raises ValueError: one is not finished."""
    records = finished_shards(destination)
    missing = [n for n in range(shards) if n not in records]
    if missing:
        raise ValueError(f"shards {missing} are not finished: run it again")
    return [records[n] for n in range(shards)]


def parts_of(records: Sequence[ShardRecord]) -> list[Part]:
    """All parts, by path."""
    return sorted((p for record in records for p in record.parts), key=lambda p: str(p["path"]))


def rows_by_split(parts: Sequence[Part]) -> dict[str, int]:
    """How many rows each split has."""
    return {split: sum(p["rows"] for p in parts if p["split"] == split) for split in SPLITS}


def dataset_digest(config_digest: str, parts: Sequence[Part]) -> str:
    """Of what shaped the dataset and of every part's bytes; parts by path."""
    lines = [config_digest, *(f"{p['path']} {p['sha256']}" for p in parts)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def delete_left_over(destination: str, held: Sequence[ShardRecord]) -> None:
    """Delete parts and records of shards that a smaller source no longer has."""
    kept = {storage.join(destination, part["path"]) for record in held for part in record.parts}
    kept |= {storage.join(destination, _record_path(record.number)) for record in held}
    for folder in (DATA, SHARDS):
        try:
            pages = list(storage.list_pages(storage.join(destination, folder)))
        except storage.NotFoundError:
            continue
        for entry in (e for page in pages for e in page):
            if entry.uri not in kept:
                storage.delete(entry.uri)
