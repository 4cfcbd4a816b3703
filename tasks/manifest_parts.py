"""The parts of a destination's manifest, read each once, also while `compact` merges them.

    manifest/run=<run>/shard-<n>.parquet                     what a shard committed
    manifest/run=<run>/shards-<generation>-<digest>.parquet  several of those, merged

A merged part is written before what it replaces is deleted, and its name sorts after theirs.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks import storage, tables
from tasks.failures import listed_persistently, persistently
from tasks.storage import Entry

T = TypeVar("T")

_READERS = 8


def list_parts(destination: str) -> Iterator[list[Entry]]:
    """Pages of a destination's manifest parts; none where there is no manifest yet."""
    try:
        for page in listed_persistently(storage.join(destination, "manifest")):
            yield [entry for entry in page if entry.uri.endswith(".parquet")]
    except storage.NotFoundError:
        return  # a new destination


def read_parts(destination: str, read: Callable[[str], T]) -> Iterator[T]:
    """What `read` makes of every part, by its URI.

    A part that vanishes between its listing and its reading was merged into another, so that the
    folder is listed again until nothing in it is new. Rows may come twice, never not at all.

    Raises:
        StorageError: the manifest cannot be read.
    """
    met: set[str] = set()

    def read_if_there(uri: str) -> tuple[T] | None:
        try:
            return (read(uri),)
        except storage.NotFoundError:
            return None

    with ThreadPoolExecutor(_READERS) as pool:
        something_new = True
        while something_new:
            something_new = False
            for page in list_parts(destination):
                fresh = [entry.uri for entry in page if entry.uri not in met]
                met.update(fresh)
                something_new = something_new or bool(fresh)
                for made in pool.map(read_if_there, fresh):
                    if made is not None:
                        yield made[0]


def read_rows(destination: str, columns: list[str] | None = None) -> pa.Table:
    """Every row of a destination's manifest, or some columns; twice what stands in two parts.

    Raises:
        ValueError: a part is damaged.
        StorageError: the manifest cannot be read.
    """

    def read(uri: str) -> pa.Table:
        data = persistently(lambda: storage.read(uri))
        try:
            return tables.from_parquet(data, columns)
        except ValueError as error:
            raise ValueError(f"{uri}: {error}") from error

    parts = list(read_parts(destination, read))
    if not parts:
        return tables.MANIFEST.empty_table().select(columns or tables.MANIFEST.names)
    return pa.concat_tables(parts, promote_options="permissive")


def current(rows: pa.Table) -> pa.Table:
    """The current row of each source: the latest, and of equals that of the later run."""
    if not len(rows):
        return rows
    ordered = rows.sort_by(
        [("source", "ascending"), ("finished_at", "ascending"), ("run", "ascending")]
    )
    sources = ordered.column("source")
    differs = pc.not_equal(sources.slice(1), sources.slice(0, len(ordered) - 1))
    return ordered.filter(pa.array(np.append(np.asarray(differs), True)))


def having(rows: pa.Table, column: str, value: str) -> pa.Table:
    """The rows with that value in a column."""
    return rows.filter(pc.equal(rows.column(column), pa.scalar(value)))


def read_runs(destination: str) -> list[dict[str, object]]:
    """The records of a destination's runs as plain values, oldest first.

    Raises:
        ValueError: a record is damaged.
        StorageError: the records cannot be read.
    """
    try:
        pages = list(listed_persistently(storage.join(destination, "runs")))
    except storage.NotFoundError:
        return []
    uris = [entry.uri for page in pages for entry in page if entry.uri.endswith(".parquet")]
    with ThreadPoolExecutor(_READERS) as pool:
        parts = list(pool.map(_read_record, uris))
    records = [record for part in parts for record in part.to_pylist()]
    return sorted(records, key=lambda record: (str(record["started_at"]), str(record["run"])))


def _read_record(uri: str) -> pa.Table:
    data = persistently(lambda: storage.read(uri))
    try:
        return tables.from_parquet(data)
    except ValueError as error:
        raise ValueError(f"{uri}: {error}") from error
