"""Small pixel networks of every kind, with random weights, for tests."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from models.pixelcnn import (
    GatedPixelCnn,
    GatedPixelCnnConfig,
    PixelCnn,
    PixelCnnConfig,
    pixelcnn_init_,
)
from models.pixelcnn_pp import PixelCnnPp, PixelCnnPpConfig, pixelcnn_pp_init_
from models.pixelrnn import PixelRnn, PixelRnnConfig

Build = Callable[[], Any]


def _random(network: nn.Module, init: Callable[[nn.Module, torch.Generator], None]) -> Any:
    """Away from the uniform distribution that training begins at, biases and classes too."""
    generator = torch.Generator().manual_seed(3)
    init(network, generator)
    for name, weight in network.named_parameters():
        if name.endswith("bias") or "label" in name or name == "head_out.weight":
            drawn = torch.randn(weight.shape, generator=generator)
            weight.data.add_(drawn * (0.4 if "label" in name else 0.2))
    return network.eval()


def pixelcnn(**sizes: Any) -> Any:
    small: dict[str, Any] = {"width": 12, "blocks": 2, "first": 5, "head_width": 24, "levels": 4}
    return _random(PixelCnn(PixelCnnConfig(**(small | sizes))), pixelcnn_init_)


def gated(**sizes: Any) -> Any:
    small: dict[str, Any] = {
        "width": 12,
        "layers": 3,
        "first": 5,
        "kernel": 3,
        "head_width": 24,
        "levels": 4,
    }
    return _random(GatedPixelCnn(GatedPixelCnnConfig(**(small | sizes))), pixelcnn_init_)


def plus_plus(**sizes: Any) -> Any:
    small: dict[str, Any] = {"filters": (4, 5), "blocks": (2, 1), "mixtures": 3}
    return _random(PixelCnnPp(PixelCnnPpConfig(**(small | sizes))), pixelcnn_pp_init_)


def rnn(**sizes: Any) -> Any:
    small: dict[str, Any] = {"width": 12, "layers": 2, "first": 5, "head_width": 24, "levels": 4}
    return _random(PixelRnn(PixelRnnConfig(**(small | sizes))), pixelcnn_init_)


_BINARY: dict[str, Any] = {"channels": 1, "levels": 2}

CONVOLUTIONAL: dict[str, Build] = {
    "pixelcnn": pixelcnn,
    "pixelcnn binary": lambda: pixelcnn(**_BINARY),
    "gated": gated,
    "gated with classes": lambda: gated(classes=3),
    "gated runs of 4": lambda: gated(**_BINARY, run=4, head="joint", vertical_residual=True),
    "plus plus": lambda: plus_plus(filters=(4, 5, 6), blocks=(1, 2, 1)),
    "plus plus with classes": lambda: plus_plus(classes=2, entry_shortcuts=False),
    "plus plus runs of 2": lambda: plus_plus(
        **_BINARY, run=2, head="joint", activation="elu", entry_shortcuts=False
    ),
    "plus plus gray": lambda: plus_plus(channels=1, levels=8),
}
RECURRENT: dict[str, Build] = {
    "row lstm": lambda: rnn(recurrence="row"),
    "diagonal lstm": lambda: rnn(recurrence="diagonal"),
    "diagonal lstm binary": lambda: rnn(**_BINARY, recurrence="diagonal"),
}
NETWORKS = CONVOLUTIONAL | RECURRENT


def size_for(network: Any) -> tuple[int, int, int]:
    """(C, H, W) of a small picture that suits every network here."""
    return network.sites.channels, 8, 8 * network.sites.run


def labels_for(network: Any, count: int) -> Tensor | None:
    """Classes 0, 1, ... for a network that has some."""
    return torch.arange(count) % network.classes if network.classes else None


def pictures(network: Any, count: int = 2, seed: int = 0) -> Tensor:
    """Random levels."""
    generator = torch.Generator().manual_seed(seed)
    shape = (count, *size_for(network))
    return torch.randint(network.sites.levels, shape, generator=generator).to(torch.uint8)
