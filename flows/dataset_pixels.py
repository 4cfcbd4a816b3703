"""Make datasets for pixel models: any collection cut to size."""

from typing import Annotated, Literal

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext
from pydantic import Field

from flows.progress import RunDisplay
from tasks import pixels_dataset, runs
from tasks.collection import Shard
from tasks.pixels_card import PixelsSummary
from tasks.pixels_dataset import PixelsJob
from tasks.pixels_request import PixelsRequest
from tasks.runs import RunProgress


@task(name="dataset-pixels-shard", task_run_name="shard-{number}", cache_policy=NO_CACHE)
def dataset_pixels_shard(job: PixelsJob, number: int, progress: RunProgress) -> None:
    """One shard: its pictures, cut to size."""
    pixels_dataset.run_shard(job, job.shards[number], progress)


@flow(name="dataset-pixels", flow_run_name="dataset pixels {source}", persist_result=False)
def dataset_pixels(
    source: str,
    destination: str,
    *,
    size: Annotated[int, Field(ge=1, le=1024)] | None = None,
    patches: Annotated[int, Field(ge=0, le=100_000)] = 0,
    fit: Literal["crop", "stretch"] = "crop",
    gray: bool = False,
    binary: bool = False,
    labels: Literal["none", "folder"] = "none",
    seed: int = 0,
    validation: Annotated[float, Field(ge=0, le=1)] = 0.05,
    test: Annotated[float, Field(ge=0, le=1)] = 0.1,
    shard_size: Annotated[int, Field(ge=1, le=1_000_000)] = 2048,
    max_failed: Annotated[float, Field(ge=0, le=1)] = 0.1,
) -> PixelsSummary:
    """Cut a collection into small pictures for pixel models.

    Args:
        source: Images: a prefix or folder, a glob, or a Parquet/CSV list with a `uri` column; or
            arrays: an .npz with train and test, or a folder with CIFAR-10's batches.
        destination: Where the dataset is, or will be; any URI that fsspec opens.
        size: Pixels on a side; by default 32, and for arrays their own.
        patches: So many patches of each picture at its own scale; 0 reduces the whole picture.
        fit: What is reduced: crop is the square in the middle, stretch the whole picture.
        gray: One channel.
        binary: Black and white, parted at half.
        labels: folder takes the name of the folder that an image lies in.
        seed: Of the patches and the splits.
        validation: The share of pictures for validation, where the source has no such split.
        test: The share of pictures for the test, where the source has no such split.
        shard_size: Source pictures per shard, the unit of retry and commit.
        max_failed: The share of failed images from which on the run counts as failed.
    """
    request = PixelsRequest(
        source=source,
        destination=destination,
        size=size,
        patches=patches,
        fit=fit,
        gray=gray,
        binary=binary,
        labels=labels,
        seed=seed,
        validation=validation,
        test=test,
        shard_size=shard_size,
        max_failed=max_failed,
    )
    job, progress = pixels_dataset.open_job(request), RunProgress()
    with runs.recorded(job.run, progress), RunDisplay(progress, "dataset pixels") as display:
        pixels_dataset.begin(job)
        for shard in pixels_dataset.plan(job, progress):
            dataset_pixels_shard(job, shard.number, progress)
            display.shard_done(Shard(number=shard.number, sources=()))
        if not progress.stop.is_set():  # else the run ends here, as stopped
            summary = pixels_dataset.finish(job, progress)
    _publish(summary)
    return pixels_dataset.checked(summary, max_failed)


def _publish(summary: PixelsSummary) -> None:
    """The closing table: what the dataset holds, what is new, failures by kind."""
    if FlowRunContext.get() is None:
        return
    rows: list[dict[str, object]] = [
        {"what": "run", "value": summary.run},
        {"what": "pixels", "value": f"{summary.width}x{summary.height}"},
        *({"what": split, "value": n} for split, n in summary.counts.items()),
        {"what": "sources new", "value": summary.new},
        *({"what": f"failed: {kind}", "value": n} for kind, n in summary.failures.items()),
        *({"what": f"left out: {why}", "value": n} for why, n in summary.left_out.items()),
        {"what": "digest", "value": summary.digest},
        {"what": "seconds", "value": round(summary.seconds, 1)},
    ]
    create_table_artifact(table=rows, description=summary.closing_line())
