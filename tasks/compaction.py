"""Merge the many small parts of a manifest into few larger ones, beside whatever else runs.

A merged part is written whole under a name of its own; only then are the parts it holds deleted.
Killed at any point, every row is still there, some of them twice, which readers do not mind: a
source's current row is its latest. Rows keep their run's folder, so that `run=` stays true.
"""

import hashlib
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from tasks import manifest_parts, storage, tables
from tasks.failures import RequestError, persistently
from tasks.storage import Entry

_LARGE_BYTES = 32 * 2**20
"""A merged part has about so many bytes; what has half of it is left alone."""

_MERGED = re.compile(r"shards-(\d{4})-[0-9a-f]{16}\.parquet")
_WORKERS = 8
_KEY = ["source", "finished_at", "run", "shard"]


@dataclass(frozen=True, kw_only=True)
class Compaction:
    """What a compaction did: parts and their bytes before and after."""

    parts_before: int
    parts_after: int
    bytes_before: int
    bytes_after: int
    runs_left_alone: int
    """Runs that still say that they are running, and wrote within the time given."""


@dataclass(frozen=True, kw_only=True)
class _Merge:
    """Parts of one run that become one."""

    folder: str
    parts: tuple[Entry, ...]


def compact(
    destination: str, *, older_than_hours: float = 24.0, part_bytes: int = _LARGE_BYTES
) -> Compaction:
    """Merge the parts of every run that is over.

    Args:
        older_than_hours: a run that was killed says for ever that it is running; it counts as
            over when it has written nothing for so long.
        part_bytes: about how large a merged part becomes.
    Raises:
        RequestError: a value out of range.
        ValueError: a part or a run's record is damaged.
        StorageError: the manifest cannot be read or written.
    """
    if not older_than_hours >= 0 or part_bytes < 1:
        raise RequestError(
            "older-than must be at least 0 hours and a part at least 1 byte,"
            f" got {older_than_hours} and {part_bytes}"
        )
    place = storage.normalise(destination)
    before = [entry for page in manifest_parts.list_parts(place) for entry in page]
    over = _runs_that_are_over(place, timedelta(hours=older_than_hours))
    by_folder: dict[str, list[Entry]] = {}
    for entry in before:
        by_folder.setdefault(entry.uri.rpartition("/")[0], []).append(entry)
    alone = 0
    for folder, parts in sorted(by_folder.items()):
        if not _is_over(folder, parts, over, older_than_hours):
            alone += 1
            continue
        for merge in _merges(folder, parts, part_bytes):
            _replace(merge)
    after = [entry for page in manifest_parts.list_parts(place) for entry in page]
    return Compaction(
        parts_before=len(before),
        parts_after=len(after),
        bytes_before=sum(entry.size for entry in before),
        bytes_after=sum(entry.size for entry in after),
        runs_left_alone=alone,
    )


def _runs_that_are_over(destination: str, silent_for: timedelta) -> dict[str, bool | None]:
    """By run: over (True), under way (False), or to be told by its rows (None)."""
    oldest = datetime.now(UTC) - silent_for
    state: dict[str, bool | None] = {}
    for record in manifest_parts.read_runs(destination):
        started = record["started_at"]
        if record["status"] != "running":
            state[str(record["run"])] = True
        else:
            recent = isinstance(started, datetime) and started > oldest
            state[str(record["run"])] = False if recent else None
    return state


def _is_over(
    folder: str, parts: list[Entry], over: dict[str, bool | None], older_than_hours: float
) -> bool:
    state = over.get(folder.rpartition("run=")[2])
    if state is not None:
        return state
    oldest = datetime.now(UTC) - timedelta(hours=older_than_hours)
    with ThreadPoolExecutor(_WORKERS) as pool:
        return all(at <= oldest for at in pool.map(_last_row, parts))


def _last_row(part: Entry) -> datetime:
    table = tables.from_parquet(storage.read(part.uri), ["finished_at"])
    latest: datetime | None = pc.max(table.column(0)).as_py()
    return latest or datetime.min.replace(tzinfo=UTC)


def _merges(folder: str, parts: list[Entry], part_bytes: int) -> Iterator[_Merge]:
    """Groups of small neighbours, each about as large as a merged part is to be."""
    group: list[Entry] = []
    size = 0
    for part in sorted(parts, key=lambda entry: entry.uri):
        if part.size >= part_bytes / 2:
            continue
        if group and size + part.size > part_bytes:
            yield _Merge(folder=folder, parts=tuple(group))
            group, size = [], 0
        group.append(part)
        size += part.size
    if len(group) > 1:
        yield _Merge(folder=folder, parts=tuple(group))


def _replace(merge: _Merge) -> None:
    """Write the merged part, then delete what it holds."""
    with ThreadPoolExecutor(_WORKERS) as pool:
        read = list(pool.map(_read_if_there, merge.parts))
    held = [(entry, table) for entry, table in read if table is not None]
    if len(held) < 2:
        return  # another compaction was faster
    merged = merged_rows([table for _, table in held])
    target = storage.join(merge.folder, merged_name([entry.uri for entry, _ in held], merged))
    data = tables.table_to_parquet(merged)
    persistently(lambda: storage.write(target, data))
    with ThreadPoolExecutor(_WORKERS) as pool:
        list(pool.map(_delete_unchanged, [entry for entry, _ in held]))


def _read_if_there(part: Entry) -> tuple[Entry, pa.Table | None]:
    try:
        data = persistently(lambda: storage.read(part.uri))
    except storage.NotFoundError:
        return part, None
    try:
        return part, tables.from_parquet(data)
    except ValueError as error:
        raise ValueError(f"{part.uri}: {error}") from error


def _delete_unchanged(part: Entry) -> None:
    """Delete a part, unless its shard was done again since it was listed."""
    try:
        unchanged = persistently(lambda: storage.stat(part.uri)).etag == part.etag
    except storage.NotFoundError:
        return
    if unchanged:
        persistently(lambda: storage.delete(part.uri))


def merged_rows(parts: list[pa.Table]) -> pa.Table:
    """Every row of several parts, each once, by source and time: of equals the current is last."""
    rows = pa.concat_tables(parts, promote_options="permissive")
    ordered = rows.sort_by([(name, "ascending") for name in _KEY])
    keys = ordered.select(_KEY).append_column("at", pa.array(range(len(ordered)), pa.int64()))
    first = keys.group_by(_KEY, use_threads=False).aggregate([("at", "min")]).column("at_min")
    return ordered.take(first).sort_by([(name, "ascending") for name in _KEY])


def merged_name(parts: list[str], rows: pa.Table) -> str:
    """`shards-<generation>-<digest>.parquet`, which sorts after each of the parts it replaces.

    A listing in the order of names that misses a part, deleted a moment before, meets it merged.
    """
    found = [_MERGED.fullmatch(uri.rpartition("/")[2]) for uri in parts]
    generation = 1 + max((int(match[1]) for match in found if match), default=0)
    digest = hashlib.sha256()
    for name in _KEY:
        for value in rows.column(name).cast(pa.string()).to_pylist():
            digest.update(f"{value}\0".encode())
    return f"shards-{generation:04d}-{digest.hexdigest()[:16]}.parquet"
