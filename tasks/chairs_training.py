"""The training of a generator of chairs: a dataset in, a version in the registry out."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import takewhile

import torch

from models.cards import Card, CheckpointError
from models.chair_networks import ChairGenerator, GeneratorConfig, chair_init_
from models.chair_pictures import ChairPictures, gathered
from models.chair_training import ChairProblem, ChairTraining, loss_of
from models.checkpoints import load_network
from tasks import chair_models, storage, versions
from tasks.chair_models import ARCHITECTURE, SYSTEM
from tasks.chairs_reading import ChairsDataset, ChairView, open_chairs_dataset, read_chairs
from tasks.failures import RequestError
from tasks.trained import TrainingRun, keep, run_folder, run_of, training_run_of
from tasks.training import FitConfig, TrainingProgress, fit, write_curve

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
    run = run_of(told)
    return ChairsTrainingJob(
        request=request,
        dataset=dataset,
        run=run,
        folder=run_folder(request.registry, SYSTEM, request.name, run),
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


def training_run(job: ChairsTrainingJob) -> TrainingRun:
    """Where this training lives in the registry, and what its record will say."""
    return training_run_of(
        job.request,
        system=SYSTEM,
        run=job.run,
        dataset_digest=job.dataset.digest,
        settings=asdict(job.request.training),
        find=chair_models.find_generator,
    )


def train(job: ChairsTrainingJob, progress: TrainingProgress) -> None:
    """Train to the last step and write the averaged network beside the checkpoint.

    Raises:
        StoppedError, DivergedError, CheckpointMismatchError, StorageError: as in `training.fit`.
    """
    problem = _problem(job)
    network = fit(problem, fit_config(job), progress)
    scores = problem.validate(network)
    card = Card(architecture=ARCHITECTURE, config=asdict(job.config), metrics=scores)
    keep(training_run(job), network, card)
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
