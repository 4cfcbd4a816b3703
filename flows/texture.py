"""Synthesise a texture from every exemplar of a collection."""

from typing import Annotated, Literal

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from pydantic import Field

from flows.progress import RunDisplay
from tasks import runs, texturing
from tasks.collection import Shard
from tasks.runs import RunProgress, RunSummary
from tasks.texturing import TextureJob, TextureRequest


@task(name="texture-shard", task_run_name="shard-{shard.number}", cache_policy=NO_CACHE)
def texture_shard(job: TextureJob, shard: Shard, progress: RunProgress) -> None:
    """One shard: its textures, their loss curves, then its manifest part."""
    texturing.run_shard(job, shard, progress)


@flow(name="texture", flow_run_name="texture {source}", persist_result=False)
def texture(
    source: str,
    destination: str,
    *,
    method: Literal["efros-leung", "wei-levoy", "coherence", "gram"] = "coherence",
    size: str | None = None,
    tileable: bool = False,
    seed: Annotated[int, Field(ge=0)] = 0,
    window: int | None = None,
    k: Annotated[int, Field(ge=1, le=64)] = 4,
    layers: tuple[str, ...] | None = None,
    layer_weights: tuple[float, ...] | None = None,
    iterations: Annotated[int, Field(ge=1, le=100_000)] = 500,
    loss: Literal["gram", "sliced_wasserstein"] = "gram",
    pooling: Literal["max", "average"] = "average",
    tv_weight: Annotated[float, Field(ge=0)] = 0.0,
    histogram: bool = False,
    network: Literal["vgg19", "vgg16", "squeezenet1_0", "random"] | None = None,
    features: str | None = None,
    exemplars: tuple[str, ...] = (),
    inpaint: str | None = None,
    labels: str | None = None,
    guide: str | None = None,
    format: Literal["png", "webp", "jpeg", "keep"] = "png",  # noqa: A002 (a name users type)
    shard_size: Annotated[int, Field(ge=1, le=100_000)] = 16,
    limit: Annotated[int, Field(ge=0)] | None = None,
    overwrite: bool = False,
    max_failed: Annotated[float, Field(ge=0, le=1)] = 0.1,
    dry_run: bool = False,
) -> RunSummary:
    """Synthesise a texture from every exemplar of a collection that is not done yet.

    Args:
        source: A prefix or folder, a glob, one image, or a Parquet/CSV list with a `uri` column.
        destination: Where images, manifest, loss curves and the run's record go.
        method: coherence is fast; efros-leung and wei-levoy are the exact references; gram
            optimises pixels by a network's statistics.
        size: 512 or 640x480 pixels; by default twice the exemplar's sides.
        tileable: The output's edges continue at the opposite ones (wei-levoy's and coherence's
            always do).
        seed: Another one gives another texture of the same kind.
        window: Odd side of the neighbourhood, pixels (not gram).
        k: Proposals for each neighbour (coherence); 1 is fastest.
        layers: Of the network, e.g. relu1_1 (gram).
        layer_weights: One for each layer (gram).
        iterations: Of L-BFGS at the coarsest scale (gram).
        loss: Gram matrices or the sliced Wasserstein distance (gram).
        pooling: Of the network (gram).
        tv_weight: Of total variation: smoother (gram).
        histogram: End with the exemplar's histogram of colours (gram).
        network: Whose layers; random needs no weights (gram). By default the best that is there.
        features: The network's weights: a URI; by default PIXELMILL_FEATURES, else torchvision's.
        exemplars: Further pictures to copy from (coherence).
        inpaint: alpha, or where masks are: fill holes instead (coherence).
        labels: Where label pictures of the exemplars are (coherence).
        guide: The label picture of the output (coherence).
        format: What to write; keep means the source's own, where it can be written.
        shard_size: Images per shard, the unit of retry and commit.
        limit: Process at most so many images in this run.
        overwrite: Do again what is done.
        max_failed: The share of failed images from which on the run counts as failed.
        dry_run: Only plan: count what there is, what is done and what is to do.
    """
    request = TextureRequest(
        source=source,
        destination=destination,
        method=method,
        size=size,
        tileable=tileable,
        seed=seed,
        window=window,
        k=k,
        layers=layers,
        layer_weights=layer_weights,
        iterations=iterations,
        loss=loss,
        pooling=pooling,
        tv_weight=tv_weight,
        histogram=histogram,
        network=network,
        features=features,
        exemplars=exemplars,
        inpaint=inpaint,
        labels=labels,
        guide=guide,
        format=format,
        shard_size=shard_size,
        limit=limit,
        overwrite=overwrite,
        max_failed=max_failed,
    )
    job, progress = texturing.open_job(request), RunProgress()
    if dry_run:
        return texturing.dry_run(job, progress)
    with runs.recorded(job.run, progress), RunDisplay(progress, "texture") as display:
        for shard in runs.until_stopped(texturing.plan(job, progress), progress):
            texture_shard(job, shard, progress)
            display.shard_done(shard)
    summary = runs.summarise(job.run, progress)
    display.publish(summary)
    return runs.checked(summary, max_failed)
