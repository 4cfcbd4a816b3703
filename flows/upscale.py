"""Upscale a collection of images in an object store."""

from typing import Annotated, Literal

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from pydantic import Field

from flows.gpu_slot import gpu_slot
from flows.progress import RunDisplay
from tasks import runs, upscaling
from tasks.collection import Shard
from tasks.runs import RunProgress, RunSummary
from tasks.upscaling import UpscaleJob, UpscaleRequest


@task(name="upscale-shard", task_run_name="shard-{shard.number}", cache_policy=NO_CACHE)
def upscale_shard(job: UpscaleJob, shard: Shard, progress: RunProgress) -> None:
    """One shard: its outputs, then its manifest part."""
    with gpu_slot():
        upscaling.run_shard(job, shard, progress)


@task(name="upscale-on-ray", cache_policy=NO_CACHE)
def upscale_on_ray(job: UpscaleJob, progress: RunProgress, display: RunDisplay) -> None:
    """All shards, on the nodes of a Ray cluster."""
    shards = runs.until_stopped(upscaling.plan(job, progress), progress)
    for shard in upscaling.run_on_ray(job, shards, progress):
        display.shard_done(shard)


@flow(name="upscale", flow_run_name="upscale {source}", persist_result=False)
def upscale(
    source: str,
    destination: str,
    *,
    scale: Annotated[int | None, Field(ge=2, le=8)] = None,
    model: str | None = None,
    format: Literal["png", "webp", "jpeg", "keep"] = "png",  # noqa: A002 (a name users type)
    precision: Literal["auto", "fp32", "bf16"] = "auto",
    tile: Annotated[int, Field(ge=16, le=4096)] = 256,
    shard_size: Annotated[int, Field(ge=1, le=100_000)] = 256,
    limit: Annotated[int, Field(ge=0)] | None = None,
    overwrite: bool = False,
    max_failed: Annotated[float, Field(ge=0, le=1)] = 0.1,
    reference: str | None = None,
    engine: Literal["local", "ray"] = "local",
    registry: str | None = None,
    redo_outdated: bool = False,
    dry_run: bool = False,
) -> RunSummary:
    """Upscale every image of a collection that is not done yet.

    Args:
        source: A prefix or folder, a glob, one image, or a Parquet/CSV list with a `uri` column.
        destination: Where images, manifest and the run's record go; any URI that fsspec opens.
        scale: How much larger: 2, 3 or 4 for mill, 2 to 8 for bicubic; by default the model's.
        model: A shipped name (bicubic, mill-x4, ...), NAME (its champion) or NAME@VERSION in the
            registry, or the URI of a checkpoint.
        format: What to write; keep means the source's own, where it can be written.
        precision: auto takes bfloat16 where it is fast and costs less than 0.01 dB.
        tile: The largest tile side in source pixels; smaller needs less memory.
        shard_size: Images per shard, the unit of retry and commit.
        limit: Process at most so many images in this run.
        overwrite: Do again what is done.
        max_failed: The share of failed images from which on the run counts as failed.
        reference: High-resolution originals at the same paths, to measure PSNR and SSIM with.
        engine: local runs the shards in this process, ray on the cluster of RAY_ADDRESS, or on
            one of this machine.
        registry: Where trained models are; by default what PIXELMILL_REGISTRY says.
        redo_outdated: Do again what another version of the model made than today's champion.
        dry_run: Only plan: count what there is, what is done and what is to do.
    """
    request = UpscaleRequest(
        source=source,
        destination=destination,
        scale=scale,
        model=model,
        format=format,
        precision=precision,
        tile=tile,
        shard_size=shard_size,
        limit=limit,
        overwrite=overwrite,
        max_failed=max_failed,
        reference=reference,
        engine=engine,
        registry=registry,
        redo_outdated=redo_outdated,
    )
    job, progress = upscaling.open_job(request), RunProgress()
    if dry_run:
        return upscaling.dry_run(job, progress)
    with runs.recorded(job.run, progress), RunDisplay(progress) as display:
        if engine == "ray":
            upscale_on_ray(job, progress, display)
        else:
            for shard in runs.until_stopped(upscaling.plan(job, progress), progress):
                upscale_shard(job, shard, progress)
                display.shard_done(shard)
    summary = runs.summarise(job.run, progress)
    display.publish(summary)
    return runs.checked(summary, max_failed)
