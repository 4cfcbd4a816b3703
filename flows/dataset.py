"""Make datasets for training and evaluation from collections in an object store."""

from typing import Annotated, Literal

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext
from pydantic import Field

from flows.progress import RunDisplay
from tasks import runs, sr_dataset
from tasks.collection import Shard
from tasks.runs import RunProgress
from tasks.sr_dataset import SrDatasetJob, SrDatasetSummary
from tasks.sr_request import SrDatasetRequest


@task(name="dataset-sr-shard", task_run_name="shard-{shard.number}", cache_policy=NO_CACHE)
def dataset_sr_shard(job: SrDatasetJob, shard: Shard, progress: RunProgress) -> None:
    """One shard: its pictures and their degraded versions, as parts."""
    sr_dataset.run_shard(job, shard, progress)


@flow(name="dataset-sr", flow_run_name="dataset sr {source}", persist_result=False)
def dataset_sr(
    source: str,
    destination: str,
    *,
    scale: Annotated[int, Field(ge=2, le=8)] = 4,
    degradation: Literal["bicubic", "practical"] = "bicubic",
    validation: Annotated[float, Field(ge=0, le=1)] = 0.05,
    test: Annotated[float, Field(ge=0, le=1)] = 0.05,
    seed: int = 0,
    shard_size: Annotated[int, Field(ge=1, le=100_000)] = 128,
    limit: Annotated[int, Field(ge=0)] | None = None,
    max_failed: Annotated[float, Field(ge=0, le=1)] = 0.1,
) -> SrDatasetSummary:
    """Make pairs of high- and low-resolution pictures of what a dataset does not have yet.

    Args:
        source: High-resolution pictures: a prefix or folder, a glob, one image, or a Parquet/CSV
            list with a `uri` column.
        destination: Where the dataset is, or will be; any URI that fsspec opens.
        scale: How many times smaller the low-resolution pictures are.
        degradation: bicubic is the published protocol; practical adds blur, noise and JPEG.
        validation: The share of pictures for validation.
        test: The share of pictures for the test.
        seed: Of the splits and of what a degradation draws.
        shard_size: Images per shard, the unit of retry and commit.
        limit: Process at most so many images in this run.
        max_failed: The share of failed images from which on the run counts as failed.
    """
    request = SrDatasetRequest(
        source=source,
        destination=destination,
        scale=scale,
        degradation=degradation,
        validation=validation,
        test=test,
        seed=seed,
        shard_size=shard_size,
        limit=limit,
        max_failed=max_failed,
    )
    job, progress = sr_dataset.open_job(request), RunProgress()
    with runs.recorded(job.run, progress), RunDisplay(progress, "dataset sr") as display:
        sr_dataset.begin(job)
        for shard in runs.until_stopped(sr_dataset.plan(job, progress), progress):
            dataset_sr_shard(job, shard, progress)
            display.shard_done(shard)
        summary = sr_dataset.finish(job, progress)
    _publish(summary)
    return sr_dataset.checked(summary, max_failed)


def _publish(summary: SrDatasetSummary) -> None:
    """The closing table: what the dataset holds, what is new, failures by kind."""
    if FlowRunContext.get() is None:
        return
    rows: list[dict[str, object]] = [
        {"what": "run", "value": summary.run},
        *({"what": split, "value": n} for split, n in summary.counts.items()),
        {"what": "new", "value": summary.new},
        {"what": "copies stored once", "value": summary.copies},
        {"what": "near-duplicates across splits", "value": summary.near_duplicates},
        *({"what": f"failed: {kind}", "value": n} for kind, n in summary.failures.items()),
        *({"what": f"left out: {why}", "value": n} for why, n in summary.left_out.items()),
        {"what": "digest", "value": summary.digest},
        {"what": "seconds", "value": round(summary.seconds, 1)},
    ]
    create_table_artifact(table=rows, description=summary.closing_line())
