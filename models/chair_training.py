"""What a training of the generator of chairs is: its settings, its loss, its score."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.chair_networks import ChairGenerator, GeneratorConfig
from models.chair_pictures import ChairPictures, fewer_azimuths
from models.chair_scores import SCORES, generator_scores, nearest_scores
from models.chair_views import (
    TransformationRanges,
    draw,
    identity,
    transform,
    transformation_vector,
    view_vector,
)
from models.training import Batch, Loss, OptimisationConfig


@dataclass(frozen=True, kw_only=True)
class ChairTraining:
    """A training of the generator; every field is a key of --set and of the TOML file.

    Args:
        network: the generator's sizes; its classes are the dataset's chairs, whatever it says.
        chairs: train on the first so many chairs of the dataset; None is all.
        azimuths: train on so many azimuths, spread evenly; None is all.
        few_from: only of chairs from this number on; of the others all azimuths are seen.
        batch_size: views a step, over all processes.
        color_weight: of the color's error against the mask's: lambda.
        transformed: the share of views that a random transformation is applied to.
        ranges: how far those go.
    """

    network: GeneratorConfig = field(default_factory=GeneratorConfig)
    chairs: int | None = None
    azimuths: int | None = None
    few_from: int = 0
    steps: int = 20_000
    batch_size: int = 64
    learning_rate: float = 5e-4
    warmup: int = 100
    clip: float = 1.0
    ema_decay: float = 0.999
    color_weight: float = 10.0
    transformed: float = 0.5
    ranges: TransformationRanges = field(default_factory=TransformationRanges)
    seed: int = 0
    validate_every: int = 500
    checkpoint_every: int = 500
    precision: Literal["auto", "fp32", "bf16"] = "fp32"

    def __post_init__(self) -> None:
        for name in ("batch_size", "validate_every", "checkpoint_every", "chairs", "azimuths"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if self.color_weight < 0:
            raise ValueError(f"color_weight must be at least 0, got {self.color_weight}")
        if not 0 <= self.transformed <= 1:
            raise ValueError(f"transformed must be 0 to 1, got {self.transformed}")
        self.optimisation()  # refuses steps and rates that make no sense

    def optimisation(self) -> OptimisationConfig:
        """The part that the trainer needs."""
        return OptimisationConfig(
            steps=self.steps,
            learning_rate=self.learning_rate,
            warmup=self.warmup,
            clip=self.clip,
            ema_decay=self.ema_decay,
            seed=self.seed,
        )

    def generator(self, classes: int) -> GeneratorConfig:
        """The network's config for so many chairs."""
        return replace(self.network, classes=classes)

    def seen(self, pictures: ChairPictures) -> ChairPictures:
        """What of a training split is trained on."""
        if self.azimuths is None:
            return pictures
        return pictures.take(fewer_azimuths(pictures, self.azimuths, of_chairs_from=self.few_from))


def loss_of(config: GeneratorConfig, *, color_weight: float) -> Loss:
    """color_weight x |s (color - true color)|^2 + the mask's error, both means over the pixels.

    s is the true coverage: color is asked for only where there is chair, and since a view is
    color x s over white, s color is compared with view - (1 - s). The mask's error is squared, or
    for a logit the cross-entropy with the coverage. The published errors are sums.
    View and mask are transformed here, on the device.
    """

    def loss(network: nn.Module, batch: Batch, step: int) -> dict[str, Tensor]:  # noqa: ARG001
        rgb, mask, chair, view, parameters = batch
        with torch.autocast(rgb.device.type, enabled=False):
            rgb, mask = transform(rgb.float() / 255, mask.float() / 255, parameters)
            told = (
                F.one_hot(chair, config.classes).float(),
                view_vector(view[:, 0], view[:, 1]),
                transformation_vector(parameters),
            )
        color, drawn = network(*told)
        color_error, mask_error = errors(color.float(), drawn.float(), rgb, mask, config)
        return {
            "total": color_weight * color_error + mask_error,
            "color": color_error,
            "mask": mask_error,
        }

    return loss


def errors(
    color: Tensor, drawn: Tensor, rgb: Tensor, mask: Tensor, config: GeneratorConfig
) -> tuple[Tensor, Tensor]:
    """A generator's two outputs against a view on white and its coverage; see `loss_of`."""
    color_error = F.mse_loss(color * mask, rgb - (1 - mask))
    if config.mask == "squared":
        return color_error, F.mse_loss(drawn, mask)
    return color_error, F.binary_cross_entropy_with_logits(drawn, mask)


@dataclass(frozen=True, kw_only=True, eq=False)
class ChairProblem:
    """A training of the generator at hand: what `tasks.training.fit` asks of a system."""

    network: nn.Module
    loss: Loss
    views: ChairPictures
    validation: ChairPictures
    config: ChairTraining

    def batch(self, step: int, rank: int, processes: int, /) -> Batch:
        """(rgb, mask, chair, angles, parameters of transformations) of that step, for a process.

        rgb (N, 3, S, S) and mask (N, 1, S, S) uint8, not yet transformed; chair (N,); angles
        (N, 2), azimuth and elevation in degrees; parameters (N, 8).
        """
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + step)
        size = self.config.batch_size
        rows = torch.randint(len(self.views), (size,), generator=generator)
        drawn = draw(size, generator, self.config.ranges)
        chosen = torch.rand(size, 1, generator=generator) < self.config.transformed
        parameters = torch.where(chosen, drawn, identity(size))[rank::processes]
        own = self.views.take(rows[rank::processes])
        angles = torch.stack([own.azimuth, own.elevation], 1)
        return own.rgb, own.mask, own.chair, angles, parameters

    @cached_property
    def _nearest(self) -> Tensor:
        return nearest_scores(self.validation, self.views).mean(0)

    def validate(self, network: nn.Module, /) -> dict[str, float]:
        """Mean scores on the validation views, beside those of the nearest training view."""
        if not isinstance(network, ChairGenerator):
            raise TypeError(f"the network must be a ChairGenerator, got {type(network).__name__}")
        own = generator_scores(network, self.validation).mean(0)
        told = {f"validation_{name}": float(v) for name, v in zip(SCORES, own, strict=True)}
        nearest = zip(SCORES, self._nearest, strict=True)
        return told | {f"validation_nearest_{name}": float(value) for name, value in nearest}
