"""The job of cutting a collection into small pictures for pixel models."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from models.image_files import ImageError
from models.pixel_pictures import TooSmallError, content_digest, cut_pictures
from tasks import chairs_request, pixels_parts, storage
from tasks.chairs_parts import png
from tasks.dataset_parts import ShardRecord, Split, finished_shards, write_shard
from tasks.failures import RunAbortedError, error_kind, explain
from tasks.pixels_card import PixelsContent, PixelsSummary
from tasks.pixels_dataset_tables import PixelRow, pixels_schema
from tasks.pixels_request import PixelsRequest, check_request, cut_of, shaping_of
from tasks.pixels_sources import (
    Findings,
    PixelsShard,
    SourceImage,
    SourcePicture,
    find_sources,
    read_image,
    read_rows,
)
from tasks.prefetch import prefetched
from tasks.runs import RunProgress, TooManyFailedError, new_run_id
from tasks.sr_building import split_of
from tasks.tables import RunRow, SrFailure, storable
from tasks.transform import processors

Taken = list[PixelRow] | SrFailure


class PixelsJob:
    """A checked request, its run, and what its source holds.

    A plain class and not a dataclass: Prefect walks through those whenever a task is called.
    """

    def __init__(self, request: PixelsRequest, run: RunRow, found: Findings) -> None:
        self.request, self.run, self.found = request, run, found
        self.shards = found.shards
        self.cut = cut_of(request, arrays=found.facts is not None)
        self.numbers = {name: number for number, name in enumerate(found.names)}
        self.done = finished_shards(request.destination)

    def is_done(self, shard: PixelsShard) -> bool:
        """Whether the dataset has it, made of the same pictures, none of which failed."""
        record: ShardRecord | None = self.done.get(shard.number)
        return (
            record is not None and record.fingerprint == shard.fingerprint and not record.failures
        )


def open_job(request: PixelsRequest) -> PixelsJob:
    """Check a request, list its source, and give the run its name. Writes nothing.

    Raises:
        RequestError, StorageError: as in `check_request`; or the source has no picture.
    """
    request = check_request(request)
    digest = chairs_request.config_digest(shaping_of(request))
    run = chairs_request.run_row(
        new_run_id(), "dataset-pixels", request, digest, source=request.source
    )
    return PixelsJob(request, run, find_sources(request, digest))


def begin(job: PixelsJob) -> None:
    """Claim the destination. Raises RequestError: it was meanwhile begun otherwise."""
    chairs_request.begin(job.request.destination, shaping_of(job.request))


def plan(job: PixelsJob, progress: RunProgress) -> Iterator[PixelsShard]:
    """The shards that are not done, until somebody asks the run to stop."""
    counts = progress.counts
    counts.left_out.update(job.found.left_out)
    for shard in job.shards:
        counts.found += len(shard)
        if job.is_done(shard):
            counts.already_done += len(shard)
        else:
            counts.to_do += len(shard)
    for shard in job.shards:
        if not job.is_done(shard) and not progress.stop.is_set():
            yield shard


def run_shard(job: PixelsJob, shard: PixelsShard, progress: RunProgress) -> None:
    """Read and cut the pictures of a shard, by threads, and commit them.

    Raises:
        RunAbortedError: the store cannot be reached.
        StorageError: a part cannot be written.
    """
    rows: list[PixelRow] = []
    failures: list[SrFailure] = []
    taken = 0
    for outcome in _taken(job, shard, progress):
        if progress.stop.is_set():
            return  # not committed: the next run's
        if isinstance(outcome, SrFailure):
            failures.append(outcome)
        else:
            rows += outcome
            taken += 1
    schema = pixels_schema(job.found.names)
    write_shard(job.request.destination, shard.number, shard.fingerprint, rows, failures, schema)
    progress.ok += taken
    progress.failed += len(failures)
    for failure in failures:
        progress.failures[failure.error_type] += 1
    progress.source_bytes += sum(max(image.entry.size, 0) for image in shard.images)
    progress.output_bytes += sum(len(row.image["bytes"]) for row in rows)


def _taken(job: PixelsJob, shard: PixelsShard, progress: RunProgress) -> Iterator[Taken]:
    """Rows, or a failure, of each source picture in order."""
    if shard.part is not None:
        for picture in read_rows(shard):
            yield _cut(picture, job)
        return
    workers = max(4, 2 * processors())  # some read while others decode
    yield from prefetched(
        lambda k: _of_image(shard.images[k], job, progress),
        range(len(shard.images)),
        workers=workers,
        ahead=2 * workers,
    )


def _of_image(image: SourceImage, job: PixelsJob, progress: RunProgress) -> Taken:
    try:
        picture = read_image(image, job.numbers, progress.stop)
    except storage.StorageUnavailableError as error:
        raise RunAbortedError(explain(error)) from error
    except (ImageError, storage.StorageError, MemoryError) as error:
        return _failed(image.relative, error_kind(error), explain(error))
    return _cut(picture, job)


def _cut(picture: SourcePicture, job: PixelsJob) -> Taken:
    digest = content_digest(picture.pixels)
    try:
        made = cut_pictures(picture.pixels, digest, job.cut)
    except TooSmallError as error:
        return _failed(picture.name, "too_small", str(error))
    split = _split(picture, digest, job)
    several = job.cut.patches > 0
    return [
        PixelRow(
            image={
                "bytes": png(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels),
                "path": f"{picture.name}#{k}.png" if several else f"{picture.name}.png",
            },
            label=picture.label,
            source=picture.name,
            source_digest=digest,
            split=split,
        )
        for k, pixels in enumerate(made)
    ]


def _split(picture: SourcePicture, digest: str, job: PixelsJob) -> Split:
    """The source's own split; what it has not is taken out of its training pictures."""
    request, own = job.request, job.found.own_splits
    if picture.split in ("validation", "test"):
        return picture.split
    return split_of(
        digest,
        seed=request.seed,
        validation=0.0 if "validation" in own else request.validation,
        test=0.0 if "test" in own else request.test,
    )


