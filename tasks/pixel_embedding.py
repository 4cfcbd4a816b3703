"""The job of embedding pictures by a pixel model's activations: a request, its plan, one shard."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tasks import collection, storage, tables
from tasks.bulk_job import check_common, check_range, count_only
from tasks.collection import OutputFormat, Shard
from tasks.failures import RequestError, persistently
from tasks.pixel_models import PixelFacts, check_pixel_model
from tasks.pixel_reading import PixelPicture, is_dataset
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
from tasks.pixel_tables import FEATURES, FeatureRow, ProbeRow
from tasks.runs import RunProgress, RunSummary
from tasks.tables import MANIFEST, ManifestRow, RunRow
from tasks.transform import Provenance


@dataclass(frozen=True, kw_only=True)
class FeaturesRequest:
    """What a user asks for; see the command line.

    Args:
        split: of a dataset as the source; None is all of them.
        layer: a number into the network's layers, negative from the end; None is the middle one.
        grid: cells each way; 1 is the mean over the picture.
        probe: judge the embedding by a linear classifier; needs a dataset with labels.
        size: the square in a picture's middle, reduced to so many pixels.
        label: a class, for a model that has some; else the dataset's own.
    """

    source: str
    destination: str
    model: str | None = None
    registry: str | None = None
    split: str | None = None
    layer: int | None = None
    grid: int = 4
    probe: bool = False
    size: int | None = None
    label: int | None = None
    shard_size: int = 1024
    limit: int | None = None
    overwrite: bool = False
    max_failed: float = 0.1
    format: OutputFormat = "png"


@dataclass(frozen=True, kw_only=True)
class FeaturesJob:
    """A checked request and its run."""

    request: FeaturesRequest
    facts: PixelFacts
    run: RunRow
    provenance: Provenance


def check_request(request: FeaturesRequest) -> FeaturesRequest:
    """The request with whole URIs, after every check that needs no torch.

    Raises:
        RequestError: a value out of range, or a probe of what has no labels.
        ModelError: no such model.
        StorageError: there is no such source, or a store cannot be asked.
    """
    source, destination = check_common(request)
    collection.check_exists(source)
    check_range("grid", request.grid, 1, 64)
    check_range("layer", request.layer, -1000, 1000)
    check_range("size", request.size, 1, 4096)
    facts = check_pixel_model(request.model, request.registry)
    check_label(request.label, facts)
    if request.probe and not is_dataset(source):
        raise RequestError(f"a probe needs a dataset with labels and splits, {source} is none")
    if request.probe and request.split is not None:
        raise RequestError(
            f"a probe trains on one split and tests on another, got the split {request.split} alone"
        )
    if request.probe and facts.classes and request.label is None:
        # the pictures' own labels condition the activations, so that they would hold the answer
        raise RequestError(
            f"{facts.name} is told the class, so that a probe would find it again; give --label"
        )
    return replace(request, source=source, destination=destination)


def open_job(request: FeaturesRequest) -> FeaturesJob:
    """Check a request and give the run its name. Writes nothing.

    Raises:
        RequestError, ModelError, StorageError: as in `check_request`.
    """
    request = check_request(request)
    facts = check_pixel_model(request.model, request.registry)
    names = ("layer", "grid", "size", "label")
    shaping: dict[str, object] = {name: getattr(request, name) for name in names}
    row, provenance = open_pixel_run("features", request, facts, shaping)
    return FeaturesJob(request=request, facts=facts, run=row, provenance=provenance)


def plan(job: FeaturesJob, progress: RunProgress) -> Iterator[Shard]:
    """Shards of what this job has still to do, while the source is listed."""
    return plan_pictures(job.request, job.provenance, progress)


def dry_run(job: FeaturesJob, progress: RunProgress) -> RunSummary:
    """Plan to the end and count; writes nothing."""
    return count_only(plan(job, progress), job.run, progress)


def run_shard(job: FeaturesJob, shard: Shard, progress: RunProgress) -> list[ManifestRow]:
    """Embed the pictures of one shard and commit it.

    Raises:
        ValueError: the network has no such layer.
        RunAbortedError: the store cannot be reached, or the model was replaced.
        StorageError: the destination cannot be written.
    """
    embedding = _Embedding(job, shard)
    return work_through(
        near_pictures(shard, job.request, job.facts),
        progress,
        batches=Batches(),
        row=lambda picture: manifest_row(picture.source, job.provenance, shard.number),
        work=embedding.embed,
        commit=embedding.commit,
    )


class _Embedding:
    """The embeddings of one shard."""

    def __init__(self, job: FeaturesJob, shard: Shard) -> None:
        request = job.request
        loaded = load_checked(request.model, request.registry, job.provenance, device=None)
        self._job = job
        self._shard = shard.number
        self._network = loaded.network
        # it runs an empty picture on the CPU
        self._counted = load_checked(request.model, request.registry, job.provenance).network
        self._count = 0
        self._rows: list[FeatureRow] = []

    def embed(
        self, pictures: Sequence[PixelPicture], rows: Sequence[ManifestRow]
    ) -> Sequence[ManifestRow]:
        """Embeddings of a batch, kept for the commit."""
        from models.pixel_embedding import embedding

        request, (height, width) = self._job.request, pictures[0].size
        layer = self._layer(height, width)
        labels = labels_of(pictures, self._network.classes)
        device = next(self._network.parameters()).device  # type: ignore[attr-defined]
        found = embedding(
            self._network,
            stacked(pictures).to(device),
            layer,
            labels=None if labels is None else labels.to(device),
            grid=request.grid,
        ).tolist()
        for picture, row, values in zip(pictures, rows, found, strict=True):
            self._rows.append(
                FeatureRow(
                    source=row.source,
                    label=picture.label,
                    split=picture.split,
                    embedding=values,
                    layer=layer,
                    grid=request.grid,
                    model=row.model,
                    model_digest=row.model_digest,
                    config_digest=row.config_digest,
                    run=row.run,
                    finished_at=row.finished_at,
                )
            )
        return [
            replace(row, width=width, height=height, output_width=width, output_height=height)
            for row in rows
        ]

    def _layer(self, height: int, width: int) -> int:
        """The layer's number from the front."""
        from models.pixel_embedding import layer_count

        wanted = self._job.request.layer
        self._count = self._count or layer_count(self._counted, height=height, width=width)
        count = self._count
        if wanted is None:
            return count // 2
        if not -count <= wanted < count:
            raise ValueError(f"layer must be {-count} to {count - 1}, got {wanted}")
        return wanted % count

    def commit(self, rows: Sequence[ManifestRow]) -> None:
        """The embeddings, then the manifest part."""
        destination, run = self._job.request.destination, self._job.provenance.run
        name = f"features/run={run}/shard-{self._shard:06d}.parquet"
        data = tables.to_parquet(self._rows, FEATURES)
        persistently(lambda: storage.write(storage.join(destination, name), data))
        write_manifest(destination, run, self._shard, rows, MANIFEST)


def probe_table(rows: Sequence[ProbeRow]) -> list[dict[str, object]]:
    """A probe's scores as plain values."""
    return [
        {
            "of": row.of,
            "features": row.features,
            "test accuracy": f"{row.test_accuracy:.2%}",
            "train accuracy": f"{row.train_accuracy:.2%}",
            "train pictures": row.train_pictures,
            "test pictures": row.test_pictures,
        }
        for row in rows
    ]


def probe_words(rows: Sequence[ProbeRow]) -> str:
    """A probe's scores in one sentence."""
    parts = [f"{row.test_accuracy:.2%} by {row.of} ({row.features} numbers)" for row in rows]
    return f"a linear probe is right for {', '.join(parts)}"
