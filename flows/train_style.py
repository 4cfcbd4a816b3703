"""Train a painter on photographs and styles and put it into the registry."""

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.gpu_slot import gpu_slot
from flows.training_once import train_once
from flows.training_progress import show_picture
from models.style_training import StyleTraining
from tasks import style_training
from tasks.style_request import StyleTrainingJob, TrainStyleRequest, open_job
from tasks.trained import TrainingSummary
from tasks.training import TrainingProgress


@task(name="train-style", task_run_name="train-{job.run}", cache_policy=NO_CACHE)
def train_painter(job: StyleTrainingJob, progress: TrainingProgress) -> None:
    """From the run's last checkpoint to its last step."""
    with gpu_slot():
        style_training.train(job, progress)


@flow(name="train-style", flow_run_name="train {name}", persist_result=False)
def train_style(
    dataset: str,
    registry: str,
    name: str,
    styles: list[str],
    *,
    training: StyleTraining | None = None,
    start: str | None = None,
    features: str | None = None,
) -> TrainingSummary:
    """Train a network that paints photographs in these styles, and publish it as a version.

    The same photographs, styles and settings are the same run: if it was stopped or killed it goes
    on from its last checkpoint, if it is finished nothing is done.

    Args:
        dataset: Photographs: a prefix, a glob, or a Parquet or CSV list (column uri).
        registry: Where versions, checkpoints, pictures and metrics go.
        name: The painter's name in the registry.
        styles: Pictures to paint like: IMAGE, named after its file, or NAME=IMAGE.
        training: Network, steps, loss and all other settings.
        start: The painter to go on from: painter, NAME[@VERSION] or a checkpoint's URI.
        features: Weights of the network that compares pictures: a URI; by default torchvision's.
    """
    job = open_job(
        TrainStyleRequest(
            dataset=dataset,
            registry=registry,
            name=name,
            styles=tuple(styles),
            training=training or StyleTraining(),
            start=start,
            features=features,
        )
    )
    run = style_training.training_run(job)
    summary = train_once(run, lambda progress: train_painter(job, progress))
    if summary.trained:
        pictures = style_training.last_pictures(job)
        show_picture(pictures, f"held-out photographs by {name}", kind="jpeg")
    return summary
