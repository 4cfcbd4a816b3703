"""One shard of a super-resolution dataset: pictures in, parts of pairs out."""

import contextvars
import hashlib
import logging
from collections import defaultdict
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

from models.image_files import ImageError
from models.images import Picture, encode, read_header
from tasks import storage, tables
from tasks.budget import MemoryBudget
from tasks.collection import Shard, Source
from tasks.failures import RunAbortedError, error_kind, explain, persistently
from tasks.picture_pairs import decode_colour
from tasks.prefetch import prefetched
from tasks.runs import RunProgress
from tasks.sr_index import SrIndex
from tasks.sr_pairs import DATA
from tasks.tables import SrFailure, SrIndexRow, SrPairRow
from tasks.transform import processors

if TYPE_CHECKING:
    from models.degradation import DegradationConfig

log = logging.getLogger(__name__)

Split: TypeAlias = Literal["train", "validation", "test"]

SMALLEST_SIDE = 16
"""Pixels that a low-resolution picture has at least on each side."""

_IO_THREADS = 8
_PART_BYTES = 64 * 2**20
_BYTES_PER_PIXEL = 64
"""What a source pixel needs at its peak: its levels, Pillow's copy, four copies in float32."""


def split_of(source_digest: str, *, seed: int, validation: float, test: float) -> Split:
    """Where a picture belongs, by its content and the seed alone; shares are of 1."""
    salted = hashlib.sha256(f"split {seed} {source_digest}".encode()).digest()
    place = int.from_bytes(salted[:8], "big") / 2**64
    if place < test:
        return "test"
    return "validation" if place < test + validation else "train"


@dataclass(frozen=True, kw_only=True)
class BuildConfig:
    """What shapes the rows of a run, and how much memory their making may take."""

    destination: str
    run: str
    config_digest: str
    degradation: "DegradationConfig"
    validation: float
    test: float
    memory: int
    memory_limit: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Outcome:
    """What became of a source: a row; or only its digest, if its content was there; or an error."""

    source: Source
    digest: str = ""
    row: SrPairRow | None = None
    error: Exception | None = None


