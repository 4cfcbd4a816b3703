"""Pictures that a pixel model draws while it is trained."""

import copy
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from models.images import Picture, encode
from models.pixel_likelihood import PixelNetwork
from models.pixel_pictures import sheet, shown
from models.pixel_sampling import draw_noise, sample
from models.pixel_training import PixelProblem
from models.pixelrnn import PixelRnn
from models.training import Batch, Loss
from tasks import storage
from tasks.failures import persistently
from tasks.training import TrainingProgress

_SAMPLES, _COLUMNS = 16, 8
_WORK_LIMIT = 2_000_000_000
"""Parameters times values of a picture: beyond it a sheet takes more than seconds on the CPU."""


def draws_samples(network: nn.Module, values: int) -> bool:
    """Whether pictures of so many values cost little beside the network's training."""
    work = values * sum(p.numel() for p in network.parameters())
    return work <= _WORK_LIMIT and not isinstance(network, PixelRnn)


def sample_sheet(network: nn.Module, *, height: int, width: int) -> bytes:
    """Samples side by side, PNG: for one and the same noise, and by class where there are some."""
    own = cast(PixelNetwork, copy.deepcopy(network).cpu().eval())
    shape = (_SAMPLES, own.sites.channels, height, width)
    noise = draw_noise(shape, torch.Generator().manual_seed(0))
    labels = torch.arange(_SAMPLES) % own.classes if own.classes else None
    levels = sample(own, noise, labels=labels).numpy()
    pixels = sheet(shown(levels, own.sites.levels), columns=_COLUMNS)
    return encode(Picture(pixels=pixels), "png")


@dataclass(frozen=True, kw_only=True, eq=False)
class Illustrated:
    """The problem, and a sheet of samples in `folder` each time that it is validated."""

    problem: PixelProblem
    folder: str
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
        _, channels, height, width = self.problem.validation.shape
        if draws_samples(network, channels * height * width):
            data = sample_sheet(network, height=height, width=width)
            uri = samples_uri(self.folder, self.progress.step)
            persistently(lambda: storage.write(uri, data))
        return scores


def samples_uri(folder: str, step: int) -> str:
    """Where the sheet of a step is."""
    return storage.join(folder, f"samples/step-{step:06d}.png")
