"""A small network that tells what a small picture shows, and how sure a share of hits is."""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from models.cards import Card, CheckpointError, read_card
from models.checkpoints import write_checkpoint
from models.pixels import Pixels

ARCHITECTURE = "small-classifier"
_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class SmallClassifierConfig:
    """The classes by name, in the order of the outputs, and the maps of the three stages."""

    classes: tuple[str, ...]
    widths: tuple[int, int, int] = (32, 64, 128)


class ResidualBlock(nn.Module):
    """relu(shortcut(x) + bn(conv(relu(bn(conv(x)))))); the first convolution may have a stride."""

    def __init__(self, into: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(into, out, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out)
        self.shortcut = nn.Conv2d(into, out, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.shortcut(x) + self.norm2(self.conv2(y)))


class SmallClassifier(nn.Module):
    """Three stages of one residual block each, at full, half and a quarter of the size.

    Source: the CIFAR-10 networks of He et al. 2015, arXiv:1512.03385. Differs: one block a stage,
    a 1x1 convolution in every shortcut, widths of our own.
    """

    def __init__(self, config: SmallClassifierConfig) -> None:
        super().__init__()
        if len(config.classes) < 2:
            raise ValueError(f"a classifier needs at least 2 classes, got {len(config.classes)}")
        self.config = config
        first, second, third = config.widths
        self.stem = nn.Conv2d(3, first, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(first)
        self.stages = nn.Sequential(
            ResidualBlock(first, first, 1),
            ResidualBlock(first, second, 2),
            ResidualBlock(second, third, 2),
        )
        self.head = nn.Linear(third, len(config.classes))

    def forward(self, rgb: Tensor) -> Tensor:
        """(N, 3, H, W) in 0..1 -> a logit a class, (N, K); any size, made for 32x32."""
        x = F.relu(self.norm(self.stem((rgb - 0.5) * 4)))
        logits: Tensor = self.head(self.stages(x).mean((2, 3)))
        return logits


@torch.inference_mode()
def predict(network: nn.Module, pictures: Pixels) -> NDArray[np.int64]:
    """The likeliest class of each picture.

    Args:
        network: (N, 3, H, W) in 0..1 -> logits (N, K), in evaluation mode.
        pictures: (N, H, W, 3) uint8.
    Returns:
        (N,), the index of a class.
    """
    device = next(network.parameters()).device
    found = [
        network(torch.from_numpy(part).to(device).permute(0, 3, 1, 2).float() / 255).argmax(1)
        for part in np.split(pictures, range(_AT_ONCE, len(pictures), _AT_ONCE))
    ]
    indices: NDArray[np.int64] = torch.cat(found).cpu().numpy()
    return indices


def write_classifier(network: SmallClassifier, metrics: dict[str, float]) -> bytes:
    """Weights and card as safetensors."""
    config = {"classes": list(network.config.classes), "widths": list(network.config.widths)}
    return write_checkpoint(
        network, Card(architecture=ARCHITECTURE, config=config, metrics=metrics)
    )


def read_classifier(data: bytes, *, name: str) -> SmallClassifier:
    """The network in a checkpoint's bytes, on the CPU, in evaluation mode.

    Raises:
        CheckpointError: damaged, or no classifier of this kind; `name` is what it calls it.
    """
    card = read_card(data)
    if card is None or card.architecture != ARCHITECTURE:
        raise CheckpointError(f"{name} is no {ARCHITECTURE} checkpoint")
    try:
        config = SmallClassifierConfig(
            classes=tuple(card.config["classes"]), widths=tuple(card.config["widths"])
        )
        network = SmallClassifier(config)
        network.load_state_dict(load_safetensors(data))
    except (SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{name} is damaged: {error}") from error
    return network.eval().requires_grad_(False)


def wilson_interval(hits: int, of: int, *, z: float = 1.959964) -> tuple[float, float]:
    """Where a proportion lies, given `hits` of `of` trials; z = 1.96 is 95 % confidence.

    Unlike the normal interval it stays in 0..1 and is right for shares near 0 and 1.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".

    Raises:
        ValueError: `of` is below 1, or `hits` not in 0..of.
    """
    if of < 1 or not 0 <= hits <= of:
        raise ValueError(f"want 0 <= hits <= of and of >= 1, got {hits} of {of}")
    share, extra = hits / of, z * z / of
    middle = (share + extra / 2) / (1 + extra)
    half = z / (1 + extra) * math.sqrt(share * (1 - share) / of + extra / (4 * of))
    return max(0.0, middle - half), min(1.0, middle + half)
