"""Read back what pixel jobs have left in a destination."""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from tasks import manifest_parts, storage, tables
from tasks.failures import listed_persistently, persistently

_OWN = ("source", "finished_at", "run", "config_digest")


def current_manifest(
    destination: str, schema: pa.Schema, config_digest: str | None = None
) -> pa.Table:
    """The current row of each source in a manifest with more columns than most have.

    Args:
        schema: its columns.
        config_digest: of the rows that count; None is any.
    Raises:
        ValueError: a part is damaged, or of another job.
    """
    if not any(manifest_parts.list_parts(destination)):
        return schema.empty_table()
    return _current(manifest_parts.read_rows(destination, schema.names), config_digest)


def current_rows(
    destination: str, folder: str, columns: Sequence[str], config_digest: str
) -> pa.Table:
    """The latest row of each source in the Parquet parts below a folder, by one config.

    Raises:
        NotFoundError: there is no such folder.
        ValueError: a part is damaged, or of another job.
    """
    wanted = _with_own(columns)
    table = pa.concat_tables(_parts(storage.join(destination, folder), wanted))
    return _current(table, config_digest)


def _with_own(columns: Sequence[str]) -> list[str]:
    return [*_OWN, *(name for name in columns if name not in _OWN)]


def _current(table: pa.Table, config_digest: str | None) -> pa.Table:
    if config_digest is not None:
        table = table.filter(pc.field("config_digest") == config_digest)
    return manifest_parts.current(table)


def _parts(folder: str, columns: list[str]) -> Iterator[pa.Table]:
    for page in listed_persistently(folder):
        for uri in (entry.uri for entry in page):
            try:
                yield tables.from_parquet(_read(uri), columns)
            except ValueError as error:
                raise ValueError(f"{storage.redact(uri)}: {error}") from error


def _read(uri: str) -> bytes:
    return persistently(lambda: storage.read(uri))
