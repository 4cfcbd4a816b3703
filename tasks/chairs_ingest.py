"""The job of taking existing renderings of chairs into a dataset."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np

from models.image_files import ImageError
from models.image_modes import reduce_to_8_bits
from models.images import decode
from models.white_background import cut_out
from tasks import chairs_parts, chairs_request, collection, dataset_parts, storage, tables
from tasks.chairs_card import ChairsContent, ChairsSummary
from tasks.chairs_parts import png, splits_of
from tasks.chairs_renderings import (
    Findings,
    SourceView,
    by_names,
    by_table,
    drop_repeated,
    failed,
    in_order,
)
from tasks.chairs_tables import CHAIRS, ChairFailure, ChairRow
from tasks.dataset_parts import ShardRecord
from tasks.failures import RequestError, RunAbortedError, error_kind, explain, persistently
from tasks.output_names import suffix_of
from tasks.prefetch import prefetched
from tasks.runs import RunProgress, TooManyFailedError, new_run_id
from tasks.tables import RunRow
from tasks.transform import processors

PIXELS_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class IngestRequest:
    """What a user asks for; see the command line.

    parameters: URI of a CSV or Parquet with the columns path (below source), class or chair,
        azimuth and elevation, in degrees; None reads them from the published set's names.
    holes: what white areas are that a chair encloses.
    """

    source: str
    destination: str
    size: int = 128
    parameters: str | None = None
    holes: Literal["object", "background"] = "background"
    seed: int = 0
    validation: float = 0.05
    test: float = 0.1
    shard_size: int = 16
    max_failed: float = 0.1


@dataclass(frozen=True, kw_only=True)
class IngestShard:
    """The renderings of some classes, by class, elevation and azimuth."""

    number: int
    fingerprint: str
    views: tuple[SourceView, ...]


class IngestJob:
    """A checked request, its run, and what its source holds.

    A plain class and not a dataclass: Prefect walks through those whenever a task is called.
    """

    def __init__(self, request: IngestRequest, run: RunRow, found: Findings) -> None:
        self.request, self.run = request, run
        self.odd, self.left_out = found.odd, dict(found.left_out)
        self.names = tuple(in_order(found.names))
        views = _numbered(found, self.names, request)
        self.azimuths = tuple(sorted({view.azimuth for view in views}))
        self.elevations = tuple(sorted({view.elevation for view in views}))
        self.shards = _shards(views, len(self.names), request.shard_size, run.config_digest)
        self.done = dataset_parts.finished_shards(request.destination)

    def is_done(self, shard: IngestShard) -> bool:
        """Whether the dataset has it, made of the same files, none of which failed."""
        record: ShardRecord | None = self.done.get(shard.number)
        return (
            record is not None and record.fingerprint == shard.fingerprint and not record.failures
        )


def check_request(request: IngestRequest) -> IngestRequest:
    """The request with whole URIs, after every check that reads no list.

    Raises:
        RequestError: a value out of range, the destination in the source, or another dataset there.
        StorageError: there is no such source, or a store cannot be asked.
    """
    for name, (low, high) in {"size": (8, 2048), "shard_size": (1, 10_000)}.items():
        if not low <= getattr(request, name) <= high:
            shown = name.replace("_", "-")
            raise RequestError(f"{shown} must be {low} to {high}, got {getattr(request, name)}")
    if request.holes not in ("object", "background"):
        raise RequestError(f"holes must be object or background, got {request.holes}")
    if not 0 <= request.max_failed <= 1:
        raise RequestError(f"max-failed must be 0 to 1, got {request.max_failed}")
    chairs_request.check_shares(request.validation, request.test)
    source, destination = storage.normalise(request.source), storage.normalise(request.destination)
    if storage.is_within(destination, source):
        raise RequestError(
            f"the destination must not lie inside the source, got {source} and {destination}"
        )
    collection.check_exists(source)
    table = request.parameters
    if table is not None:
        table = storage.normalise(table)
        if suffix_of(table) not in (".csv", ".parquet"):
            raise RequestError(f"parameters must be a CSV or Parquet file, got {table}")
        storage.stat(table)
    request = replace(request, source=source, destination=destination, parameters=table)
    chairs_request.check_same(destination, _shaping(request))
    return request


def _shaping(request: IngestRequest) -> dict[str, Any]:
    return {
        "job": "dataset-chairs-ingest",
        "pixels": PIXELS_VERSION,
        "size": request.size,
        "parameters": request.parameters is not None,
        "holes": request.holes,
        "seed": request.seed,
        "validation": float(request.validation),
        "test": float(request.test),
        "shard_size": request.shard_size,
    }


def open_job(request: IngestRequest) -> IngestJob:
    """Check a request, list its source, and give the run its name. Writes nothing.

    Raises:
        RequestError, StorageError: as in `check_request`; or the table of parameters lacks columns.
    """
    request = check_request(request)
    digest = chairs_request.config_digest(_shaping(request))
    run = chairs_request.run_row(
        new_run_id(), "dataset-chairs-ingest", request, digest, source=request.source
    )
    table = request.parameters
    found = by_table(request.source, table) if table else by_names(request.source)
    drop_repeated(found)
    return IngestJob(request, run, found)


def _numbered(found: Findings, names: tuple[str, ...], request: IngestRequest) -> list[SourceView]:
    """Views with their class's number and split, by class, elevation and azimuth."""
    numbers = {name: number for number, name in enumerate(names)}
    by_class: defaultdict[str, list[SourceView]] = defaultdict(list)
    for view in sorted(found.views, key=lambda v: (numbers[v.name], v.elevation, v.azimuth)):
        by_class[view.name].append(view)
    numbered = []
    for name, views in by_class.items():
        splits = splits_of(
            name,
            [(view.azimuth, view.elevation) for view in views],
            seed=request.seed,
            validation=request.validation,
            test=request.test,
        )
        numbered += [
            replace(view, chair=numbers[name], split=split)
            for view, split in zip(views, splits, strict=True)
        ]
    return numbered


