"""The job of compressing pictures by a pixel model: a request, its plan, one shard, the index."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa

from models.pixel_exchange import MOST_CODED, exact_levels
from tasks import collection, storage, tables
from tasks.bulk_job import check_common, count_only
from tasks.collection import OutputFormat, Shard
from tasks.failures import RequestError, persistently
from tasks.pixel_models import PixelFacts, check_pixel_model
from tasks.pixel_reading import PixelPicture, is_dataset, read_shard
from tasks.pixel_results import current_manifest
from tasks.pixel_shards import (
    Batches,
    check_label,
    check_steps,
    format_of,
    labels_of,
    load_checked,
    manifest_row,
    open_pixel_run,
    plan_pictures,
    stacked,
    values_of,
    work_through,
    write_manifest,
)
from tasks.pixel_tables import PACKED, PackedRow
from tasks.runs import RunProgress, RunSummary
from tasks.tables import RunRow
from tasks.transform import Provenance

_BATCHES = Batches(pictures=1024, values=2**24)
"""A container is one batch: what its head costs is shared by so many pictures."""


@dataclass(frozen=True, kw_only=True)
class CompressRequest:
    """What a user asks for; see the command line.

    split: of a dataset as the source. label: the class that a model with classes codes all by.
    """

    source: str
    destination: str
    model: str | None = None
    registry: str | None = None
    split: str | None = None
    label: int | None = None
    shard_size: int = 1024
    limit: int | None = None
    overwrite: bool = False
    max_failed: float = 0.1
    format: OutputFormat = "png"


@dataclass(frozen=True, kw_only=True)
class CompressJob:
    """A checked request and its run."""

    request: CompressRequest
    facts: PixelFacts
    run: RunRow
    provenance: Provenance


def check_request(request: CompressRequest) -> CompressRequest:
    """The request with whole URIs, after every check that needs no torch.

    Raises:
        RequestError: a value out of range, or a model that cannot be run site by site.
        ModelError: no such model.
        StorageError: there is no such source, or a store cannot be asked.
    """
    source, destination = check_common(request)
    collection.check_exists(source)
    facts = check_pixel_model(request.model, request.registry)
    check_steps(facts, "compression")
    check_label(request.label, facts)
    if facts.classes and request.label is None and not is_dataset(source):
        raise RequestError(
            f"{facts.name} wants one of {facts.classes} classes and a collection has no labels;"
            " give --label"
        )
    return replace(request, source=source, destination=destination)


def open_job(request: CompressRequest) -> CompressJob:
    """Check a request and give the run its name. Writes nothing.

    Raises:
        RequestError, ModelError, StorageError: as in `check_request`.
    """
    request = check_request(request)
    facts = check_pixel_model(request.model, request.registry)
    row, provenance = open_pixel_run("compress", request, facts, {"label": request.label})
    return CompressJob(request=request, facts=facts, run=row, provenance=provenance)


def plan(job: CompressJob, progress: RunProgress) -> Iterator[Shard]:
    """Shards of what this job has still to do, while the source is listed."""
    return plan_pictures(job.request, job.provenance, progress)


def dry_run(job: CompressJob, progress: RunProgress) -> RunSummary:
    """Plan to the end and count; writes nothing."""
    return count_only(plan(job, progress), job.run, progress)


def run_shard(job: CompressJob, shard: Shard, progress: RunProgress) -> list[PackedRow]:
    """Compress the pictures of one shard, a container for each size, and commit it.

    Raises:
        RunAbortedError: the store cannot be reached, or the model was replaced.
        StorageError: the destination cannot be written.
    """
    request, facts = job.request, job.facts
    packing = _Packing(job, shard)
    return work_through(
        read_shard(
            shard,
            partial(exact_levels, wanted=format_of(facts)),
            dataset=is_dataset(request.source),
            label=request.label,
            classes=facts.classes,
            max_pixels=MOST_CODED,
        ),
        progress,
        batches=_BATCHES,
        row=packing.row,
        work=packing.pack,
        commit=packing.commit,
    )


class _Packing:
    """The containers of one shard, numbered as they come."""

    def __init__(self, job: CompressJob, shard: Shard) -> None:
        self._job = job
        self._shard = shard.number
        self._model = load_checked(job.request.model, job.request.registry, job.provenance)
        self._count = 0

    def row(self, picture: PixelPicture) -> PackedRow:
        """A picture's row before it is packed."""
        row = manifest_row(picture.source, self._job.provenance, self._shard)
        return PackedRow(
            **values_of(row),  # type: ignore[arg-type]
            relative=tables.storable(picture.source.relative),
        )

    def pack(
        self, pictures: Sequence[PixelPicture], rows: Sequence[PackedRow]
    ) -> Sequence[PackedRow]:
        """Write one container; the rows say where in it each picture is."""
        from models.pixel_coding import compress

        job, (height, width) = self._job, pictures[0].size
        data = compress(
            self._model.network,
            stacked(pictures),
            digest=job.facts.digest.encode(),
            labels=labels_of(pictures, job.facts.classes),
        )
        run, number = job.provenance.run, self._shard
        name = f"containers/run={run}/shard-{number:06d}-{self._count:03d}-{width}x{height}.pxm"
        self._count += 1
        target = storage.join(job.request.destination, name)
        persistently(lambda: storage.write(target, data))
        bits = 8 * len(data) / (len(pictures) * pictures[0].pixels.size)
        each, more = divmod(len(data), len(pictures))
        return [
            replace(
                row,
                output=name,
                output_bytes=each + (place < more),
                width=width,
                height=height,
                output_width=width,
                output_height=height,
                position=place,
                source_channels=picture.channels,
                bits_per_dim=bits,
            )
            for place, (picture, row) in enumerate(zip(pictures, rows, strict=True))
        ]

    def commit(self, rows: Sequence[PackedRow]) -> None:
        """The manifest part, which is the index, too."""
        request, run = self._job.request, self._job.provenance.run
        write_manifest(request.destination, run, self._shard, rows, PACKED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """Where a picture is: `container` is a path below the destination."""

    source: str
    relative: str
    container: str
    position: int
    channels: int


def read_index(destination: str) -> pa.Table:
    """The current row of every source that a destination of `pixels compress` knows.

    Raises:
        ValueError: a manifest part is damaged, or of another job.
    """
    return current_manifest(destination, PACKED)


def packed_pictures(index: pa.Table) -> list[Packed]:
    """Where the pictures are that an index says were compressed, container after container."""
    columns = ["status", "source", "relative", "output", "position", "source_channels"]
    found = [
        Packed(source=source, relative=relative, container=output, position=place, channels=many)
        for status, source, relative, output, place, many in zip(
            *(index.column(name).to_pylist() for name in columns), strict=True
        )
        if status == "ok"
    ]
    return sorted(found, key=lambda packed: (packed.container, packed.position))


def told(job: CompressJob) -> str:
    """What all that the destination holds weighs, beside its sources."""
    rows = read_index(job.request.destination).to_pylist()
    ok = [row for row in rows if row["status"] == "ok"]
    if not ok:
        return "nothing is compressed"
    before = sum(row["source_bytes"] for row in ok)
    after = sum(row["output_bytes"] for row in ok)
    values = sum(row["width"] * row["height"] * job.facts.channels for row in ok)
    return (
        f"{after:,} bytes for {before:,} of the sources ({after / max(1, before):.1%}),"
        f" {8 * after / values:.4f} bits/dim"
    )
