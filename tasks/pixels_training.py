"""The training of a pixel model: a dataset in, a version in the registry out."""

from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor, nn

from models.cards import Card
from models.checkpoints import load_network
from models.pixel_pictures import middle_square
from models.pixel_training import PixelProblem, PixelSampler, PixelTraining
from models.systems import SYSTEMS
from tasks import pixel_models, storage
from tasks.failures import RequestError, persistently
from tasks.pixel_models import SYSTEM
from tasks.pixels_dataset_reading import PixelsSplit, read_pixels
from tasks.pixels_samples import Illustrated, samples_uri
from tasks.pixels_training_request import PixelsTrainingJob
from tasks.trained import TrainingRun, keep, training_run_of
from tasks.training import FitConfig, TrainingProgress, fit, write_curve


def training_run(job: PixelsTrainingJob) -> TrainingRun:
    """Where this training lives in the registry, and what its record will say."""
    return training_run_of(
        job.request,
        system=SYSTEM,
        run=job.run,
        dataset_digest=job.dataset.digest,
        settings=asdict(job.request.training),
        find=pixel_models.find_pixel_model,
    )


def train(job: PixelsTrainingJob, progress: TrainingProgress) -> None:
    """Train to the last step and write the averaged network beside the checkpoint.

    Raises:
        StoppedError, DivergedError, CheckpointMismatchError, StorageError: as in `training.fit`.
        RequestError: a picture has no label, and labels are wanted.
    """
    problem = _problem(job)
    illustrated = Illustrated(problem=problem, folder=job.folder, progress=progress)
    network = fit(illustrated, fit_config(job), progress)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    scores = problem.validate(network.to(device))
    card = Card(architecture=job.architecture, config=asdict(job.config), metrics=scores)
    keep(training_run(job), network.cpu(), card)
    write_curve(fit_config(job))


def fit_config(job: PixelsTrainingJob) -> FitConfig:
    """How the loop runs this job."""
    training = job.request.training
    return FitConfig(
        run=job.run,
        folder=job.folder,
        title=f"{job.request.name} ({job.architecture}, {job.width}x{job.height})",
        optimisation=training.optimisation(),
        validate_every=training.validate_every,
        checkpoint_every=training.checkpoint_every,
        precision=training.precision,
    )


def _problem(job: PixelsTrainingJob) -> PixelProblem:
    """The dataset at hand and the network at its beginning."""
    training = job.request.training
    held = read_pixels(job.dataset, "validation", limit=training.validation_limit)
    seen = read_pixels(job.dataset, "train")
    images = middle_square(held.images, training.crop) if training.crop else held.images
    return PixelProblem(
        network=_first_network(job),
        sampler=PixelSampler(torch.from_numpy(seen.images), _labels(seen, training), training),
        validation=torch.from_numpy(np.ascontiguousarray(images)),
        validation_labels=_labels(held, training),
    )


def _labels(split: PixelsSplit, training: PixelTraining) -> Tensor | None:
    if not training.conditional or split.labels is None:
        return None
    missing = int((split.labels < 0).sum())
    if missing:
        raise RequestError(f"conditional wants a label of every picture, {missing} have none")
    return torch.from_numpy(split.labels)


def _first_network(job: PixelsTrainingJob) -> nn.Module:
    request, system = job.request, SYSTEMS[job.architecture]
    if request.start is None:
        network = system.build(job.config)
        system.initialise(network, torch.Generator().manual_seed(request.training.seed))
        return network
    data = pixel_models.read_pixel_model(request.start, request.registry)
    name = storage.redact(request.start)
    return load_network(data, architecture=job.architecture, name=name)


def last_samples(job: PixelsTrainingJob) -> bytes | None:
    """What the finished network draws, PNG; None for one that draws for minutes."""
    uri = samples_uri(job.folder, job.request.training.steps)
    try:
        return persistently(lambda: storage.read(uri))
    except storage.NotFoundError:
        return None