def _failed(name: str, kind: str, sentence: str) -> SrFailure:
    return SrFailure(source=storable(name), error_type=kind, error=storable(sentence))


def finish(job: PixelsJob, progress: RunProgress) -> PixelsSummary:
    """Write failures.parquet and what the dataset is now; dataset.json, the last, commits it.

    Raises:
        ValueError: a shard is not finished.
    """
    request, facts, cut = job.request, job.found.facts, job.cut
    own = (0, 0) if facts is None else (facts.height, facts.width)
    height, width = own if cut.size is None else (cut.size, cut.size)
    gray = cut.gray or cut.binary
    binary = cut.binary or (facts is not None and facts.binary and (height, width) == own)
    content = PixelsContent(
        request=shaping_of(request),
        config_digest=job.run.config_digest,
        height=height,
        width=width,
        channels=1 if gray else 3 if facts is None else facts.channels,
        levels=2 if binary else 256,
        names=job.found.names,
        own_splits=bool(job.found.own_splits),
        made_by=_made_by(request),
    )
    return pixels_parts.close(request.destination, content, len(job.shards), progress, job.run.run)


def _made_by(request: PixelsRequest) -> str:
    """The command, without what is the default."""
    default: dict[str, Any] = asdict(PixelsRequest(source="", destination=""))
    words = ["pixelmill dataset pixels SOURCE DESTINATION"]
    for name, value in asdict(request).items():
        if name not in ("source", "destination", "max_failed") and value != default[name]:
            option = f"--{name.replace('_', '-')}"
            words.append(option if value is True else f"{option} {value}")
    return " ".join(words)


def checked(summary: PixelsSummary, max_failed: float) -> PixelsSummary:
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
