"""The painter's training: photographs and styles in, a version in the registry out."""

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from models.cards import Card
from models.checkpoints import load_network
from models.images import decode, encode
from models.photographs import middle, reduced
from models.pixels import Pixels
from models.style_adding import restyled, train_rows_only_
from models.style_feedforward import Painter, painter_init_
from models.style_training import StyleProblem, loss_of, style_targets
from models.training import Batch, Loss
from tasks import painters, storage
from tasks.failures import RequestError, persistently
from tasks.features import FeaturesError, load_features
from tasks.painters import ARCHITECTURE, SYSTEM
from tasks.photographs import read_photographs, split_photographs, stage_photographs
from tasks.style_request import StyleTrainingJob, read_image, style_pixels
from tasks.trained import TrainingRun, keep, training_run_of
from tasks.training import FitConfig, TrainingProgress, fit, write_curve


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


def training_run(job: StyleTrainingJob) -> TrainingRun:
    """Where this training lives in the registry, and what its record will say."""
    return training_run_of(
        job.request,
        system=SYSTEM,
        run=job.run,
        dataset_digest=job.dataset_digest,
        settings={
            **asdict(job.request.training),
            "styles": {style.name: style.digest for style in job.styles},
            "judge": job.judge,
        },
        find=painters.find_painter,
    )


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
    keep(training_run(job), network, card)
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
        loss=loss_of(training.loss, features, targets, weights=weights),
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


def last_pictures(job: StyleTrainingJob) -> bytes:
    """The held-out photographs as the finished network paints them, JPEG: a tenth of the PNG."""
    uri = _pictures_uri(job, job.request.training.steps)
    return encode(decode(persistently(lambda: storage.read(uri))), "jpeg")


def _pictures_uri(job: StyleTrainingJob, step: int) -> str:
    return storage.join(job.folder, f"pictures/step-{step:06d}.png")
