"""The painter's training: photographs and styles in, a version in the registry out."""

import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from models.cards import Card, read_card
from models.checkpoints import load_network, write_checkpoint
from models.images import decode, encode
from models.photographs import middle, reduced
from models.pixels import Pixels
from models.style_adding import restyled, train_rows_only_
from models.style_feedforward import Painter, painter_init_
from models.style_training import StyleProblem, loss_of, style_targets
from models.training import Batch, Loss
from tasks import painters, storage, versions
from tasks.failures import RequestError, persistently
from tasks.features import FeaturesError, load_features
from tasks.painters import ARCHITECTURE, SYSTEM
from tasks.photographs import read_photographs, split_photographs, stage_photographs
from tasks.style_request import StyleTrainingJob, read_image, style_pixels
from tasks.training import FitConfig, TrainingProgress, fit, write_curve
from tasks.versions import ModelRecord, Version


@dataclass(frozen=True, kw_only=True)
class StyleTrainingSummary:
    """What a training came to."""

    version: Version
    styles: tuple[str, ...]
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
        what = f"{self.version.ref}: {self.steps} steps, {len(self.styles)} styles"
        score = (
            f"objective {told['validation_total']:.3f} on held-out photographs (content"
            f" {told['validation_content']:.3f}, style {told['validation_style']:.3f})"
        )
        own = self.champion == self.version.version
        rank = "the champion" if own else f"version {self.champion} stays champion"
        done = f"{self.seconds:.0f} s" if self.trained else "trained before, nothing to do"
        return f"{what}, {score}, {rank}; {done}: {self.version.folder}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Illustrated:
    """The problem, and pictures of the held-out photographs each time that it is validated."""

    problem: StyleProblem
    job: StyleTrainingJob
    progress: TrainingProgress

    @property
    def network(self) -> nn.Module:
        return self.problem.network

    @property
    def loss(self) -> Loss:
        return self.problem.loss

    def batch(self, step: int, rank: int, processes: int, /) -> Batch:
        return self.problem.batch(step, rank, processes)

    def validate(self, network: nn.Module, /) -> dict[str, float]:
        scores = self.problem.validate(network)
        names = [style.name for style in self.job.styles]
        data = encode(self.problem.pictures(network, names), "png")
        uri = _pictures_uri(self.job, self.progress.step)
        persistently(lambda: storage.write(uri, data))
        return scores


def published(job: StyleTrainingJob) -> Version | None:
    """The version that this very training has made before, if any."""
    request = job.request
    found = versions.published_by(request.registry, SYSTEM, request.name, job.run)
    return found[0] if found else None


def train(job: StyleTrainingJob, progress: TrainingProgress) -> None:
    """Train to the last step and write the averaged network beside the checkpoint.

    Raises:
        StoppedError, DivergedError, CheckpointMismatchError, StorageError: as in `training.fit`.
        RequestError: no photograph can be read, or the features are not there.
    """
    with tempfile.TemporaryDirectory(prefix="pixelmill-") as scratch:
        problem = _problem(job, Path(scratch), progress)
        illustrated = Illustrated(problem=problem, job=job, progress=progress)
        network = fit(illustrated, fit_config(job), progress)
        if not progress.main_process:
            return
        scores = problem.validate(network)
    card = Card(architecture=ARCHITECTURE, config=asdict(job.config), metrics=scores)
    data = write_checkpoint(network, card)
    persistently(lambda: storage.write(_weights_uri(job), data))
    write_curve(fit_config(job))


def fit_config(job: StyleTrainingJob) -> FitConfig:
    """How the loop runs this job."""
    training = job.request.training
    return FitConfig(
        run=job.run,
        folder=job.folder,
        title=f"{job.request.name} ({', '.join(style.name for style in job.styles)})",
        optimisation=training.optimisation(),
        validate_every=training.validate_every,
        checkpoint_every=training.checkpoint_every,
    )


