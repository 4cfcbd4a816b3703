"""The super-resolution training: a dataset and settings in, a version in the registry out."""

import logging
import tempfile
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.cards import Card, read_card
from models.checkpoints import network_of, take_weights_
from models.patches import PatchSampler
from models.reparameterisation import collapsed, expanded
from models.sr_training import SrProblem, SrTraining, loss_of
from models.systems import SYSTEMS, preset
from tasks import registry, storage, versions
from tasks.failures import RequestError
from tasks.features import load_features
from tasks.sr_pairs import SrDataset, open_sr_dataset, read_pairs
from tasks.staging import stage
from tasks.trained import TrainingRun, keep, run_folder, run_of, training_run_of
from tasks.training import FitConfig, TrainingProgress, fit, write_curve
from tasks.versions import Version

log = logging.getLogger(__name__)

SYSTEM = "sr"
_VALIDATION_PICTURES = 16


@dataclass(frozen=True, kw_only=True)
class TrainSrRequest:
    """What a user asks for.

    Args:
        start: the model to go on from: a shipped name, NAME[@VERSION] or a checkpoint's URI.
        features: VGG weights for a perceptual loss; by default torchvision's.
        processes: how many processes train together, each on a device of its own.
    """

    dataset: str
    registry: str
    name: str
    training: SrTraining = field(default_factory=SrTraining)
    start: str | None = None
    features: str | None = None
    processes: int = 1


@dataclass(frozen=True, kw_only=True)
class SrTrainingJob:
    """A checked request, and where its run lives: the same request is the same run."""

    request: TrainSrRequest
    dataset: SrDataset
    run: str
    folder: str
    architecture: str
    config: dict[str, Any]
    start_digest: str | None


def open_job(request: TrainSrRequest) -> SrTrainingJob:
    """Check a request and give its run a name. Writes nothing.

    Raises:
        RequestError, DatasetError, ModelError: what is wrong with it.
        StorageError: a store cannot be asked.
    """
    if request.processes < 1:
        raise RequestError(f"processes must be at least 1, got {request.processes}")
    request = replace(request, registry=storage.normalise(request.registry))
    versions.champion(request.registry, SYSTEM, request.name)  # refuses what is no name
    dataset = open_sr_dataset(request.dataset)
    for split in ("train", "validation"):
        if not dataset.counts.get(split):
            raise RequestError(
                f"{dataset.uri} has no picture in its {split} split, wanted some: add pictures,"
                " or make another with larger shares (--validation, --test)"
            )
    start_digest, card = None, None
    if request.start is not None:
        data = registry.read_checkpoint(request.start, registry=request.registry)
        start_digest, card = versions.weights_digest(data), read_card(data)
        if card is None:
            raise RequestError(f"{request.start} is no checkpoint of ours: cannot go on from it")
    architecture, config = _network_of(request, dataset.scale, card)
    told = {
        "dataset": dataset.digest,
        "start": start_digest,
        "network": [architecture, config],
        "training": asdict(request.training),
    }
    run = run_of(told)
    return SrTrainingJob(
        request=request,
        dataset=dataset,
        run=run,
        folder=run_folder(request.registry, SYSTEM, request.name, run),
        architecture=architecture,
        config=config,
        start_digest=start_digest,
    )


def _network_of(
    request: TrainSrRequest, scale: int, card: Card | None
) -> tuple[str, dict[str, Any]]:
    """Architecture and config: the preset's, or those of the model to go on from."""
    if request.training.network is None and card is not None:
        return card.architecture, {**card.config, "scale": scale}
    architecture, config = preset(request.training.network or "mill", scale)
    if card is not None and card.architecture != architecture:
        raise RequestError(
            f"{request.start} is a {card.architecture}, {request.training.network} a {architecture}"
        )
    return architecture, asdict(config)


def training_run(job: SrTrainingJob) -> TrainingRun:
    """Where this training lives in the registry, and what its record will say."""
    return training_run_of(
        job.request,
        system=SYSTEM,
        run=job.run,
        dataset_digest=job.dataset.digest,
        settings=asdict(job.request.training),
        find=_find,
    )


def _find(ref: str, registry_: str) -> Version | None:
    return registry.find_version(ref, None, registry_)


def train(job: SrTrainingJob, progress: TrainingProgress) -> None:
    """Train to the last step and write the averaged, collapsed network beside the checkpoint.

    Raises:
        StoppedError, DivergedError, CheckpointMismatchError, StorageError: as in `training.fit`.
    """
    with tempfile.TemporaryDirectory(prefix="pixelmill-") as scratch:
        problem = _problem(job, Path(scratch))
        network = fit(problem, fit_config(job), progress)
    if not progress.main_process:
        return
    plain = collapsed(network)
    scores = problem.validate(plain)
    card = Card(architecture=job.architecture, config=job.config, metrics=scores)
    keep(training_run(job), plain, card)
    write_curve(fit_config(job))


def fit_config(job: SrTrainingJob) -> FitConfig:
    """How the loop runs this job."""
    training = job.request.training
    return FitConfig(
        run=job.run,
        folder=job.folder,
        title=f"{job.request.name} ({job.architecture} x{job.dataset.scale})",
        optimisation=training.optimisation(),
        validate_every=training.validate_every,
        checkpoint_every=training.checkpoint_every,
        precision=training.precision,
    )


def _problem(job: SrTrainingJob, scratch: Path) -> SrProblem:
    """The dataset at hand and the network at its beginning."""
    training, data = job.request.training, job.dataset
    features = None
    if training.loss.perceptual_weight:
        features = load_features(
            job.request.features,
            kind=training.loss.perceptual_network,
            layers=training.loss.perceptual_layers,
        )
    pairs = stage(read_pairs(data.uri, "train"), scratch / "train")
    return SrProblem(
        network=_first_network(job),
        loss=loss_of(training, scale=data.scale, features=features),
        sampler=PatchSampler(pairs, training.patches(data.scale, data.degradation)),
        validation=list(islice(read_pairs(data.uri, "validation"), _VALIDATION_PICTURES)),
        scale=data.scale,
    )


def _first_network(job: SrTrainingJob) -> nn.Module:
    training = job.request.training
    generator = torch.Generator().manual_seed(training.seed)
    network = network_of(job.architecture, job.config)
    SYSTEMS[job.architecture].initialise(network, generator)
    if job.request.start is not None:
        data = registry.read_checkpoint(job.request.start, registry=job.request.registry)
        taken, of = take_weights_(network, data)
        log.info("%d of %d tensors taken from %s", taken, of, job.request.start)
    return expanded(network, factor=training.expansion, generator=generator)
