"""The training of a generator of chairs: a dataset in, a version in the registry out."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import takewhile

import torch

from models.cards import Card, CheckpointError, read_card
from models.chair_networks import ChairGenerator, GeneratorConfig, chair_init_
from models.chair_pictures import ChairPictures, gathered
from models.chair_training import ChairProblem, ChairTraining, loss_of
from models.checkpoints import load_network, write_checkpoint
from tasks import chair_models, storage, versions
from tasks.chair_models import ARCHITECTURE, SYSTEM
from tasks.chairs_reading import ChairsDataset, ChairView, open_chairs_dataset, read_chairs
from tasks.failures import RequestError, persistently
from tasks.training import FitConfig, TrainingProgress, fit, write_curve
from tasks.versions import ModelRecord, Version

_VALIDATION_VIEWS = 512


@dataclass(frozen=True, kw_only=True)
class TrainChairsRequest:
    """What a user asks for.

    start: the generator to go on from: a shipped name, NAME[@VERSION] or a checkpoint's URI.
    """

    dataset: str
    registry: str
    name: str
    training: ChairTraining = field(default_factory=ChairTraining)
    start: str | None = None


@dataclass(frozen=True, kw_only=True)
class ChairsTrainingJob:
    """A checked request, and where its run lives: the same request is the same run."""

    request: TrainChairsRequest
    dataset: ChairsDataset
    run: str
    folder: str
    config: GeneratorConfig


@dataclass(frozen=True, kw_only=True)
class ChairsTrainingSummary:
    """What a training came to."""

    version: Version
    chairs: int
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
        what = f"{self.version.ref}: {self.steps} steps, {self.chairs} chairs"
        score = (
            f"on held-out views mask IoU {told['validation_mask_iou']:.3f}"
            f" (nearest view {told['validation_nearest_mask_iou']:.3f}),"
            f" RGB MSE {told['validation_rgb_mse']:.5f}"
            f" ({told['validation_nearest_rgb_mse']:.5f})"
        )
        own = self.champion == self.version.version
        rank = "the champion" if own else f"version {self.champion} stays champion"
        done = f"{self.seconds:.0f} s" if self.trained else "trained before, nothing to do"
        return f"{what}, {score}, {rank}; {done}: {self.version.folder}"


def open_job(request: TrainChairsRequest) -> ChairsTrainingJob:
    """Check a request and give its run a name. Writes nothing.

    Raises:
        RequestError, DatasetError, ModelError: what is wrong with it.
        StorageError: a store cannot be asked.
    """
    request = replace(request, registry=storage.normalise(request.registry))
    versions.champion(request.registry, SYSTEM, request.name)  # refuses what is no name
    dataset, training = open_chairs_dataset(request.dataset), request.training
    for split in ("train", "validation"):
        if not dataset.counts.get(split):
            raise RequestError(f"{dataset.uri} has no view in its {split} split, wanted some")
    chairs = training.chairs or dataset.chairs
    if chairs > dataset.chairs:
        raise RequestError(f"chairs must be at most the dataset's {dataset.chairs}, got {chairs}")
    if training.azimuths is not None and training.azimuths > len(dataset.azimuths):
        raise RequestError(
            f"azimuths must be at most the dataset's {len(dataset.azimuths)},"
            f" got {training.azimuths}"
        )
    config = training.generator(chairs)
    if dataset.size % config.size:
        raise RequestError(
            f"network.size must divide the dataset's {dataset.size} pixels, got {config.size}"
        )
    start_digest = None
    if request.start is not None:
        start_digest = _check_start(request, config)
    told = {
        "dataset": dataset.digest,
        "start": start_digest,
        "network": asdict(config),
        "training": asdict(training),
    }
    run = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
    return ChairsTrainingJob(
        request=request,
        dataset=dataset,
        run=run,
        folder=storage.join(request.registry, SYSTEM, request.name, "training", run),
        config=config,
    )


def _check_start(request: TrainChairsRequest, config: GeneratorConfig) -> str:
    """The digest of the generator to go on from, which must be of the same sizes."""
    data = chair_models.read_generator(request.start, request.registry)
    name = storage.redact(request.start or "")
    try:
        own = load_generator_network(data, name).config
    except CheckpointError as error:
        raise RequestError(str(error)) from error
    for field_ in fields(GeneratorConfig):
        has, wanted = getattr(own, field_.name), getattr(config, field_.name)
        if has != wanted:
            raise RequestError(
                f"{name} has network.{field_.name} {has}, the settings want {wanted}:"
                " cannot go on from it"
            )
    return versions.weights_digest(data)


def load_generator_network(data: bytes, name: str) -> ChairGenerator:
    """The network of a generator's checkpoint, in fp32. Raises CheckpointError: it is none."""
    network = load_network(data, architecture=ARCHITECTURE, name=name)
    if not isinstance(network, ChairGenerator):
        raise CheckpointError(f"{name} is no generator of chairs")
    return network


