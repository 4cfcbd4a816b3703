"""What the training of a pixel model is: its settings, its loss, its batches, its score."""

from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from models.pixel_likelihood import PixelNetwork, bits_per_dimension, check_levels, mean_nats
from models.training import Batch, Loss, OptimisationConfig


@dataclass(frozen=True, kw_only=True)
class PixelTraining:
    """A pixel training; every field is a key of --set and of the TOML file.

    Args:
        network: a preset of `models.systems`; None is the network of the model to go on from.
        batch_size: pictures a step, over all processes.
        mirror: show half of the pictures left to right; wrong for digits and letters.
        crop: side of a square cut out of each picture at random; 0 shows pictures whole.
        conditional: the pictures' labels condition the network.
        validation_limit: pictures of the validation split that are scored while training.
        precision: bf16 computes forward passes in bfloat16 where the device is fast at it.
    """

    network: str | None = None
    steps: int = 20_000
    batch_size: int = 32
    learning_rate: float = 2e-3
    warmup: int = 100
    clip: float = 1.0
    ema_decay: float = 0.999
    mirror: bool = False
    crop: int = 0
    conditional: bool = False
    seed: int = 0
    validate_every: int = 1000
    validation_limit: int = 1000
    checkpoint_every: int = 500
    precision: Literal["auto", "fp32", "bf16"] = "fp32"

    def __post_init__(self) -> None:
        for name in ("batch_size", "validate_every", "validation_limit", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.crop < 0:
            raise ValueError(f"crop must be at least 0, got {self.crop}")
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


class PixelSampler:
    """Batches of pictures: a new shuffle every epoch; a batch depends on seed and step alone.

    Args:
        images: levels (N, C, H, W), integers, all of one size.
        labels: (N,) or None.
    Raises:
        ValueError: no pictures, as many labels as not, or a crop larger than a picture.
    """

    def __init__(self, images: Tensor, labels: Tensor | None, training: PixelTraining) -> None:
        if not len(images):
            raise ValueError("there is no picture to train on, wanted at least one")
        if labels is not None and len(labels) != len(images):
            raise ValueError(f"{len(images)} pictures need as many labels, got {len(labels)}")
        if training.crop > min(images.shape[-2:]):
            raise ValueError(f"crop must be at most {min(images.shape[-2:])}, got {training.crop}")
        self._images, self._labels, self._training = images, labels, training
        self._order: tuple[int, Tensor] | None = None

    def batch(self, step: int, *, rank: int = 0, processes: int = 1) -> Batch:
        """(levels,) or (levels, labels) of that step, this process's share.

        Raises:
            ValueError: the processes cannot share a batch equally.
        """
        size = self._training.batch_size
        if size % processes:
            raise ValueError(f"batch_size must be a multiple of {processes}, got {size}")
        share = size // processes
        first = step * size + rank * share
        index = torch.stack([self._index(n) for n in range(first, first + share)])
        seed = (self._training.seed * 1_000_003 + step) * 1009 + rank
        images = self._varied(self._images[index], torch.Generator().manual_seed(seed))
        return (images,) if self._labels is None else (images, self._labels[index])

    def _index(self, number: int) -> Tensor:
        """Which picture is the `number`-th of the training, epochs counted on."""
        epoch, place = divmod(number, len(self._images))
        known = self._order  # replaced whole: workers read it side by side
        if known is None or known[0] != epoch:
            generator = torch.Generator().manual_seed(self._training.seed * 7_919 + epoch)
            known = (epoch, torch.randperm(len(self._images), generator=generator))
            self._order = known
        return known[1][place]

    def _varied(self, images: Tensor, generator: torch.Generator) -> Tensor:
        crop, n = self._training.crop, len(images)
        if crop:
            down, right = images.shape[2] - crop + 1, images.shape[3] - crop + 1
            y = torch.randint(down, (n,), generator=generator).tolist()
            x = torch.randint(right, (n,), generator=generator).tolist()
            images = torch.stack(
                [im[:, a : a + crop, b : b + crop] for im, a, b in zip(images, y, x, strict=True)]
            )
        if self._training.mirror:
            turned = torch.rand(n, generator=generator) < 0.5
            images = torch.where(turned.view(-1, 1, 1, 1), images.flip(3), images)
        return images


def pixel_loss(network: nn.Module, batch: Batch, step: int) -> dict[str, Tensor]:  # noqa: ARG001
    """bits a value: the gradient's size does not depend on the picture's."""
    levels, *labels = batch
    chosen = labels[0] if labels else None
    plain = cast(PixelNetwork, getattr(network, "module", network))
    parameters = network(levels, chosen).float()
    total = -plain.head.log_likelihood(parameters, plain.sites.of(levels)).flatten(1).sum(1)
    return {"total": bits_per_dimension(total, levels[0].numel()).mean()}


@dataclass(frozen=True, kw_only=True, eq=False)
class PixelProblem:
    """A pixel training at hand: what `tasks.training.fit` asks of a system."""

    network: nn.Module
    sampler: PixelSampler
    validation: Tensor
    validation_labels: Tensor | None = None

    def __post_init__(self) -> None:
        if not len(self.validation):
            raise ValueError("there is no picture to validate with, wanted at least one")
        check_levels(self.validation, cast(PixelNetwork, self.network).sites)

    @property
    def loss(self) -> Loss:
        return pixel_loss

    def batch(self, step: int, rank: int, processes: int, /) -> Batch:
        """The levels, and labels if there are any, of that step, this process's share."""
        return self.sampler.batch(step, rank=rank, processes=processes)

    def validate(self, network: nn.Module, /) -> dict[str, float]:
        """Mean nats a picture and bits a value on the validation pictures."""
        device = next(network.parameters()).device
        labels = None if self.validation_labels is None else self.validation_labels.to(device)
        training = network.training
        network.eval()
        total = mean_nats(cast(PixelNetwork, network), self.validation.to(device), labels)
        network.train(training)
        bits = bits_per_dimension(torch.tensor(total), self.validation[0].numel())
        return {"validation_nats": total, "validation_bits_per_dimension": float(bits)}