class SrBuilder:
    """A run's state: what the dataset holds, what waits to be written, what has failed.

    A plain class and not a dataclass: Prefect walks through those whenever a task is called.
    """

    def __init__(self, config: BuildConfig, index: SrIndex) -> None:
        self.config = config
        self.index = index
        self.failures: list[SrFailure] = []
        self.copies: list[Source] = []
        """Those that this run has met."""
        self.new = 0
        self._waiting: defaultdict[Split, list[SrPairRow]] = defaultdict(list)
        self._waiting_bytes: defaultdict[Split, int] = defaultdict(int)
        self._waiting_digests: set[str] = set()
        self._parts = 0
        self._budget = MemoryBudget(config.memory)

    def run_shard(self, shard: Shard, progress: RunProgress) -> None:
        """Make the pairs of a shard and commit them.

        Raises:
            RunAbortedError: the store cannot be reached.
            StorageError: a part cannot be written.
        """
        readers = ThreadPoolExecutor(_IO_THREADS, "read")
        try:
            reads = {
                number: readers.submit(
                    contextvars.copy_context().run,  # it tells Prefect whose a log line is
                    partial(persistently, partial(storage.read, source.uri), stop=progress.stop),
                )
                for number, source in enumerate(shard.sources)
            }
            outcomes = prefetched(
                lambda i: self._prepare(shard.sources[i], reads.pop(i)),
                range(len(shard.sources)),
                workers=processors(),
                ahead=2 * processors(),
            )
            for outcome in outcomes:
                self._take(outcome, progress)
        finally:
            readers.shutdown(cancel_futures=True)
        for split in list(self._waiting):
            self._write_part(split)

    def _prepare(self, source: Source, reading: Future[bytes]) -> _Outcome:
        try:
            data = reading.result()
            digest = hashlib.sha256(data).hexdigest()
            if self.index.has(digest):
                return _Outcome(source=source, digest=digest)
            row = self._pair(source, data, digest)
            return _Outcome(source=source, digest=digest, row=row)
        except Exception as error:  # noqa: BLE001 (one bad image costs one row)
            return _Outcome(source=source, error=error)

    def _pair(self, source: Source, data: bytes, digest: str) -> SrPairRow:
        header = read_header(data)
        needed = len(data) + header.width * header.height * _BYTES_PER_PIXEL
        if needed > self.config.memory_limit:
            raise ImageError(
                "too_large",
                f"{header.width}x{header.height} pixels need about {needed / 2**30:.1f} GiB of"
                f" memory, {self.config.memory_limit / 2**30:.1f} GiB are there",
            )
        self._budget.acquire(needed)
        try:
            return _pair_row(source, data, digest, self.config)
        finally:
            self._budget.release(needed)

    def _take(self, outcome: _Outcome, progress: RunProgress) -> None:
        """Count an outcome, and let its row wait for its part."""
        if outcome.error is not None:
            self._fail(outcome.source, outcome.error, progress)
            return
        progress.source_bytes += max(outcome.source.size, 0)
        progress.ok += 1
        if outcome.row is None or self._is_there(outcome):
            self._refer(outcome)
            return
        row, size = outcome.row, _size(outcome.row)
        progress.output_bytes += size
        progress.output_pixels += row.width * row.height
        self.new += 1
        self._waiting[row.split].append(row)
        self._waiting_digests.add(row.source_digest)
        self._waiting_bytes[row.split] += size
        if self._waiting_bytes[row.split] >= _PART_BYTES:
            self._write_part(row.split)

    def _is_there(self, outcome: _Outcome) -> bool:
        return outcome.digest in self._waiting_digests or self.index.has(outcome.digest)

    def _refer(self, outcome: _Outcome) -> None:
        """Note a source whose content is there: as its own row's, or as another source's."""
        source, now = outcome.source, datetime.now(UTC)
        name = tables.storable(source.uri)
        own = self.index.get(name)
        if own is not None and own.part is not None and own.source_digest == outcome.digest:
            self.index.add(replace(own, source_etag=source.etag, finished_at=now))
            return
        self.copies.append(source)
        config = self.config
        self.index.add(
            SrIndexRow(
                source=name,
                source_etag=source.etag,
                source_digest=outcome.digest,
                dhash=0,
                split=_split(outcome.digest, config),
                part=None,
                row=None,
                finished_at=now,
            )
        )

    def _fail(self, source: Source, error: Exception, progress: RunProgress) -> None:
        if isinstance(error, storage.StorageUnavailableError):
            if progress.stop.is_set():
                return  # it was not waited for: the next run's
            raise RunAbortedError(explain(error)) from error
        if not isinstance(error, ImageError | storage.StorageError | MemoryError):
            log.error("%s: unexpected", source.uri, exc_info=error)
        kind = error_kind(error)
        progress.failed += 1
        progress.failures[kind] += 1
        self.failures.append(
            SrFailure(
                source=tables.storable(source.uri),
                error_type=kind,
                error=tables.storable(explain(error)),
            )
        )

    def _write_part(self, split: Split) -> None:
        """Write what waits for a split as one part, which commits it, and index it."""
        rows = sorted(self._waiting.pop(split), key=lambda row: row.source)
        self._waiting_bytes[split] = 0
        part = f"{DATA}/{split}/part-{self.config.run}-{self._parts:05d}.parquet"
        self._parts += 1
        data = tables.to_parquet(rows, tables.SR_PAIRS)
        where = storage.join(self.config.destination, part)
        persistently(lambda: storage.write(where, data))
        for number, row in enumerate(rows):
            self.index.add(_index_row(row, part, number))
            self._waiting_digests.discard(row.source_digest)


def _size(row: SrPairRow) -> int:
    return len(row.image["bytes"]) + len(row.low["bytes"])


def _split(source_digest: str, config: BuildConfig) -> Split:
    return split_of(
        source_digest,
        seed=config.degradation.seed,
        validation=config.validation,
        test=config.test,
    )


def _index_row(row: SrPairRow, part: str, number: int) -> SrIndexRow:
    return SrIndexRow(
        source=row.source,
        source_etag=row.source_etag,
        source_digest=row.source_digest,
        dhash=row.dhash,
        split=row.split,
        part=part,
        row=number,
        finished_at=row.finished_at,
    )


def _pair_row(source: Source, data: bytes, digest: str, config: BuildConfig) -> SrPairRow:
    """Decode, cut, degrade and encode one picture.

    Raises:
        ImageError: it cannot be read, or is too small.
    """
    import torch

    from models.degradation import crop_to_multiple, degrade, image_generator
    from models.difference_hash import difference_hash

    torch.set_num_threads(1)  # this thread's own: as many pictures are made at once as there are
    scale, seed = config.degradation.scale, config.degradation.seed
    pixels = decode_colour(data)
    height, width = pixels.shape[:2]
    if min(height, width) // scale < SMALLEST_SIDE:
        raise ImageError(
            "too_small",
            f"too small: {width}x{height} pixels, want at least {SMALLEST_SIDE * scale} on a side",
        )
    image = crop_to_multiple(pixels, scale)
    low = degrade(image, config.degradation, image_generator(seed, digest))
    name = tables.storable(source.output)
    return SrPairRow(
        image={"bytes": encode(Picture(pixels=image), "png"), "path": name},
        low={"bytes": encode(Picture(pixels=low), "png"), "path": name},
        source=tables.storable(source.uri),
        source_etag=source.etag,
        source_digest=digest,
        dhash=difference_hash(image),
        width=image.shape[1],
        height=image.shape[0],
        split=_split(digest, config),
        scale=scale,
        config_digest=config.config_digest,
        run=config.run,
        finished_at=datetime.now(UTC),
    )
