"""Train a generator on a dataset of chairs and put it into the registry."""

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.gpu_slot import gpu_slot
from flows.training_progress import TrainingDisplay
from models.chair_training import ChairTraining
from tasks import chairs_training, runs
from tasks.chairs_training import ChairsTrainingJob, ChairsTrainingSummary, TrainChairsRequest
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
) -> ChairsTrainingSummary:
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
    if before := chairs_training.published(job):
        return chairs_training.summarise(job, before, None)
    progress = TrainingProgress()
    with runs.stop_on_signals(progress.stop), TrainingDisplay(progress) as display:
        train_generator(job, progress)
        summary = chairs_training.summarise(job, chairs_training.publish(job), progress)
        display.publish(summary.closing_line(), chairs_training.curve(job))
    return summary
