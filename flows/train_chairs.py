"""Train a generator on a dataset of chairs and put it into the registry."""

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.gpu_slot import gpu_slot
from flows.training_once import train_once
from models.chair_training import ChairTraining
from tasks import chairs_training
from tasks.chairs_training import ChairsTrainingJob, TrainChairsRequest
from tasks.trained import TrainingSummary
from tasks.training import TrainingProgress


@task(name="train-chairs", task_run_name="train-{job.run}", cache_policy=NO_CACHE)
def train_generator(job: ChairsTrainingJob, progress: TrainingProgress) -> None:
    """From the run's last checkpoint to its last step."""
    with gpu_slot():
        chairs_training.train(job, progress)


@flow(name="train-chairs", flow_run_name="train {name}", persist_result=False)
def train_chairs(
    dataset: str,
    registry: str,
    name: str,
    *,
    training: ChairTraining | None = None,
    start: str | None = None,
) -> TrainingSummary:
    """Train a network that draws chairs, and publish it as a version.

    The same dataset and settings are the same run: if it was stopped or killed it goes on from its
    last checkpoint, if it is finished nothing is done.

    Args:
        dataset: A dataset made by `pixelmill dataset chairs` or `dataset chairs-ingest`.
        registry: Where versions, checkpoints and metrics go.
        name: The generator's name in the registry.
        training: Network, steps, loss and all other settings.
        start: The generator to go on from: a shipped name, NAME[@VERSION] or a checkpoint's URI.
    """
    job = chairs_training.open_job(
        TrainChairsRequest(
            dataset=dataset,
            registry=registry,
            name=name,
            training=training or ChairTraining(),
            start=start,
        )
    )
    run = chairs_training.training_run(job)
    return train_once(run, lambda progress: train_generator(job, progress))
