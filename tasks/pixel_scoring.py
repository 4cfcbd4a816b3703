"""The job of scoring pictures by a pixel model, nats and bits: a request, its plan, one shard."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tasks import collection, storage, tables
from tasks.bulk_job import check_common, check_range
from tasks.collection import OutputFormat, Shard
from tasks.failures import persistently
from tasks.pixel_models import PixelFacts, check_pixel_model
from tasks.pixel_reading import PixelPicture
from tasks.pixel_results import current_rows
from tasks.pixel_shards import (
    Batches,
    check_label,
    labels_of,
    load_checked,
    manifest_row,
    near_pictures,
    open_pixel_run,
    plan_pictures,
    stacked,
    work_through,
    write_manifest,
)
from tasks.pixel_tables import LIKELIHOODS, LikelihoodRow
from tasks.runs import RunProgress, RunSummary, new_run_id, summarise
from tasks.tables import MANIFEST, ManifestRow, RunRow
from tasks.transform import Provenance

_SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class NllRequest:
    """What a user asks for; see the command line.

    Args:
        output: where rows go; None keeps them in this process, for what the command says.
        split: of a dataset as the source; None is all of them.
        size: the square in a picture's middle, reduced to so many pixels.
        label: a class, for a model that has some; else the dataset's own.
    """

    source: str
    output: str | None = None
    model: str | None = None
    registry: str | None = None
    split: str | None = None
    size: int | None = None
    label: int | None = None
    shard_size: int = 1024
    limit: int | None = None
    overwrite: bool = False
    max_failed: float = 0.1
    format: OutputFormat = "png"

    @property
    def destination(self) -> str:
        """Where rows go."""
        return self.output or ""


@dataclass(frozen=True, kw_only=True)
class NllJob:
    """A checked request and its run."""

    request: NllRequest
    facts: PixelFacts
    run: RunRow
    provenance: Provenance


@dataclass(frozen=True, kw_only=True)
class NllReport:
    """Mean scores of all current rows of an output, and a line for each picture of a small run."""

    summary: RunSummary
    output: str | None
    pictures: tuple[str, ...]
    count: int
    nats: float
    bits_per_dim: float

    def closing_line(self) -> str:
        """The mean, and what the run did, in one line."""
        summary = self.summary
        mean = (
            f"{self.nats:.3f} nats, {self.bits_per_dim:.4f} bits/dim on average"
            if self.count
            else "no picture was scored"
        )
        line = replace(summary, remark=mean).closing_line()
        return line if self.output else line.removesuffix(f": {summary.destination}")


def check_request(request: NllRequest) -> NllRequest:
    """The request with whole URIs, after every check that needs no torch.

    Raises:
        RequestError: a value out of range.
        ModelError: no such model.
        StorageError: there is no such source, or a store cannot be asked.
    """
    # without an output, rows live in this process's memory until it ends
    kept = replace(request, output=request.output or f"memory://nll-{new_run_id()}")
    source, output = check_common(kept)
    collection.check_exists(source)
    check_range("size", request.size, 1, 4096)
    check_label(request.label, check_pixel_model(request.model, request.registry))
    return replace(kept, source=source, output=output)


def open_job(request: NllRequest) -> NllJob:
    """Check a request and give the run its name. Writes nothing.

    Raises:
        RequestError, ModelError, StorageError: as in `check_request`.
    """
    request = check_request(request)
    facts = check_pixel_model(request.model, request.registry)
    shaping: dict[str, object] = {"size": request.size, "label": request.label}
    row, provenance = open_pixel_run("nll", request, facts, shaping)
    return NllJob(request=request, facts=facts, run=row, provenance=provenance)


def plan(job: NllJob, progress: RunProgress) -> Iterator[Shard]:
    """Shards of what this job has still to do, while the source is listed."""
    return plan_pictures(job.request, job.provenance, progress)


def run_shard(job: NllJob, shard: Shard, progress: RunProgress) -> list[ManifestRow]:
    """Score the pictures of one shard and commit it.

    Raises:
        RunAbortedError: the store cannot be reached, or the model was replaced.
        StorageError: the output cannot be written.
    """
    scoring = _Scoring(job, shard)
    return work_through(
        near_pictures(shard, job.request, job.facts),
        progress,
        batches=Batches(),
        row=lambda picture: manifest_row(picture.source, job.provenance, shard.number),
        work=scoring.score,
        commit=scoring.commit,
    )


class _Scoring:
    """The scores of one shard."""

    def __init__(self, job: NllJob, shard: Shard) -> None:
        request = job.request
        loaded = load_checked(request.model, request.registry, job.provenance, device=None)
        self._job = job
        self._shard = shard.number
        self._network = loaded.network
        self._rows: list[LikelihoodRow] = []

    def score(
        self, pictures: Sequence[PixelPicture], rows: Sequence[ManifestRow]
    ) -> Sequence[ManifestRow]:
        """Nats of a batch, kept for the commit."""
        import torch

        from models.pixel_likelihood import nats

        labels = labels_of(pictures, self._network.classes)
        device = next(self._network.parameters()).device  # type: ignore[attr-defined]
        with torch.inference_mode():
            found = nats(
                self._network,
                stacked(pictures).to(device),
                None if labels is None else labels.to(device),
            ).tolist()
        height, width = pictures[0].size
        for picture, row, value in zip(pictures, rows, found, strict=True):
            self._rows.append(self._scored(picture, row, value))
        return [
            replace(row, width=width, height=height, output_width=width, output_height=height)
            for row in rows
        ]

    def _scored(self, picture: PixelPicture, row: ManifestRow, value: float) -> LikelihoodRow:
        height, width = picture.size
        return LikelihoodRow(
            source=row.source,
            label=picture.label if picture.condition is None else picture.condition,
            split=picture.split,
            width=width,
            height=height,
            channels=self._job.facts.channels,
            nats=value,
            bits_per_dim=value / (math.log(2) * picture.pixels.size),
            model=row.model,
            model_digest=row.model_digest,
            config_digest=row.config_digest,
            run=row.run,
            finished_at=row.finished_at,
        )

    def commit(self, rows: Sequence[ManifestRow]) -> None:
        """The scores, then the manifest part."""
        output, run = self._job.request.destination, self._job.provenance.run
        name = f"likelihoods/run={run}/shard-{self._shard:06d}.parquet"
        data = tables.to_parquet(self._rows, LIKELIHOODS)
        persistently(lambda: storage.write(storage.join(output, name), data))
        write_manifest(output, run, self._shard, rows, MANIFEST)


def report(job: NllJob, progress: RunProgress, *, kept: bool) -> NllReport:
    """Mean scores over all that was scored with these settings; the failed ones' sentences."""
    columns, summary = ["nats", "bits_per_dim"], summarise(job.run, progress)
    found: list[dict[str, object]] = []
    if summary.ok + summary.already_done:
        table = current_rows(job.request.destination, "likelihoods", columns, job.run.config_digest)
        found = table.to_pylist()
    lines = tuple(
        f"{row['source']}: {row['nats']:.3f} nats, {row['bits_per_dim']:.4f} bits/dim"
        for row in sorted(found, key=lambda row: str(row["source"]))
    )
    failed = tuple(
        f"{row.source}: {row.error}" for row in progress.first_rows if row.status == "failed"
    )
    total = max(1, len(found))
    return NllReport(
        summary=summary,
        output=job.request.output if kept else None,
        pictures=(*lines, *failed) if len(found) <= _SHOWN else failed,
        count=len(found),
        nats=sum(float(str(row["nats"])) for row in found) / total,
        bits_per_dim=sum(float(str(row["bits_per_dim"])) for row in found) / total,
    )
