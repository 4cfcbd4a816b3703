"""The upscaling job: a request, checked; its plan; one shard of it."""

import functools
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from models.images import ImageError, decode
from models.pixels import Pixels
from tasks import collection, ray_engine, storage
from tasks.bulk import ShardRun
from tasks.bulk_job import (
    Maker,
    check_common,
    check_range,
    count_only,
    digest_of,
    open_run,
    plan_request,
)
from tasks.collection import OutputFormat, Shard, Source
from tasks.engine_sizing import engine_config
from tasks.failures import RequestError
from tasks.registry import LoadedModel, PrecisionChoice, check_model, load_model, registry_uri
from tasks.runs import RunProgress, RunSummary
from tasks.tables import ManifestRow, RunRow
from tasks.tile_stage import TileStage
from tasks.transform import Judge, Provenance

log = logging.getLogger(__name__)

PIXELS_VERSION = 2
"""Part of every config digest: raise it when the same parameters give other pixels than before."""


@dataclass(frozen=True, kw_only=True)
class UpscaleRequest:
    """What a user asks for; see the command line."""

    source: str
    destination: str
    scale: int | None = None
    model: str | None = None
    format: OutputFormat = "png"
    precision: PrecisionChoice = "auto"
    tile: int = 256
    shard_size: int = 256
    limit: int | None = None
    overwrite: bool = False
    max_failed: float = 0.1
    reference: str | None = None
    engine: Literal["local", "ray"] = "local"
    registry: str | None = None
    redo_outdated: bool = False


@dataclass(frozen=True, kw_only=True)
class UpscaleJob:
    """A checked request and its run: a small record, enough for any process to run a shard."""

    request: UpscaleRequest
    run: RunRow
    provenance: Provenance


def check_request(request: UpscaleRequest) -> UpscaleRequest:
    """The request with whole URIs, after every check that needs no torch.

    Raises:
        RequestError: a value out of range, source and destination in each other, no Ray for it.
        ModelError: no such model.
        StorageError: there is no such source, or a store cannot be asked.
    """
    check_range("tile", request.tile, 16, 4096)
    if request.scale is not None and not 2 <= request.scale <= 8:
        raise RequestError(f"scale must be 2, 3 or 4 (2 to 8 for bicubic), got {request.scale}")
    if request.engine == "ray":
        ray_engine.check_installed()
    source, destination = check_common(request)
    registry = registry_uri(request.registry)
    check_model(request.model, request.scale, registry)
    collection.check_exists(source)
    reference = storage.normalise(request.reference) if request.reference else None
    return replace(
        request, source=source, destination=destination, reference=reference, registry=registry
    )


def open_job(request: UpscaleRequest) -> UpscaleJob:
    """Check a request, load its model and give the run its name. Writes nothing.

    Raises:
        RequestError, ModelError, StorageError: as in `check_request` and `load_model`.
    """
    request = check_request(request)
    model = load_model(request.model, request.scale, request.precision, request.registry)
    request = replace(request, scale=model.upscaler.scale)
    maker = Maker(
        name=model.name,
        digest=model.digest,
        device=model.device,
        precision=model.upscaler.precision,
    )
    row, provenance = open_run("upscale", request, maker, config_digest(request, model))
    # whoever becomes champion meanwhile: all shards of a run are by the model it began with
    if model.version is not None:
        request = replace(request, model=model.version.ref)
    else:
        request = replace(request, registry="")
    return UpscaleJob(request=request, run=row, provenance=provenance)


def config_digest(request: UpscaleRequest, model: LoadedModel) -> str:
    """A digest of all that shapes an output: two runs with one digest make the same pixels.

    Except where the model is a registry's champion, asked for by name alone: the name stands in
    the digest for whoever holds the office, so that a new champion does not undo what is done.
    """
    identity = model.digest
    if model.version is not None and "@" not in (request.model or ""):
        identity = f"{model.version.name}@champion"
    shaping: dict[str, object] = {
        "job": "upscale",
        "pixels": PIXELS_VERSION,
        "model": identity,
        "scale": model.upscaler.scale,
        "format": request.format,
        "precision": request.precision,
        "reference": request.reference,
    }
    return digest_of(shaping)


def plan(job: UpscaleJob, progress: RunProgress) -> Iterator[Shard]:
    """Shards of what this job has still to do, while the source is listed."""
    request, provenance = job.request, job.provenance
    by_model = provenance.model_digest if request.redo_outdated else None
    return plan_request(request, provenance.config_digest, progress, by_model=by_model)


def dry_run(job: UpscaleJob, progress: RunProgress) -> RunSummary:
    """Plan to the end and count; writes nothing."""
    return count_only(plan(job, progress), job.run, progress)


def run_shard(job: UpscaleJob, shard: Shard, progress: RunProgress) -> list[ManifestRow]:
    """Upscale one shard and commit it.

    Raises:
        RunAbortedError: the store or the device fails every image.
    """
    request = job.request
    model = load_model(request.model, request.scale, request.precision, request.registry)
    config = engine_config(model.upscaler.device.type, request.tile)
    engine = ShardRun(
        destination=request.destination,
        stage=TileStage(model.upscaler, config),
        config=config,
        provenance=job.provenance,
        stop=progress.stop,
        on_row=progress.add,
        judge=reference_judge(request.reference, model.upscaler.scale),
    )
    return engine.run(shard)


def run_on_ray(job: UpscaleJob, shards: Iterator[Shard], progress: RunProgress) -> Iterator[Shard]:
    """Each shard as soon as a Ray actor has upscaled and committed it.

    Raises:
        RunAbortedError: the store or the device fails every image, or Ray cannot go on.
    """
    return ray_engine.run_shards(functools.partial(run_shard, job), shards, progress)


def reference_judge(reference: str | None, scale: int) -> Judge | None:
    """PSNR and SSIM of an output against the picture at its source's path below `reference`."""
    if reference is None:
        return None
    return functools.partial(_judge, reference=reference, border=scale)


def _judge(
    source: Source, output: Pixels, *, reference: str, border: int
) -> tuple[float | None, float | None]:
    from models.metrics import score_against_reference

    uri = storage.join(reference, source.relative)
    try:
        truth = decode(storage.read(uri)).pixels
        return score_against_reference(output, truth, border=border)
    except (storage.NotFoundError, ImageError, ValueError) as error:
        log.warning("%s: not compared: %s", source.uri, storage.redact(str(error)))
        return None, None
