"""The super-resolution dataset job: a request, checked; its plan; what is written at its end."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Any

import psutil

from tasks import collection, storage, tables
from tasks.collection import Shard, Source
from tasks.failures import RequestError, persistently
from tasks.runs import RunProgress, TooManyFailedError, new_run_id, software_versions
from tasks.sr_building import BuildConfig, SrBuilder
from tasks.sr_card import LEAKAGE, dataset_card, describe, to_json
from tasks.sr_index import leakage, load_index
from tasks.sr_pairs import DESCRIPTION
from tasks.sr_request import (
    SrDatasetRequest,
    check_request,
    config_digest,
    described,
    shaping_of,
)
from tasks.storage import Entry
from tasks.tables import RunRow

_INDEX = "index"
_SHARD_BYTES = 64 * 2**20
_MEMORY_SHARE = 0.35
_MEMORY_MOST = 2 * 2**30


@dataclass(frozen=True, kw_only=True)
class SrDatasetJob:
    """A checked request and its run; `described` is what dataset.json said, if there was one."""

    request: SrDatasetRequest
    run: RunRow
    builder: SrBuilder
    described: dict[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class SrDatasetSummary:
    """What a dataset holds after a run, and what the run has added."""

    run: str
    destination: str
    digest: str
    counts: dict[str, int]
    new: int
    already_done: int
    ok: int
    copies: int
    near_duplicates: int
    failed: int
    failures: dict[str, int]
    left_out: dict[str, int]
    seconds: float

    @property
    def failed_share(self) -> float:
        """Failed images among all that this run has met."""
        return self.failed / max(1, self.already_done + self.ok + self.failed)

    def closing_line(self) -> str:
        """What the dataset holds, and where it is, in one line."""
        total = sum(self.counts.values())
        by_split = ", ".join(f"{n} {split}" for split, n in self.counts.items())
        failed = f"{self.failed} failed"
        if self.failures:
            failed += f" ({', '.join(f'{n} {kind}' for kind, n in sorted(self.failures.items()))})"
        near = f"{self.near_duplicates or 'no'} near-duplicates across splits"
        parts = [f"{total} images: {by_split} ({self.new} new)", failed]
        if self.copies:
            parts.append(f"{self.copies} copies stored once")
        parts.append(near + (f" (see {LEAKAGE})" if self.near_duplicates else ""))
        return f"{', '.join(parts)}; {self.seconds:.1f} s: {self.destination}"


def open_job(request: SrDatasetRequest) -> SrDatasetJob:
    """Check a request, read what its dataset holds and give the run its name. Writes nothing.

    Raises:
        RequestError, StorageError: as in `check_request`.
        ValueError: the dataset's index or a part of it is damaged.
    """
    from models.degradation import DegradationConfig

    request = check_request(request)
    told = described(request.destination)
    degradation = DegradationConfig(
        kind=request.degradation, scale=request.scale, seed=request.seed
    )
    run, digest = new_run_id(), config_digest(request, degradation)
    if told is not None and told.get("config_digest") != digest:
        raise RequestError(
            f"{storage.redact(request.destination)} was made by another version of this degradation"
            f" ({told.get('config_digest')}, wanted {digest}): want another destination"
        )
    available = psutil.virtual_memory().available
    config = BuildConfig(
        destination=request.destination,
        run=run,
        config_digest=digest,
        degradation=degradation,
        validation=request.validation,
        test=request.test,
        memory=min(_MEMORY_MOST, int(available * _MEMORY_SHARE)),
        memory_limit=int(available * 0.8),
    )
    name = told.get("index") if told else None
    return SrDatasetJob(
        request=request,
        run=_run_row(request, run, digest),
        builder=SrBuilder(config, load_index(request.destination, name, digest)),
        described=told,
    )


def _run_row(request: SrDatasetRequest, run: str, digest: str) -> RunRow:
    return RunRow(
        run=run,
        job="dataset-sr",
        status="running",
        source=tables.storable(request.source),
        destination=tables.storable(request.destination),
        parameters=storage.redact(json.dumps(asdict(request), sort_keys=True)),
        model=f"{request.degradation} x{request.scale}",
        model_digest="",
        config_digest=digest,
        device="cpu",
        precision="fp32",
        started_at=datetime.now(UTC),
        versions=software_versions(),
    )


def begin(job: SrDatasetJob) -> None:
    """Claim a new destination, so that nothing made otherwise is ever added to it."""
    if job.described is None:
        told = _description(job, near_duplicates=0, index=None)
        _write(job, DESCRIPTION, to_json(told))


def plan(job: SrDatasetJob, progress: RunProgress) -> Iterator[Shard]:
    """Shards of what the dataset lacks, while the source is listed.

    A copy is done only as long as the dataset has its content: where this run has replaced that,
    because the source that held it was edited, the copy comes last, and becomes a picture itself.
    """
    numbers = count()
    yield from _shards(_to_do(job, progress), numbers, job.request.shard_size)
    builder = job.builder
    lost = [s for s in builder.copies if not _is_done(builder, s.uri, s.etag)]
    progress.counts.to_do += len(lost)
    yield from _shards(iter(lost), numbers, job.request.shard_size)


def _is_done(builder: SrBuilder, uri: str, etag: str) -> bool:
    return builder.index.is_done(tables.storable(uri), etag)


def _to_do(job: SrDatasetJob, progress: RunProgress) -> Iterator[Source]:
    request, builder, counts = job.request, job.builder, progress.counts
    by_name = not collection.is_list(request.source)
    for page in collection.list_collection(request.source):
        for relative, entry in page:
            reason = collection.reason_to_leave_out(relative) if by_name else None
            if reason is not None:
                counts.left_out[reason] += 1
                continue
            source = _source(relative, entry)
            if _is_done(builder, entry.uri, entry.etag):
                counts.already_done += 1
                known = builder.index.get(tables.storable(entry.uri))
                if known is not None and known.part is None:
                    builder.copies.append(source)
            elif request.limit is not None and counts.to_do >= request.limit:
                return
            else:
                counts.to_do += 1
                yield source
            counts.found += 1


def _source(relative: str, entry: Entry) -> Source:
    """Its output is the name that its pictures have inside a row."""
    return Source(
        uri=entry.uri,
        relative=relative,
        size=entry.size,
        etag=entry.etag,
        output=relative if relative.lower().endswith(".png") else f"{relative}.png",
        format="png",
    )


def _shards(sources: Iterator[Source], numbers: Iterator[int], size: int) -> Iterator[Shard]:
    """At most `size` sources and 64 MB of them in each."""
    waiting: list[Source] = []
    waiting_bytes = 0
    for source in sources:
        if waiting and (len(waiting) >= size or waiting_bytes + source.size > _SHARD_BYTES):
            yield Shard(number=next(numbers), sources=tuple(waiting))
            waiting, waiting_bytes = [], 0
        waiting.append(source)
        waiting_bytes += max(source.size, 0)
    if waiting:
        yield Shard(number=next(numbers), sources=tuple(waiting))


def run_shard(job: SrDatasetJob, shard: Shard, progress: RunProgress) -> None:
    """Make the pairs of one shard and commit them; see `SrBuilder.run_shard`."""
    job.builder.run_shard(shard, progress)


def finish(job: SrDatasetJob, progress: RunProgress) -> SrDatasetSummary:
    """Write what the run has failed at and, if it has changed anything, what the dataset is now.

    Order: leakage, index and card, then dataset.json, which commits them, then the old index goes.
    The one before is kept, for those who are reading by it.
    """
    builder, described = job.builder, job.described
    if builder.failures:
        data = tables.to_parquet(builder.failures, tables.SR_FAILURES)
        _write(job, f"failed/run={job.run.run}.parquet", data)
    near = int(described.get("near_duplicates", 0)) if described else 0
    if builder.index.changed or described is None:
        table = leakage(builder.index)
        near = table.num_rows
        _write(job, LEAKAGE, tables.table_to_parquet(table))
        name = f"{_INDEX}/run={job.run.run}.parquet"
        _write(job, name, builder.index.to_parquet())
        told = _description(job, near_duplicates=near, index=name)
        _write(job, "README.md", dataset_card(told).encode())
        _write(job, DESCRIPTION, to_json(told))
        _delete_indices(job, keep={name, described.get("index") if described else None})
    return _summary(job, progress, near)


def _summary(job: SrDatasetJob, progress: RunProgress, near: int) -> SrDatasetSummary:
    builder = job.builder
    return SrDatasetSummary(
        run=job.run.run,
        destination=job.request.destination,
        digest=builder.index.digest(builder.config.config_digest),
        counts=builder.index.counts(),
        new=builder.new,
        already_done=progress.counts.already_done,
        ok=progress.ok,
        copies=builder.index.copies,
        near_duplicates=near,
        failed=progress.failed,
        failures=dict(progress.failures),
        left_out=dict(progress.counts.left_out),
        seconds=progress.seconds,
    )


def checked(summary: SrDatasetSummary, max_failed: float) -> SrDatasetSummary:
    """The summary itself, if its failures are within what the user allows.

    Raises:
        TooManyFailedError: they are not.
    """
    if summary.failed_share > max_failed:
        raise TooManyFailedError(
            f"{summary.failed_share:.1%} of the images failed where {max_failed:.1%} is allowed;"
            f" {summary.closing_line()}"
        )
    return summary


def _description(job: SrDatasetJob, *, near_duplicates: int, index: str | None) -> dict[str, Any]:
    return describe(
        job.builder.index,
        job.builder.config,
        request=shaping_of(job.request),
        near_duplicates=near_duplicates,
        index=index,
    )


def _write(job: SrDatasetJob, name: str, data: bytes) -> None:
    where = storage.join(job.request.destination, name)
    persistently(lambda: storage.write(where, data))


def _delete_indices(job: SrDatasetJob, *, keep: set[str | None]) -> None:
    folder = storage.join(job.request.destination, _INDEX)
    kept = {storage.join(job.request.destination, name) for name in keep if name}
    for page in storage.list_pages(folder):
        for entry in page:
            if entry.uri not in kept:
                storage.delete(entry.uri)
