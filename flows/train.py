"""Train a model on a dataset and put it into the registry."""

from typing import Annotated

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from pydantic import Field

from flows.gpu_slot import gpu_slot
from flows.training_once import train_once
from models.sr_training import SrTraining
from tasks import sr_training
from tasks.launching import train_in_processes
from tasks.sr_training import SrTrainingJob, TrainSrRequest
from tasks.trained import TrainingSummary
from tasks.training import TrainingProgress


@task(name="train-sr", task_run_name="train-{job.run}", cache_policy=NO_CACHE)
def train_network(job: SrTrainingJob, progress: TrainingProgress) -> None:
    """From the run's last checkpoint to its last step."""
    with gpu_slot():
        if job.request.processes == 1:
            sr_training.train(job, progress)
        else:
            train_in_processes(job, progress)


@flow(name="train-sr", flow_run_name="train {name}", persist_result=False)
def train_sr(
    dataset: str,
    registry: str,
    name: str,
    *,
    training: SrTraining | None = None,
    start: str | None = None,
    features: str | None = None,
    processes: Annotated[int, Field(ge=1, le=64)] = 1,
) -> TrainingSummary:
    """Train a super-resolution network and publish it as a version.

    The same dataset and settings are the same run: if it was stopped or killed it goes on from its
    last checkpoint, if it is finished nothing is done.

    Args:
        dataset: A dataset built by `pixelmill dataset sr`.
        registry: Where versions, checkpoints and metrics go.
        name: The model's name in the registry.
        training: Network, steps, loss and all other settings.
        start: The model to go on from: a shipped name, NAME[@VERSION] or a checkpoint's URI.
        features: VGG weights for a perceptual loss: a URI; by default torchvision's.
        processes: How many processes train together, each on a device of its own.
    """
    request = TrainSrRequest(
        dataset=dataset,
        registry=registry,
        name=name,
        training=training or SrTraining(),
        start=start,
        features=features,
        processes=processes,
    )
    job = sr_training.open_job(request)
    run = sr_training.training_run(job)
    return train_once(run, lambda progress: train_network(job, progress))
