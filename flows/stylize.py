"""Stylize a collection of pictures, by a trained network or by optimisation."""

from typing import Annotated, Literal

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from pydantic import Field

from flows.gpu_slot import gpu_slot
from flows.progress import RunDisplay
from tasks import runs, stylizing
from tasks.collection import Shard
from tasks.runs import RunProgress, RunSummary
from tasks.stylizing import StylizeJob, StylizeRequest


@task(name="stylize-shard", task_run_name="shard-{shard.number}", cache_policy=NO_CACHE)
def stylize_shard(job: StylizeJob, shard: Shard, progress: RunProgress) -> None:
    """One shard: its pictures, their loss curves if they were optimised, then its manifest part."""
    with gpu_slot():
        stylizing.run_shard(job, shard, progress)


@flow(name="stylize", flow_run_name="stylize {source}", persist_result=False)
def stylize(
    source: str,
    destination: str,
    styles: tuple[str, ...],
    *,
    method: Literal["feedforward", "optimise"] = "feedforward",
    model: str | None = None,
    registry: str | None = None,
    original_colors: bool = False,
    size: Annotated[int, Field(ge=16, le=16384)] | None = None,
    tile: Annotated[int, Field(ge=64, le=16384)] = 1024,
    content_weight: Annotated[float, Field(ge=0)] | None = None,
    style_weight: Annotated[float, Field(ge=0)] | None = None,
    tv_weight: Annotated[float, Field(ge=0)] | None = None,
    iterations: Annotated[int, Field(ge=1, le=100_000)] = 300,
    start: str = "content",
    masks: tuple[str, ...] = (),
    style_scale: Annotated[float, Field(ge=0.05, le=20)] = 1.0,
    keep_every: Annotated[int, Field(ge=0, le=100_000)] = 0,
    seed: Annotated[int, Field(ge=0)] = 0,
    network: Literal["vgg19", "vgg16", "squeezenet1_0"] | None = None,
    features: str | None = None,
    format: Literal["png", "webp", "jpeg", "keep"] = "png",  # noqa: A002 (a name users type)
    shard_size: Annotated[int, Field(ge=1, le=100_000)] = 64,
    limit: Annotated[int, Field(ge=0)] | None = None,
    overwrite: bool = False,
    max_failed: Annotated[float, Field(ge=0, le=1)] = 0.1,
    dry_run: bool = False,
) -> RunSummary:
    """Stylize every picture of a collection that is not done yet.

    Args:
        source: A prefix or folder, a glob, one image, or a Parquet/CSV list with a `uri` column.
        destination: Where images, manifest, loss curves and the run's record go.
        styles: NAME[=WEIGHT] of the model's styles, or IMAGE[=WEIGHT] with the method optimise;
            several are blended.
        method: feedforward paints with a trained network; optimise takes minutes a picture, and
            any image for a style.
        model: A shipped name (painter), NAME or NAME@VERSION in the registry, or a checkpoint.
        registry: Where trained models are; by default what PIXELMILL_REGISTRY says.
        original_colors: Keep each picture's own colours.
        size: The output's longer side, pixels; by default the picture's own.
        tile: The largest side in memory at full size, pixels (feedforward).
        content_weight: How much the picture's content counts (optimise).
        style_weight: How much the styles count (optimise).
        tv_weight: Of total variation: smoother (optimise).
        iterations: Of L-BFGS at the coarsest scale (optimise).
        start: content, noise, or an image's URI (optimise).
        masks: One for each style, white where it applies: an image, or a place with one at each
            picture's path (optimise).
        style_scale: A style's longer side over the picture's (optimise).
        keep_every: Iterations between pictures kept in Parquet; 0 for none (optimise).
        seed: Of a start from noise (optimise).
        network: Whose layers (optimise). By default the best that is there.
        features: The network's weights: a URI; by default PIXELMILL_FEATURES, else torchvision's.
        format: What to write; keep means the source's own, where it can be written.
        shard_size: Images per shard, the unit of retry and commit.
        limit: Process at most so many images in this run.
        overwrite: Do again what is done.
        max_failed: The share of failed images from which on the run counts as failed.
        dry_run: Only plan: count what there is, what is done and what is to do.
    """
    request = StylizeRequest(
        source=source,
        destination=destination,
        styles=styles,
        method=method,
        model=model,
        registry=registry,
        original_colors=original_colors,
        size=size,
        tile=tile,
        content_weight=content_weight,
        style_weight=style_weight,
        tv_weight=tv_weight,
        iterations=iterations,
        start=start,
        masks=masks,
        style_scale=style_scale,
        keep_every=keep_every,
        seed=seed,
        network=network,
        features=features,
        format=format,
        shard_size=shard_size,
        limit=limit,
        overwrite=overwrite,
        max_failed=max_failed,
    )
    job, progress = stylizing.open_job(request), RunProgress()
    if dry_run:
        return stylizing.dry_run(job, progress)
    with runs.recorded(job.run, progress), RunDisplay(progress, "stylize") as display:
        for shard in runs.until_stopped(stylizing.plan(job, progress), progress):
            stylize_shard(job, shard, progress)
            display.shard_done(shard)
    summary = runs.summarise(job.run, progress)
    display.publish(summary)
    return runs.checked(summary, max_failed)
