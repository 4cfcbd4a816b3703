"""What pixel models say of pictures: likelihoods, and activations as features."""

from dataclasses import replace
from typing import Annotated

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from pydantic import Field

from flows.progress import RunDisplay
from tasks import pixel_embedding, pixel_scoring, runs
from tasks.collection import Shard
from tasks.pixel_embedding import FeaturesJob, FeaturesRequest
from tasks.pixel_scoring import NllJob, NllReport, NllRequest
from tasks.pixel_tables import ProbeRow
from tasks.runs import RunProgress, RunSummary


@task(name="pixels-nll-shard", task_run_name="shard-{shard.number}", cache_policy=NO_CACHE)
def nll_shard(job: NllJob, shard: Shard, progress: RunProgress) -> None:
    """One shard: the scores of its pictures, then its manifest part."""
    pixel_scoring.run_shard(job, shard, progress)


@task(name="pixels-nll-mean", cache_policy=NO_CACHE)
def nll_report(job: NllJob, progress: RunProgress, *, kept: bool) -> NllReport:
    """Mean scores of all rows of the output."""
    return pixel_scoring.report(job, progress, kept=kept)


@flow(name="pixels-nll", flow_run_name="pixels nll {source}", persist_result=False)
def nll(
    source: str,
    *,
    output: str | None = None,
    model: str | None = None,
    registry: str | None = None,
    split: str | None = None,
    size: Annotated[int, Field(ge=1, le=4096)] | None = None,
    label: Annotated[int, Field(ge=0)] | None = None,
    shard_size: Annotated[int, Field(ge=1, le=100_000)] = 1024,
    limit: Annotated[int, Field(ge=0)] | None = None,
    overwrite: bool = False,
    max_failed: Annotated[float, Field(ge=0, le=1)] = 0.1,
) -> NllReport:
    """Score every picture of a collection by a pixel model: -log p in nats, and bits/dim.

    Args:
        source: A collection, or a dataset of `dataset pixels`.
        output: Where rows, manifest and the run's record go; by default nowhere.
        model: A shipped name, NAME[@VERSION] in the registry, or a checkpoint's URI.
        registry: Where NAME[@VERSION] is looked up.
        split: Of a dataset; by default all.
        size: Cut the square in the middle and reduce it to so many pixels.
        label: The class, for a model that has some; by default the dataset's own.
        shard_size: Images per shard, the unit of retry and commit.
        limit: Score at most so many images in this run.
        overwrite: Do again what is done.
        max_failed: The share of failed images from which on the run counts as failed.
    """
    request = NllRequest(
        source=source,
        output=output,
        model=model,
        registry=registry,
        split=split,
        size=size,
        label=label,
        shard_size=shard_size,
        limit=limit,
        overwrite=overwrite,
        max_failed=max_failed,
    )
    job, progress = pixel_scoring.open_job(request), RunProgress()
    with runs.recorded(job.run, progress), RunDisplay(progress, "pixels nll") as display:
        for shard in runs.until_stopped(pixel_scoring.plan(job, progress), progress):
            nll_shard(job, shard, progress)
            display.shard_done(shard)
    report = nll_report(job, progress, kept=output is not None)
    display.publish(report.summary)
    runs.checked(report.summary, max_failed)
    return report


@task(name="pixels-features-shard", task_run_name="shard-{shard.number}", cache_policy=NO_CACHE)
def features_shard(job: FeaturesJob, shard: Shard, progress: RunProgress) -> None:
    """One shard: the embeddings of its pictures, then its manifest part."""
    pixel_embedding.run_shard(job, shard, progress)


@task(name="pixels-features-probe", cache_policy=NO_CACHE)
def probe(job: FeaturesJob) -> tuple[ProbeRow, ...]:
    """Linear classifiers on the embeddings and on raw pixels."""
    from tasks.pixel_probing import probe as judged

    return judged(job)


@flow(name="pixels-features", flow_run_name="pixels features {source}", persist_result=False)
def features(
    source: str,
    destination: str,
    *,
    model: str | None = None,
    registry: str | None = None,
    split: str | None = None,
    layer: int | None = None,
    grid: Annotated[int, Field(ge=1, le=64)] = 4,
    probe_labels: bool = False,
    size: Annotated[int, Field(ge=1, le=4096)] | None = None,
    label: Annotated[int, Field(ge=0)] | None = None,
    shard_size: Annotated[int, Field(ge=1, le=100_000)] = 1024,
    limit: Annotated[int, Field(ge=0)] | None = None,
    overwrite: bool = False,
    max_failed: Annotated[float, Field(ge=0, le=1)] = 0.1,
    dry_run: bool = False,
) -> RunSummary:
    """Embed every picture of a collection by a pixel model's activations.

    Args:
        source: A collection, or a dataset of `dataset pixels`.
        destination: Where embeddings, manifest and the run's record go.
        model: A shipped name, NAME[@VERSION] in the registry, or a checkpoint's URI.
        registry: Where NAME[@VERSION] is looked up.
        split: Of a dataset; by default all.
        layer: A number into the network's layers, negative from the end; by default the middle.
        grid: Cells each way; 1 is the mean over the picture.
        probe_labels: Judge the embedding by a linear classifier, beside one on raw pixels.
        size: Cut the square in the middle and reduce it to so many pixels.
        label: The class, for a model that has some; by default the dataset's own.
        shard_size: Images per shard, the unit of retry and commit.
        limit: Process at most so many images in this run.
        overwrite: Do again what is done.
        max_failed: The share of failed images from which on the run counts as failed.
        dry_run: Only plan: count what there is, what is done and what is to do.
    """
    request = FeaturesRequest(
        source=source,
        destination=destination,
        model=model,
        registry=registry,
        split=split,
        layer=layer,
        grid=grid,
        probe=probe_labels,
        size=size,
        label=label,
        shard_size=shard_size,
        limit=limit,
        overwrite=overwrite,
        max_failed=max_failed,
    )
    job, progress = pixel_embedding.open_job(request), RunProgress()
    if dry_run:
        return pixel_embedding.dry_run(job, progress)
    with runs.recorded(job.run, progress), RunDisplay(progress, "pixels features") as display:
        for shard in runs.until_stopped(pixel_embedding.plan(job, progress), progress):
            features_shard(job, shard, progress)
            display.shard_done(shard)
    summary = runs.summarise(job.run, progress)
    if probe_labels:
        rows = probe(job)
        create_table_artifact(table=pixel_embedding.probe_table(rows))
        summary = replace(summary, remark=pixel_embedding.probe_words(rows))
    display.publish(summary)
    return runs.checked(summary, max_failed)
