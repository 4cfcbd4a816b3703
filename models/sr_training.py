"""What a super-resolution training is: its settings, its loss, its score."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.features import FeatureNetwork
from models.images import decode
from models.losses import SrLossConfig, sr_loss
from models.metrics import luma_for_scoring, psnr
from models.patches import EncodedPair, PatchConfig, PatchSampler, luma_of
from models.training import Batch, Loss, OptimisationConfig

_MARGIN = 24
"""Repeated border pixels at validation; what a tile engine gives a network to see."""


@dataclass(frozen=True, kw_only=True)
class SrTraining:
    """A super-resolution training; every field is a key of --set and of the TOML file.

    Args:
        network: a preset (mill, mill-small, mill-large, srcnn-9-1-5, residual-unpool, ...); None
            is the network of the model to go on from, or mill.
        batch_size: patches a step, over all processes.
        patch: side of a patch in low-resolution pixels.
        rescale: also show pictures so much smaller (bicubic degradation only).
        expansion: how much wider convolutions are in training; 0 trains them as they are.
        finish: share of the steps, at the end, that minimise pixel MSE instead of `loss`.
        validate_every: steps between scores on the validation split.
        checkpoint_every: steps between checkpoints.
        precision: bf16 computes forward passes in bfloat16 where the device is fast at it.
    """

    network: str | None = None
    steps: int = 20_000
    batch_size: int = 32
    patch: int = 32
    rescale: tuple[float, ...] = (1.0, 0.8, 0.6)
    expansion: int = 4
    learning_rate: float = 2e-3
    warmup: int = 100
    clip: float = 1.0
    ema_decay: float = 0.999
    loss: SrLossConfig = field(default_factory=SrLossConfig)
    finish: float = 0.0
    seed: int = 0
    validate_every: int = 500
    checkpoint_every: int = 500
    precision: Literal["auto", "fp32", "bf16"] = "fp32"

    def __post_init__(self) -> None:
        if not 0 <= self.finish <= 1:
            raise ValueError(f"finish must be 0 to 1, got {self.finish}")
        for name in ("batch_size", "patch", "validate_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
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

    def patches(self, scale: int, degradation: str) -> PatchConfig:
        """The part that the sampler needs; only bicubic can be repeated at other sizes."""
        return PatchConfig(
            scale=scale,
            batch_size=self.batch_size,
            patch=self.patch,
            rescale=self.rescale if degradation == "bicubic" else (1.0,),
            seed=self.seed,
        )


def loss_of(training: SrTraining, *, scale: int, features: FeatureNetwork | None) -> Loss:
    """The loss of a step; the last `finish` of the steps minimise pixel MSE, times 100.

    PSNR is a function of the MSE, so that it pays to end there; times 100 because the clipping
    of gradients and Adam's epsilon were chosen for losses of L1's size.
    """
    turn = math.ceil(training.steps * (1 - training.finish))
    last = SrLossConfig(pixel="mse", pixel_weight=100.0, border=training.loss.border)

    def loss(network: nn.Module, batch: Batch, step: int) -> dict[str, Tensor]:
        low, high = batch
        output = network(low.contiguous(memory_format=torch.channels_last))
        config = training.loss if step < turn else last
        if features is not None:
            features.to(high.device)
        return sr_loss(output, high, config, scale=scale, features=features)

    return loss


@dataclass(frozen=True, kw_only=True, eq=False)
class SrProblem:
    """A super-resolution training at hand: what `tasks.training.fit` asks of a system."""

    network: nn.Module
    loss: Loss
    sampler: PatchSampler
    validation: Sequence[EncodedPair]
    scale: int

    def batch(self, step: int, rank: int, processes: int, /) -> Batch:
        """(low, high) patches of that step, this process's share."""
        return self.sampler.batch(step, rank=rank, processes=processes)

    def validate(self, network: nn.Module, /) -> dict[str, float]:
        """PSNR-Y on the validation pictures, beside bicubic's, in dB."""
        own, plain = validation_psnr(network, self.validation, scale=self.scale)
        return {"validation_psnr_y": own, "validation_bicubic_psnr_y": plain}


def validation_psnr(
    network: nn.Module, pairs: Sequence[EncodedPair], *, scale: int
) -> tuple[float, float]:
    """Mean PSNR-Y of the network and of nothing but bicubic, in dB, by the published protocol.

    The network works on luma in full range and keeps its mode.
    """
    if not pairs:
        raise ValueError("there is no picture to validate with, wanted at least one")
    device = next(network.parameters()).device
    scores = [_scores(network, pair, scale, device) for pair in pairs]
    own, bicubic = np.mean(scores, axis=0)
    return float(own), float(bicubic)


def _scores(
    network: nn.Module, pair: EncodedPair, scale: int, device: torch.device
) -> tuple[float, float]:
    truth = decode(bytes(pair.image)).pixels
    x = torch.from_numpy(np.array(truth, dtype=np.float64)).permute(2, 0, 1)[None]
    target = luma_for_scoring(x, border=scale)
    low = luma_of(decode(bytes(pair.low)).pixels).to(device)
    wide = F.pad(low, [_MARGIN] * 4, mode="replicate")
    cut = _MARGIN * scale
    with torch.no_grad():
        output = network(wide.contiguous(memory_format=torch.channels_last))
    plain = F.interpolate(
        low, scale_factor=scale, mode="bicubic", antialias=True, align_corners=False
    )
    return (
        psnr(_scored(output[..., cut:-cut, cut:-cut], scale), target),
        psnr(_scored(plain, scale), target),
    )


def _scored(luma: Tensor, border: int) -> Tensor:
    levels = (luma.double().cpu() * 255).round().clamp(0, 255)
    return levels[..., border:-border, border:-border]
