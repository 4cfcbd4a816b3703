"""Make datasets of chairs: rendered here, or taken in from renderings that exist."""

from typing import Annotated, Literal

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext
from pydantic import Field

from flows.progress import RunDisplay
from tasks import chairs_dataset, chairs_ingest, runs
from tasks.chairs_card import ChairsSummary
from tasks.chairs_dataset import ChairsJob, ChairsRequest, ChairsShard
from tasks.chairs_ingest import IngestJob, IngestRequest
from tasks.collection import Shard
from tasks.runs import RunProgress


@task(name="dataset-chairs-shard", task_run_name="shard-{shard.number}", cache_policy=NO_CACHE)
def dataset_chairs_shard(job: ChairsJob, shard: ChairsShard, progress: RunProgress) -> None:
    """One shard: every view of some chairs, rendered."""
    chairs_dataset.run_shard(job, shard, progress)


@task(name="chairs-ingest-shard", task_run_name="shard-{number}", cache_policy=NO_CACHE)
def chairs_ingest_shard(job: IngestJob, number: int, progress: RunProgress) -> None:
    """One shard: the renderings of some classes, cut out and reduced."""
    chairs_ingest.run_shard(job, job.shards[number], progress)


@flow(name="dataset-chairs", flow_run_name="dataset chairs {destination}", persist_result=False)
def dataset_chairs(
    destination: str,
    *,
    chairs: Annotated[int, Field(ge=1, le=1_000_000)] = 809,
    azimuths: Annotated[int, Field(ge=1, le=3600)] = 31,
    elevations: tuple[float, ...] = (20.0, 30.0),
    size: Annotated[int, Field(ge=8, le=2048)] = 128,
    seed: Annotated[int, Field(ge=0)] = 0,
    samples: Annotated[int, Field(ge=1, le=8)] = 3,
    validation: Annotated[float, Field(ge=0, le=1)] = 0.05,
    test: Annotated[float, Field(ge=0, le=1)] = 0.1,
    shard_size: Annotated[int, Field(ge=1, le=10_000)] = 16,
) -> ChairsSummary:
    """Render parametric chairs from all sides.

    Args:
        destination: Where the dataset is, or will be; any URI that fsspec opens.
        chairs: How many chairs, each a class.
        azimuths: How many views round a chair, evenly spaced.
        elevations: Degrees above the horizon.
        size: Pixels on a side.
        seed: Of the chairs and of the splits.
        samples: Rays through a pixel, along each side of it.
        validation: The share of each chair's views for validation.
        test: The share of each chair's views for the test.
        shard_size: Chairs per shard, the unit of retry and commit.
    """
    request = ChairsRequest(
        destination=destination,
        chairs=chairs,
        azimuths=azimuths,
        elevations=elevations,
        size=size,
        seed=seed,
        samples=samples,
        validation=validation,
        test=test,
        shard_size=shard_size,
    )
    job, progress = chairs_dataset.open_job(request), RunProgress()
    with runs.recorded(job.run, progress), RunDisplay(progress, "dataset chairs") as display:
        chairs_dataset.begin(job)
        for shard in chairs_dataset.plan(job, progress):
            dataset_chairs_shard(job, shard, progress)
            display.shard_done(Shard(number=shard.number, sources=()))
        if not progress.stop.is_set():  # else the run ends here, as stopped
            summary = chairs_dataset.finish(job, progress)
    _publish(summary)
    return summary


@flow(
    name="dataset-chairs-ingest",
    flow_run_name="dataset chairs-ingest {source}",
    persist_result=False,
)
def dataset_chairs_ingest(
    source: str,
    destination: str,
    *,
    size: Annotated[int, Field(ge=8, le=2048)] = 128,
    parameters: str | None = None,
    holes: Literal["object", "background"] = "background",
    seed: Annotated[int, Field(ge=0)] = 0,
    validation: Annotated[float, Field(ge=0, le=1)] = 0.05,
    test: Annotated[float, Field(ge=0, le=1)] = 0.1,
    shard_size: Annotated[int, Field(ge=1, le=10_000)] = 16,
    max_failed: Annotated[float, Field(ge=0, le=1)] = 0.1,
) -> ChairsSummary:
    """Take existing renderings on white into a dataset, with masks.

    Args:
        source: A folder or prefix of renderings, MODEL/renders/image_III_pEEE_tAAA_rRRR.png.
        destination: Where the dataset is, or will be; any URI that fsspec opens.
        size: Pixels on a side.
        parameters: A CSV or Parquet with the columns path, class or chair, azimuth and elevation,
            for renderings with other names.
        holes: What white areas are that a chair encloses: object, or background seen through it.
        seed: Of the splits.
        validation: The share of each class's views for validation.
        test: The share of each class's views for the test.
        shard_size: Classes per shard, the unit of retry and commit.
        max_failed: The share of failed renderings from which on the run counts as failed.
    """
    request = IngestRequest(
        source=source,
        destination=destination,
        size=size,
        parameters=parameters,
        holes=holes,
        seed=seed,
        validation=validation,
        test=test,
        shard_size=shard_size,
        max_failed=max_failed,
    )
    job, progress = chairs_ingest.open_job(request), RunProgress()
    with runs.recorded(job.run, progress), RunDisplay(progress, "chairs-ingest") as display:
        chairs_ingest.begin(job)
        for shard in chairs_ingest.plan(job, progress):
            chairs_ingest_shard(job, shard.number, progress)
            display.shard_done(Shard(number=shard.number, sources=()))
        if not progress.stop.is_set():  # else the run ends here, as stopped
            summary = chairs_ingest.finish(job, progress)
    _publish(summary)
    return chairs_ingest.checked(summary, max_failed)


def _publish(summary: ChairsSummary) -> None:
    """The closing table: what the dataset holds, what is new, failures by kind."""
    if FlowRunContext.get() is None:
        return
    rows: list[dict[str, object]] = [
        {"what": "run", "value": summary.run},
        {"what": "chairs", "value": summary.chairs},
        *({"what": split, "value": n} for split, n in summary.counts.items()),
        {"what": "new", "value": summary.new},
        *({"what": f"failed: {kind}", "value": n} for kind, n in summary.failures.items()),
        *({"what": f"left out: {why}", "value": n} for why, n in summary.left_out.items()),
        {"what": "digest", "value": summary.digest},
        {"what": "seconds", "value": round(summary.seconds, 1)},
    ]
    create_table_artifact(table=rows, description=summary.closing_line())
