"""Train a pixel model on a dataset of small pictures and put it into the registry."""

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.gpu_slot import gpu_slot
from flows.training_once import train_once
from flows.training_progress import show_picture
from models.pixel_training import PixelTraining
from tasks import pixels_training
from tasks.pixels_training_request import PixelsTrainingJob, TrainPixelsRequest, open_job
from tasks.trained import TrainingSummary
from tasks.training import TrainingProgress


@task(name="train-pixels", task_run_name="train-{job.run}", cache_policy=NO_CACHE)
def train_pixel_model(job: PixelsTrainingJob, progress: TrainingProgress) -> None:
    """From the run's last checkpoint to its last step."""
    with gpu_slot():
        pixels_training.train(job, progress)


@flow(name="train-pixels", flow_run_name="train {name}", persist_result=False)
def train_pixels(
    dataset: str,
    registry: str,
    name: str,
    *,
    training: PixelTraining | None = None,
    start: str | None = None,
) -> TrainingSummary:
    """Train a pixel model, and publish it as a version.

    The same dataset and settings are the same run: if it was stopped or killed it goes on from its
    last checkpoint, if it is finished nothing is done.

    Args:
        dataset: A dataset made by `pixelmill dataset pixels`.
        registry: Where versions, checkpoints and metrics go.
        name: The model's name in the registry.
        training: Network, steps and all other settings.
        start: The model to go on from: a shipped name, NAME[@VERSION] or a checkpoint's URI.
    """
    job = open_job(
        TrainPixelsRequest(
            dataset=dataset,
            registry=registry,
            name=name,
            training=training or PixelTraining(),
            start=start,
        )
    )
    run = pixels_training.training_run(job)
    summary = train_once(run, lambda progress: train_pixel_model(job, progress))
    if summary.trained and (samples := pixels_training.last_samples(job)):
        show_picture(samples, f"drawn by {summary.version.ref}")
    return summary