def _problem(job: StyleTrainingJob, scratch: Path, progress: TrainingProgress) -> StyleProblem:
    """The photographs and styles at hand, and the network at its beginning."""
    request, training = job.request, job.request.training
    try:
        features = load_features(
            request.features, kind=training.loss.network, layers=training.loss.layers
        )
    except FeaturesError as error:
        raise RequestError(str(error)) from error
    split = split_photographs(request.dataset)
    held = read_photographs(split.held_out, side=training.validation_side)
    uris = [style.uri for style in job.styles]
    pictures = [reduced(style_pixels(u, read_image(u)), training.style_side) for u in uris]
    targets = style_targets(features, [_rgb(p) for p in pictures], training.loss.style_layers)
    weights = torch.eye(len(job.config.styles))[list(job.rows)]
    return StyleProblem(
        network=_first_network(job),
        loss=loss_of(
            training.loss, features, targets, weights=weights, spike_weight=training.spike_weight
        ),
        photographs=stage_photographs(
            split.training, scratch / "photographs", side=training.content_side, stop=progress.stop
        ),
        validation=[_rgb(middle(p, training.validation_side)) for p in held],
        config=training,
        features=features,
        targets=targets,
        weights=weights,
    )


def _rgb(pixels: Pixels) -> Tensor:
    """(H, W, 3) uint8 -> (1, 3, H, W) in 0..1."""
    return torch.from_numpy(np.array(pixels, np.float32) / 255).permute(2, 0, 1)[None]


def _first_network(job: StyleTrainingJob) -> Painter:
    request = job.request
    if request.start is None:
        network = Painter(job.config)
        painter_init_(network, torch.Generator().manual_seed(request.training.seed))
        return network
    data = painters.read_painter(request.start, request.registry)
    old = load_network(data, architecture=ARCHITECTURE, name=storage.redact(request.start))
    if not isinstance(old, Painter):
        raise RequestError(f"{request.start} is no painter: cannot go on from it")
    network = restyled(old, job.config.styles)
    if request.training.norms_only:
        train_rows_only_(network, job.rows)
    return network


def publish(job: StyleTrainingJob) -> Version:
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
        dataset_digest=job.dataset_digest,
        metrics=card.metrics,
        parent=_parent(job),
        training={
            **asdict(request.training),
            "styles": {style.name: style.digest for style in job.styles},
            "judge": job.judge,
        },
        code_version=version("pixelmill"),
        digest=versions.weights_digest(data),
        created_at=datetime.now(UTC).isoformat(),
    )
    return versions.publish_trained(request.registry, data, record)


def _parent(job: StyleTrainingJob) -> str | None:
    """The painter that was gone on from, as NAME@VERSION where it is the registry's."""
    request = job.request
    if request.start is None:
        return None
    found = painters.find_painter(request.start, request.registry)
    return found.ref if found is not None else storage.redact(request.start)


def summarise(
    job: StyleTrainingJob, made: Version, progress: TrainingProgress | None
) -> StyleTrainingSummary:
    """The summary of a training; without progress, of one that had been published before."""
    champion = versions.champion(job.request.registry, SYSTEM, job.request.name)
    return StyleTrainingSummary(
        version=made,
        styles=job.config.styles,
        steps=job.request.training.steps,
        metrics=versions.read_record(made).metrics,
        seconds=progress.seconds if progress else 0.0,
        idle_share=progress.idle_share if progress else 0.0,
        trained=progress is not None,
        champion=champion.version.version if champion else 0,
    )


def curve(job: StyleTrainingJob) -> bytes:
    """The picture of the run's loss and score, PNG."""
    return persistently(lambda: storage.read(storage.join(job.folder, "curve.png")))


def last_pictures(job: StyleTrainingJob) -> bytes:
    """The held-out photographs as the finished network paints them, JPEG: a tenth of the PNG."""
    uri = _pictures_uri(job, job.request.training.steps)
    return encode(decode(persistently(lambda: storage.read(uri))), "jpeg")


def _pictures_uri(job: StyleTrainingJob, step: int) -> str:
    return storage.join(job.folder, f"pictures/step-{step:06d}.png")


def _weights_uri(job: StyleTrainingJob) -> str:
    return storage.join(job.folder, "model.safetensors")
