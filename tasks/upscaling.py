"""The upscaling job: a request, checked; its plan; one shard of it."""

import functools
import hashlib
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Literal

import psutil

from models.images import ImageError, decode
from models.pixels import Pixels
from tasks import collection, storage
from tasks.bulk import ShardRun
from tasks.collection import OutputFormat, PlanConfig, Shard, Source
from tasks.failures import RequestError
from tasks.registry import LoadedModel, PrecisionChoice, check_model, load_model, registry_uri
from tasks.runs import RunProgress, RunSummary, new_run_id, software_versions, summarise
from tasks.tables import ManifestRow, RunRow
from tasks.transform import BulkConfig, Judge, Provenance, processors

log = logging.getLogger(__name__)

PIXELS_VERSION = 2
"""Part of every config digest: raise it when the same parameters give other pixels than before."""

_MEMORY_SHARE = 0.35
_MEMORY_MOST = 2 * 2**30


@dataclass(frozen=True, kw_only=True)
class UpscaleRequest:
    """What a user asks for; see the command line."""

    source: str
    destination: str
    scale: int | None = None
    model: str | None = None
    format: OutputFormat = "png"
    precision: PrecisionChoice = "auto"
    tile: int = 192
    shard_size: int = 256
    limit: int | None = None
    overwrite: bool = False
    max_failed: float = 0.1
    reference: str | None = None
    engine: Literal["local"] = "local"
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
        RequestError: a value out of range, or source and destination in each other.
        ModelError: no such model.
        StorageError: there is no such source, or a store cannot be asked.
    """
    ranges = {"tile": (16, 4096), "shard_size": (1, 100_000), "limit": (0, 10**12)}
    for name, (low, high) in ranges.items():
        value = getattr(request, name)
        if value is not None and not low <= value <= high:
            raise RequestError(f"{name.replace('_', '-')} must be {low} to {high}, got {value}")
    if not 0 <= request.max_failed <= 1:
        raise RequestError(f"max-failed must be 0 to 1, got {request.max_failed}")
    if request.scale is not None and not 2 <= request.scale <= 8:
        raise RequestError(f"scale must be 2, 3 or 4 (2 to 8 for bicubic), got {request.scale}")
    source, destination = storage.normalise(request.source), storage.normalise(request.destination)
    for inner, outer, words in (
        (destination, source, "the destination must not lie inside the source"),
        (source, storage.join(destination, "images"), "the source must not be the outputs"),
    ):
        if storage.is_within(inner, outer):
            raise RequestError(f"{words}, got {source} and {destination}")
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
    run, digest = new_run_id(), config_digest(request, model)
    name = storage.redact(model.name)
    row = RunRow(
        run=run,
        job="upscale",
        status="running",
        source=request.source,
        destination=request.destination,
        parameters=storage.redact(json.dumps(asdict(request), sort_keys=True)),
        model=name,
        model_digest=model.digest,
        config_digest=digest,
        device=model.device,
        precision=model.upscaler.precision,
        started_at=datetime.now(UTC),
        versions=software_versions(),
    )
    provenance = Provenance(run=run, model=name, model_digest=model.digest, config_digest=digest)
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
    shaping = {
        "job": "upscale",
        "pixels": PIXELS_VERSION,
        "model": identity,
        "scale": model.upscaler.scale,
        "format": request.format,
        "precision": request.precision,
        "reference": request.reference,
    }
    return hashlib.sha256(json.dumps(shaping, sort_keys=True).encode()).hexdigest()[:16]


def plan(job: UpscaleJob, progress: RunProgress) -> Iterator[Shard]:
    """Shards of what this job has still to do, while the source is listed."""
    request = job.request
    done, digest = collection.DoneIndex.empty(), job.provenance.config_digest
    if not request.overwrite:
        done = collection.read_done(request.destination, by_model=request.redo_outdated)
    if request.redo_outdated:
        digest = collection.config_of_model(digest, job.provenance.model_digest)
    config = PlanConfig(
        shard_size=request.shard_size,
        limit=request.limit,
        format=request.format,
        case_sensitive=storage.case_sensitive(request.destination),
        by_name=not collection.is_list(request.source),
    )
    return collection.plan_shards(
        collection.list_collection(request.source),
        done,
        config_digest=digest,
        config=config,
        counts=progress.counts,
    )


def dry_run(job: UpscaleJob, progress: RunProgress) -> RunSummary:
    """Plan to the end and count; writes nothing."""
    for _ in plan(job, progress):
        pass
    return summarise(job.run, progress)


def run_shard(job: UpscaleJob, shard: Shard, progress: RunProgress) -> list[ManifestRow]:
    """Upscale one shard and commit it.

    Raises:
        RunAbortedError: the store or the device fails every image.
    """
    request = job.request
    model = load_model(request.model, request.scale, request.precision, request.registry)
    engine = ShardRun(
        destination=request.destination,
        transform=model.upscaler,
        config=engine_config(model, request.tile),
        provenance=job.provenance,
        stop=progress.stop,
        on_row=progress.add,
        judge=reference_judge(request.reference, model.upscaler.scale),
    )
    return engine.run(shard)


def engine_config(model: LoadedModel, tile: int) -> BulkConfig:
    """How this machine runs a model: on a CPU one tile a thread, on a GPU one thread, batches."""
    import torch

    cores, device = processors(), model.upscaler.device.type
    available = psutil.virtual_memory().available
    common = BulkConfig(
        tile=tile,
        workers=cores,
        memory=min(_MEMORY_MOST, int(available * _MEMORY_SHARE)),
        memory_limit=int(available * 0.8),
    )
    if device == "cuda":
        return replace(
            common,
            batch_pixels=16 * 256 * 256,
            batch_most=64,
            patience_s=0.02,
            in_flight=256,
            clock=time.perf_counter,  # the thread only waits for the device
        )
    return replace(common, runners=cores, prepare_thread=lambda: torch.set_num_threads(1))


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