def published(job: ChairsTrainingJob) -> Version | None:
    """The version that this very training has made before, if any."""
    request = job.request
    found = versions.published_by(request.registry, SYSTEM, request.name, job.run)
    return found[0] if found else None


def train(job: ChairsTrainingJob, progress: TrainingProgress) -> None:
    """Train to the last step and write the averaged network beside the checkpoint.

    Raises:
        StoppedError, DivergedError, CheckpointMismatchError, StorageError: as in `training.fit`.
    """
    problem = _problem(job)
    network = fit(problem, fit_config(job), progress)
    scores = problem.validate(network)
    card = Card(architecture=ARCHITECTURE, config=asdict(job.config), metrics=scores)
    data = write_checkpoint(network, card)
    persistently(lambda: storage.write(_weights_uri(job), data))
    write_curve(fit_config(job))


def fit_config(job: ChairsTrainingJob) -> FitConfig:
    """How the loop runs this job."""
    training = job.request.training
    return FitConfig(
        run=job.run,
        folder=job.folder,
        title=f"{job.request.name} ({job.config.classes} chairs, {job.config.size} pixels)",
        optimisation=training.optimisation(),
        validate_every=training.validate_every,
        checkpoint_every=training.checkpoint_every,
        precision=training.precision,
    )


def _problem(job: ChairsTrainingJob) -> ChairProblem:
    """The dataset at hand and the network at its beginning."""
    training = job.request.training
    held = pictures(job.dataset, "validation", chairs=job.config.classes, size=job.config.size)
    rows = torch.linspace(0, len(held) - 1, min(_VALIDATION_VIEWS, len(held))).round().long()
    seen = pictures(job.dataset, "train", chairs=job.config.classes, size=job.config.size)
    return ChairProblem(
        network=_first_network(job),
        loss=loss_of(job.config, color_weight=training.color_weight),
        views=training.seen(seen),
        validation=held.take(rows),
        config=training,
    )


def pictures(dataset: ChairsDataset, split: str, *, chairs: int, size: int) -> ChairPictures:
    """The views of a split's first so many chairs, reduced to `size` pixels.

    Raises:
        DatasetError, StorageError: as in `read_chairs`.
        ValueError: none of these chairs has a view in that split.
    """
    return gathered(_of_first(read_chairs(dataset, split), chairs), size)


def _of_first(views: Iterator[ChairView], chairs: int) -> Iterator[ChairView]:
    return takewhile(lambda view: view.chair < chairs, views)


def _first_network(job: ChairsTrainingJob) -> ChairGenerator:
    request = job.request
    if request.start is None:
        network = ChairGenerator(job.config)
        chair_init_(network, torch.Generator().manual_seed(request.training.seed))
        return network
    data = chair_models.read_generator(request.start, request.registry)
    return load_generator_network(data, storage.redact(request.start))


def _weights_uri(job: ChairsTrainingJob) -> str:
    return storage.join(job.folder, "model.safetensors")


def curve(job: ChairsTrainingJob) -> bytes:
    """The picture of the run's loss and score, PNG."""
    return persistently(lambda: storage.read(storage.join(job.folder, "curve.png")))


def publish(job: ChairsTrainingJob) -> Version:
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
        architecture=ARCHITECTURE,
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


def _parent(request: TrainChairsRequest) -> str | None:
    """The generator that was gone on from, as NAME@VERSION where it is the registry's."""
    if request.start is None:
        return None
    found = chair_models.find_generator(request.start, request.registry)
    return found.ref if found is not None else storage.redact(request.start)


def summarise(
    job: ChairsTrainingJob, made: Version, progress: TrainingProgress | None
) -> ChairsTrainingSummary:
    """The summary of a training; without progress, of one that had been published before."""
    champion = versions.champion(job.request.registry, SYSTEM, job.request.name)
    return ChairsTrainingSummary(
        version=made,
        chairs=job.config.classes,
        steps=job.request.training.steps,
        metrics=versions.read_record(made).metrics,
        seconds=progress.seconds if progress else 0.0,
        idle_share=progress.idle_share if progress else 0.0,
        trained=progress is not None,
        champion=champion.version.version if champion else 0,
    )
