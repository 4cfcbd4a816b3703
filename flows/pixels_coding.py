"""Compress pictures by pixel models without loss, and restore them."""

from dataclasses import replace
from typing import Annotated

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from pydantic import Field

from flows.progress import RunDisplay
from tasks import pixel_compressing, pixel_decompressing, runs
from tasks.collection import Shard
from tasks.pixel_compressing import CompressJob, CompressRequest
from tasks.pixel_decompressing import DecompressJob, DecompressRequest, DecompressShard
from tasks.runs import RunProgress, RunSummary


@task(name="pixels-compress-shard", task_run_name="shard-{shard.number}", cache_policy=NO_CACHE)
def compress_shard(job: CompressJob, shard: Shard, progress: RunProgress) -> None:
    """One shard: its containers, then its manifest part, which is their index."""
    pixel_compressing.run_shard(job, shard, progress)


@task(name="pixels-compress-totals", cache_policy=NO_CACHE)
def weigh(job: CompressJob) -> str:
    """Bytes of all that the destination holds, beside its sources', in words."""
    return pixel_compressing.told(job)


@flow(name="pixels-compress", flow_run_name="pixels compress {source}", persist_result=False)
def compress(
    source: str,
    destination: str,
    *,
    model: str | None = None,
    registry: str | None = None,
    split: str | None = None,
    label: Annotated[int, Field(ge=0)] | None = None,
    shard_size: Annotated[int, Field(ge=1, le=100_000)] = 1024,
    limit: Annotated[int, Field(ge=0)] | None = None,
    overwrite: bool = False,
    max_failed: Annotated[float, Field(ge=0, le=1)] = 0.1,
    dry_run: bool = False,
) -> RunSummary:
    """Compress every picture of a collection that is not done yet; its pixels come back exactly.

    Args:
        source: A collection, or a dataset of `dataset pixels`.
        destination: Where containers, manifest and the run's record go.
        model: A shipped name, NAME[@VERSION] in the registry, or a checkpoint's URI.
        registry: Where NAME[@VERSION] is looked up.
        split: Of a dataset; by default all.
        label: The class by which a model with classes codes; by default the dataset's own.
        shard_size: Images per shard, the unit of retry and commit; those of one size share a file.
        limit: Process at most so many images in this run.
        overwrite: Do again what is done.
        max_failed: The share of failed images from which on the run counts as failed.
        dry_run: Only plan: count what there is, what is done and what is to do.
    """
    request = CompressRequest(
        source=source,
        destination=destination,
        model=model,
        registry=registry,
        split=split,
        label=label,
        shard_size=shard_size,
        limit=limit,
        overwrite=overwrite,
        max_failed=max_failed,
    )
    job, progress = pixel_compressing.open_job(request), RunProgress()
    if dry_run:
        return pixel_compressing.dry_run(job, progress)
    with runs.recorded(job.run, progress), RunDisplay(progress, "pixels compress") as display:
        for shard in runs.until_stopped(pixel_compressing.plan(job, progress), progress):
            compress_shard(job, shard, progress)
            display.shard_done(shard)
    summary = replace(runs.summarise(job.run, progress), remark=weigh(job))
    display.publish(summary)
    return runs.checked(summary, max_failed)


@task(name="pixels-decompress-shard", task_run_name="shard-{shard.number}", cache_policy=NO_CACHE)
def decompress_shard(job: DecompressJob, shard: DecompressShard, progress: RunProgress) -> None:
    """One shard: the pictures of its containers, then its manifest part."""
    from tasks.pixel_restoring import run_shard

    run_shard(job, shard, progress)


@flow(name="pixels-decompress", flow_run_name="pixels decompress {source}", persist_result=False)
def decompress(
    source: str,
    destination: str,
    *,
    model: str | None = None,
    registry: str | None = None,
    shard_size: Annotated[int, Field(ge=1, le=100_000)] = 1024,
    limit: Annotated[int, Field(ge=0)] | None = None,
    overwrite: bool = False,
    max_failed: Annotated[float, Field(ge=0, le=1)] = 0.1,
    dry_run: bool = False,
) -> RunSummary:
    """Restore compressed pictures as PNGs at their sources' paths, exactly or not at all.

    Args:
        source: A destination of `pixels compress`, or one of its .pxm files.
        destination: Where images, manifest and the run's record go.
        model: The model that compressed them: shipped, NAME[@VERSION], or a checkpoint's URI.
        registry: Where NAME[@VERSION] is looked up.
        shard_size: Images per shard, the unit of retry and commit; a container is not cut.
        limit: Restore at most so many images in this run.
        overwrite: Do again what is done.
        max_failed: The share of failed images from which on the run counts as failed.
        dry_run: Only plan: count what there is, what is done and what is to do.
    """
    request = DecompressRequest(
        source=source,
        destination=destination,
        model=model,
        registry=registry,
        shard_size=shard_size,
        limit=limit,
        overwrite=overwrite,
        max_failed=max_failed,
    )
    job, progress = pixel_decompressing.open_job(request), RunProgress()
    if dry_run:
        return pixel_decompressing.dry_run(job, progress)
    with runs.recorded(job.run, progress), RunDisplay(progress, "pixels decompress") as display:
        for shard in pixel_decompressing.plan(job, progress):
            if progress.stop.is_set():
                break
            decompress_shard(job, shard, progress)
            display.shard_done(shard.plain)
    summary = runs.summarise(job.run, progress)
    display.publish(summary)
    return runs.checked(summary, max_failed)