def _shards(
    views: list[SourceView], classes: int, size: int, config: str
) -> tuple[IngestShard, ...]:
    """`size` classes each; a fingerprint is of the files, the classes and how they are read."""
    held: list[list[SourceView]] = [[] for _ in range(-(-classes // size))]
    for view in views:
        held[view.chair // size].append(view)
    shards = []
    for number, own in enumerate(held):
        told = hashlib.sha256(config.encode())
        for view in own:
            line = f"{view.relative} {view.entry.size} {view.entry.etag} {view.chair} {view.name}"
            line += f" {view.azimuth!r} {view.elevation!r} {view.split}\n"
            told.update(line.encode("utf-8", "surrogatepass"))
        shards.append(
            IngestShard(number=number, fingerprint=told.hexdigest()[:16], views=tuple(own))
        )
    return tuple(shards)


def begin(job: IngestJob) -> None:
    """Claim the destination. Raises RequestError: it was meanwhile begun otherwise."""
    chairs_request.begin(job.request.destination, _shaping(job.request))


def plan(job: IngestJob, progress: RunProgress) -> Iterator[IngestShard]:
    """The shards that are not done, until somebody asks the run to stop."""
    counts = progress.counts
    progress.failed += len(job.odd)
    for failure in job.odd:
        progress.failures[failure.error_type] += 1
    counts.left_out.update(job.left_out)
    for shard in job.shards:
        counts.found += len(shard.views)
        if job.is_done(shard):
            counts.already_done += len(shard.views)
        else:
            counts.to_do += len(shard.views)
    for shard in job.shards:
        if not job.is_done(shard) and not progress.stop.is_set():
            yield shard


def run_shard(job: IngestJob, shard: IngestShard, progress: RunProgress) -> None:
    """Read, cut out and reduce the renderings of a shard, and commit them.

    Raises:
        RunAbortedError: the store cannot be reached.
        StorageError: a part cannot be written.
    """
    workers = max(4, 2 * processors())  # some read while others decode
    outcomes = prefetched(
        lambda k: _taken_in(shard.views[k], job.request, progress),
        range(len(shard.views)),
        workers=workers,
        ahead=2 * workers,
    )
    rows: list[ChairRow] = []
    failures: list[ChairFailure] = []
    for outcome in outcomes:
        if progress.stop.is_set():
            return  # not committed: the next run's
        if isinstance(outcome, ChairFailure):
            failures.append(outcome)
        else:
            rows.append(outcome)
    dataset_parts.write_shard(
        job.request.destination, shard.number, shard.fingerprint, rows, failures, CHAIRS
    )
    progress.ok += len(rows)
    progress.failed += len(failures)
    for failure in failures:
        progress.failures[failure.error_type] += 1
    progress.source_bytes += sum(max(view.entry.size, 0) for view in shard.views)
    progress.output_bytes += sum(len(r.image["bytes"]) + len(r.mask["bytes"]) for r in rows)
    progress.output_pixels += len(rows) * job.request.size**2


def _taken_in(
    view: SourceView, request: IngestRequest, progress: RunProgress
) -> ChairRow | ChairFailure:
    try:
        data = persistently(partial(storage.read, view.entry.uri), stop=progress.stop)
        return _row(view, data, request)
    except storage.StorageUnavailableError as error:
        raise RunAbortedError(explain(error)) from error
    except (ImageError, storage.StorageError, MemoryError) as error:
        return failed(view.relative, error_kind(error), explain(error))


def _row(view: SourceView, data: bytes, request: IngestRequest) -> ChairRow:
    """Raises ImageError: the rendering cannot be read."""
    pixels = np.asarray(reduce_to_8_bits(decode(data).pixels), np.uint8)
    if pixels.shape[2] < 3:
        gray, alpha = pixels[:, :, :1], pixels[:, :, 1:]
        pixels = np.concatenate([gray, gray, gray, alpha], 2)
    rgb, mask = cut_out(pixels, request.size, request.holes)
    path = tables.storable(view.relative)
    return ChairRow(
        image={"bytes": png(rgb), "path": path},
        mask={"bytes": png(mask), "path": path},
        chair=view.chair,
        name=tables.storable(view.name),
        azimuth=view.azimuth,
        elevation=view.elevation,
        split=view.split,
        source=path,
    )


def finish(job: IngestJob, progress: RunProgress) -> ChairsSummary:
    """Write failures.parquet and what the dataset is now; dataset.json, the last, commits it.

    Raises:
        ValueError: a shard is not finished.
    """
    request = job.request
    content = ChairsContent(
        request=_shaping(request),
        config_digest=job.run.config_digest,
        size=request.size,
        names=tuple(tables.storable(name) for name in job.names),
        azimuths=job.azimuths,
        elevations=job.elevations,
        made_by=f"pixelmill dataset chairs-ingest SOURCE DESTINATION --size {request.size}",
    )
    return chairs_parts.close(
        request.destination, content, len(job.shards), job.odd, progress, job.run.run
    )


def checked(summary: ChairsSummary, max_failed: float) -> ChairsSummary:
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
