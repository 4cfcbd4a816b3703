"""The training of a pixel model: a dataset in, a version in the registry out."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version

import numpy as np
import torch
from torch import Tensor, nn

from models.cards import Card, read_card
from models.checkpoints import load_network, write_checkpoint
from models.pixel_pictures import middle_square
from models.pixel_training import PixelProblem, PixelSampler, PixelTraining
from models.systems import SYSTEMS
from tasks import pixel_models, storage, versions
from tasks.failures import RequestError, persistently
from tasks.pixel_models import SYSTEM
from tasks.pixels_dataset_reading import PixelsSplit, read_pixels
from tasks.pixels_samples import Illustrated, samples_uri
from tasks.pixels_training_request import PixelsTrainingJob, TrainPixelsRequest
from tasks.training import FitConfig, TrainingProgress, fit, write_curve
from tasks.versions import ModelRecord, Version


@dataclass(frozen=True, kw_only=True)
class PixelsTrainingSummary:
    """What a training came to."""

    version: Version
    steps: int
    metrics: dict[str, float]
    seconds: float
    idle_share: float
    trained: bool
    """False if this very training had been published before."""
    champion: int

    def closing_line(self) -> str:
        """What was done, and where it is, in one line."""
        told = self.metrics
        what = (
            f"{self.version.ref}: {self.steps} steps, {told['validation_nats']:.2f} nats a picture,"
            f" {told['validation_bits_per_dimension']:.4f} bits/dim on the validation split"
        )
        own = self.champion == self.version.version
        rank = "the champion" if own else f"version {self.champion} stays champion"
        done = f"{self.seconds:.0f} s" if self.trained else "trained before, nothing to do"
        return f"{what}, {rank}; {done}: {self.version.folder}"


def published(job: PixelsTrainingJob) -> Version | None:
    """The version that this very training has made before, if any."""
    request = job.request
    found = versions.published_by(request.registry, SYSTEM, request.name, job.run)
    return found[0] if found else None


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
    data = write_checkpoint(network.cpu(), card)
    persistently(lambda: storage.write(_weights_uri(job), data))
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


def _weights_uri(job: PixelsTrainingJob) -> str:
    return storage.join(job.folder, "model.safetensors")


def curve(job: PixelsTrainingJob) -> bytes:
    """The picture of the run's loss and score, PNG."""
    return persistently(lambda: storage.read(storage.join(job.folder, "curve.png")))


def last_samples(job: PixelsTrainingJob) -> bytes | None:
    """What the finished network draws, PNG; None for one that draws for minutes."""
    uri = samples_uri(job.folder, job.request.training.steps)
    try:
        return persistently(lambda: storage.read(uri))
    except storage.NotFoundError:
        return None


def publish(job: PixelsTrainingJob) -> Version:
    """Put the trained network into the registry; the first version becomes champion at once."""
    request = job.request
    data = persistently(lambda: storage.read(_weights_uri(job)))
    card = read_card(data)
    if card is None:
        raise RequestError(f"{_weights_uri(job)} is no checkpoint of ours")
    record = ModelRecord(
        system=SYSTEM,
        name=request.name,
        run=job.run,
        architecture=job.architecture,
        config=asdict(job.config),
        dataset=request.dataset,
        dataset_digest=job.dataset.digest,
        metrics=card.metrics,
        parent=_parent(request),
        training=asdict(request.training),
        code_version=version("pixelmill"),
        digest=versions.weights_digest(data),
        created_at=datetime.now(UTC).isoformat(),
    )
    return versions.publish_trained(request.registry, data, record)


def _parent(request: TrainPixelsRequest) -> str | None:
    """The model that was gone on from, as NAME@VERSION where it is the registry's."""
    if request.start is None:
        return None
    found = pixel_models.find_pixel_model(request.start, request.registry)
    return found.ref if found is not None else storage.redact(request.start)


def summarise(
    job: PixelsTrainingJob, made: Version, progress: TrainingProgress | None
) -> PixelsTrainingSummary:
    """The summary of a training; without progress, of one that had been published before."""
    champion = versions.champion(job.request.registry, SYSTEM, job.request.name)
    return PixelsTrainingSummary(
        version=made,
        steps=job.request.training.steps,
        metrics=versions.read_record(made).metrics,
        seconds=progress.seconds if progress else 0.0,
        idle_share=progress.idle_share if progress else 0.0,
        trained=progress is not None,
        champion=champion.version.version if champion else 0,
    )
