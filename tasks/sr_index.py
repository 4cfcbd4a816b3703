"""What a super-resolution dataset holds: the current state of every source, and leakage."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import combinations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks import storage, tables
from tasks.dataset_parts import SPLITS
from tasks.failures import RequestError, persistently
from tasks.sr_pairs import DATA, read_index
from tasks.tables import SrIndexRow

NEAR = 4
"""Pictures whose difference hashes differ in so many bits, or fewer, are near-duplicates."""

_STATE = ["source", "source_etag", "source_digest", "dhash", "split", "finished_at"]


class SrIndex:
    """The newest row of each source; a copy is a source whose content another one's row has."""

    def __init__(self, rows: Iterable[SrIndexRow] = ()) -> None:
        self._rows: dict[str, SrIndexRow] = {}
        self._holders: Counter[str] = Counter()
        self.changed = False
        for row in rows:
            self.add(row)
        self.changed = False

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, source: str) -> SrIndexRow | None:
        """The current row of a source, by its storable URI."""
        return self._rows.get(source)

    def has(self, source_digest: str) -> bool:
        """Whether some current row of a part has this content."""
        return self._holders[source_digest] > 0

    def add(self, row: SrIndexRow) -> None:
        """Make this the current row of its source, unless a newer one is."""
        old = self._rows.get(row.source)
        if old is not None and old.finished_at > row.finished_at:
            return
        if old is not None and old.part is not None:
            self._holders[old.source_digest] -= 1
        if row.part is not None:
            self._holders[row.source_digest] += 1
        self._rows[row.source] = row
        self.changed = True

    def is_done(self, source: str, etag: str) -> bool:
        """Whether the content that a source has under this tag is in the dataset."""
        row = self._rows.get(source)
        if row is None or row.source_etag != etag:
            return False
        return row.part is not None or self.has(row.source_digest)

    def pictures(self) -> Iterator[SrIndexRow]:
        """The current rows that are in a part."""
        return (row for row in self._rows.values() if row.part is not None)

    @property
    def copies(self) -> int:
        """Sources whose content another source's row has."""
        return sum(row.part is None for row in self._rows.values())

    def counts(self) -> dict[str, int]:
        """Pictures by split."""
        found = Counter(row.split for row in self.pictures())
        return {split: found[split] for split in SPLITS}

    def digest(self, config_digest: str) -> str:
        """A digest of the content alone: names, order and runs do not matter."""
        lines = {f"{row.source_digest} {row.split} {config_digest}" for row in self.pictures()}
        return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()

    def to_parquet(self) -> bytes:
        """The index as the bytes of a Parquet file, in the sources' order."""
        rows = sorted(self._rows.values(), key=lambda row: row.source)
        return tables.to_parquet(rows, tables.SR_INDEX)


def load_index(place: str, name: str | None, config_digest: str) -> SrIndex:
    """The index of that name, mended by the parts that are there: what a killed build has left.

    Raises:
        RequestError: a part was made with another configuration.
        ValueError: the index or a part is damaged.
    """
    parts = set(_parts(place))
    table = read_index(place, name) if name else tables.SR_INDEX.empty_table()
    known = [SrIndexRow(**row) for batch in table.to_batches() for row in batch.to_pylist()]
    kept = [row for row in known if row.part is None or row.part in parts]
    index = SrIndex(kept)
    for part in sorted(parts - {row.part for row in known}):
        for row in _rows_of_part(place, part, config_digest):
            index.add(row)
    index.changed = index.changed or len(kept) < len(known)
    return index


def _parts(place: str) -> Iterator[str]:
    """Names of the parts, below the dataset."""
    start = len(storage.join(place, "-")) - 1
    try:
        for page in storage.list_pages(storage.join(place, DATA)):
            yield from (e.uri[start:] for e in page if e.uri.endswith(".parquet"))
    except storage.NotFoundError:
        return


def _rows_of_part(place: str, part: str, config_digest: str) -> Iterator[SrIndexRow]:
    where = storage.join(place, part)
    try:
        data = persistently(lambda: storage.read(where))
        table = tables.from_parquet(data, [*_STATE, "config_digest"])
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    others = {str(made) for made in table["config_digest"].to_pylist()} - {config_digest}
    if others:
        raise RequestError(
            f"{storage.redact(where)} was made with another configuration"
            f" ({', '.join(sorted(others))}, wanted {config_digest}): want another destination"
        )
    for number, row in enumerate(table.select(_STATE).to_pylist()):
        yield SrIndexRow(**row, part=part, row=number)


def leakage(index: SrIndex) -> pa.Table:
    """Near-duplicates in different splits, as a table of SR_LEAKAGE; nearest first.

    Pictures whose hash says nothing (flat ones, ramps) are left out.
    """
    found = [
        _between(_telling_pictures(index, one), _telling_pictures(index, other))
        for one, other in combinations(SPLITS, 2)
    ]
    return pa.concat_tables(found).sort_by(
        [("distance", "ascending"), ("source", "ascending"), ("other", "ascending")]
    )


def _telling_pictures(index: SrIndex, split: str) -> tuple[list[str], NDArray[np.int64], str]:
    from models.difference_hash import telling

    rows = sorted(
        (row for row in index.pictures() if row.split == split), key=lambda row: row.source
    )
    hashes = np.array([row.dhash for row in rows], np.int64)
    kept = telling(hashes)
    return [row.source for row, keep in zip(rows, kept, strict=True) if keep], hashes[kept], split


def _between(
    one: tuple[list[str], NDArray[np.int64], str], other: tuple[list[str], NDArray[np.int64], str]
) -> pa.Table:
    from models.difference_hash import near_pairs

    here, there, distances = near_pairs(one[1], other[1], NEAR)
    return pa.table(
        [
            pa.array(one[0], pa.string()).take(here),
            pa.array(other[0], pa.string()).take(there),
            pa.array(distances.astype(np.int32)),
            pa.repeat(pa.scalar(one[2]), len(here)),
            pa.repeat(pa.scalar(other[2]), len(here)),
        ],
        schema=tables.SR_LEAKAGE,
    )
