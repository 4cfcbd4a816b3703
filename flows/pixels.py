"""Draw pictures from pixel models, and complete what is hidden of pictures."""

from dataclasses import replace
from typing import Annotated, Literal

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from pydantic import Field

from flows.progress import RunDisplay
from tasks import pixel_completing, pixel_sampling, runs
from tasks.collection import Shard
from tasks.pixel_completing import CompleteJob, CompleteRequest
from tasks.pixel_sampling import SampleJob, SampleRequest, SampleShard
from tasks.runs import RunProgress, RunSummary

Sampler = Literal["cached", "predictive", "naive"]


@task(name="pixels-sample-shard", task_run_name="shard-{shard.number}", cache_policy=NO_CACHE)
def sample_shard(job: SampleJob, shard: SampleShard, progress: RunProgress) -> None:
    """One shard: its pictures and their sheet, then its rows."""
    from tasks.pixel_drawing import run_shard

    run_shard(job, shard, progress)


@flow(name="pixels-sample", flow_run_name="pixels sample {destination}", persist_result=False)
def sample(
    destination: str,
    *,
    model: str | None = None,
    registry: str | None = None,
    count: Annotated[int, Field(ge=1)] = 64,
    size: str | None = None,
    label: Annotated[int, Field(ge=0)] | None = None,
    temperature: Annotated[float, Field(ge=0.01, le=100)] = 1.0,
    seed: Annotated[int, Field(ge=0)] = 0,
    sampler: Sampler | None = None,
    sheet: bool = True,
    shard_size: Annotated[int, Field(ge=1, le=100_000)] = 64,
    overwrite: bool = False,
) -> RunSummary:
    """Draw pictures from a pixel model; the same seed gives the same pictures.

    Args:
        destination: Where images, sheets, rows and the run's record go.
        model: A shipped name, NAME[@VERSION] in the registry, or a checkpoint's URI.
        registry: Where NAME[@VERSION] is looked up.
        count: Pictures.
        size: 28 or 48x32 pixels; by default 28 for a binary model, else 32.
        label: The class, for a model that has some; by default each in turn.
        temperature: Below 1 likelier pictures, above 1 wilder ones.
        seed: With a picture's number it decides the picture.
        sampler: All give the same pictures; by default cached, which is the fastest.
        sheet: Also write a contact sheet for each shard.
        shard_size: Pictures per shard, the unit of commit.
        overwrite: Do again what is done.
    """
    request = SampleRequest(
        destination=destination,
        model=model,
        registry=registry,
        count=count,
        size=size,
        label=label,
        temperature=temperature,
        seed=seed,
        sampler=sampler,
        sheet=sheet,
        shard_size=shard_size,
        overwrite=overwrite,
    )
    job, progress = pixel_sampling.open_job(request), RunProgress()
    with runs.recorded(job.run, progress), RunDisplay(progress, "pixels sample") as display:
        for shard in pixel_sampling.plan(job, progress):
            sample_shard(job, shard, progress)
            display.shard_done(Shard(number=shard.number, sources=()))
    summary = runs.summarise(job.run, progress)
    display.publish(summary)
    return summary


@task(name="pixels-complete-shard", task_run_name="shard-{shard.number}", cache_policy=NO_CACHE)
def complete_shard(job: CompleteJob, shard: Shard, progress: RunProgress) -> None:
    """One shard: its completions and their sheet, then its manifest part."""
    from tasks.pixel_filling import run_shard

    run_shard(job, shard, progress)


@task(name="pixels-complete-exactness", cache_policy=NO_CACHE)
def say_whether_exact(job: CompleteJob) -> str:
    """Whether the completions are exact draws, in words."""
    from tasks.pixel_filling import told

    return told(job)


@flow(name="pixels-complete", flow_run_name="pixels complete {source}", persist_result=False)
def complete(
    source: str,
    destination: str,
    *,
    model: str | None = None,
    registry: str | None = None,
    split: str | None = None,
    hide: str = "bottom",
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5,
    mask: str | None = None,
    completions: Annotated[int, Field(ge=1, le=64)] = 4,
    size: Annotated[int, Field(ge=1, le=4096)] | None = None,
    label: Annotated[int, Field(ge=0)] | None = None,
    temperature: Annotated[float, Field(ge=0.01, le=100)] = 1.0,
    seed: Annotated[int, Field(ge=0)] = 0,
    sampler: Sampler | None = None,
    sheet: bool = True,
    shard_size: Annotated[int, Field(ge=1, le=100_000)] = 64,
    limit: Annotated[int, Field(ge=0)] | None = None,
    overwrite: bool = False,
    max_failed: Annotated[float, Field(ge=0, le=1)] = 0.1,
    dry_run: bool = False,
) -> RunSummary:
    """Hide a part of every picture and let a pixel model draw it, several times.

    Args:
        source: A collection, or a dataset of `dataset pixels`.
        destination: Where images, sheets, manifest and the run's record go.
        model: A shipped name, NAME[@VERSION] in the registry, or a checkpoint's URI.
        registry: Where NAME[@VERSION] is looked up.
        split: Of a dataset; by default all.
        hide: top, bottom, left or right; or right:16 for 16 pixels.
        share: How much of that side's direction is hidden.
        mask: Instead of hide, a picture that is white where pixels are hidden.
        completions: So many of each picture.
        size: Cut the square in the middle and reduce it to so many pixels.
        label: The class, for a model that has some; by default the dataset's own.
        temperature: Below 1 likelier completions, above 1 wilder ones.
        seed: With a picture's path it decides its completions.
        sampler: All give the same pictures; by default cached, which is the fastest.
        sheet: Also write a sheet for each shard.
        shard_size: Images per shard, the unit of retry and commit.
        limit: Process at most so many images in this run.
        overwrite: Do again what is done.
        max_failed: The share of failed images from which on the run counts as failed.
        dry_run: Only plan: count what there is, what is done and what is to do.
    """
    request = CompleteRequest(
        source=source,
        destination=destination,
        model=model,
        registry=registry,
        split=split,
        hide=hide,
        share=share,
        mask=mask,
        completions=completions,
        size=size,
        label=label,
        temperature=temperature,
        seed=seed,
        sampler=sampler,
        sheet=sheet,
        shard_size=shard_size,
        limit=limit,
        overwrite=overwrite,
        max_failed=max_failed,
    )
    job, progress = pixel_completing.open_job(request), RunProgress()
    if dry_run:
        return pixel_completing.dry_run(job, progress)
    with runs.recorded(job.run, progress), RunDisplay(progress, "pixels complete") as display:
        for shard in runs.until_stopped(pixel_completing.plan(job, progress), progress):
            complete_shard(job, shard, progress)
            display.shard_done(shard)
    summary = replace(runs.summarise(job.run, progress), remark=say_whether_exact(job))
    display.publish(summary)
    return runs.checked(summary, max_failed)
