"""PixelCNN (van den Oord et al. 2016a, arXiv:1601.06759) and Gated PixelCNN (2016b, 1606.05328).

Every network here takes levels (N, C, H, W), integers 0..levels-1 of any type (floats let
gradients pass), and labels (N,) where it has classes, and returns what its head reads:
(N, parameters, H, W/run). What it returns for a site depends on earlier sites and, for a
sequential head, on the site's own earlier symbols alone.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.masked_convolution import MaskedConv2d, RowsAboveConv2d
from models.pixel_heads import Head, JointHead, SoftmaxHead
from models.pixel_sites import Sites

HeadKind = Literal["softmax", "joint"]


def _head(kind: HeadKind, sites: Sites) -> SoftmaxHead | JointHead:
    if kind not in ("softmax", "joint"):
        raise ValueError(f"head must be softmax or joint, got {kind!r}")
    return SoftmaxHead(sites=sites) if kind == "softmax" else JointHead(sites=sites)


@dataclass(frozen=True, kw_only=True)
class PixelCnnConfig:
    """PixelCNN's sizes; the defaults are the paper's for CIFAR-10.

    Args:
        width: h; the trunk has 2h features.
        head_width: features of the two 1x1 layers at the end (1024; 32 for MNIST).
    """

    channels: int = 3
    levels: int = 256
    run: int = 1
    head: HeadKind = "softmax"
    width: int = 128
    blocks: int = 15
    first: int = 7
    head_width: int = 1024

    def __post_init__(self) -> None:
        _positive(self, "width", "head_width")
        if self.blocks < 0 or self.first % 2 != 1:
            raise ValueError(
                f"blocks at least 0 and an odd first wanted, got {self.blocks} and {self.first}"
            )
        _head(self.head, self.sites)

    @property
    def sites(self) -> Sites:
        return Sites(channels=self.channels, levels=self.levels, run=self.run)


class _Bottleneck(nn.Module):
    """x + 1x1(relu(3x3(relu(1x1(relu(x)))))), 2h -> h -> h -> 2h, all masked B."""

    def __init__(self, width: int, symbols: int) -> None:
        super().__init__()
        self.into = MaskedConv2d(2 * width, width, mask_type="B", symbols=symbols)
        self.across = MaskedConv2d(
            width, width, mask_type="B", symbols=symbols, above=1, before=1, after=1
        )
        self.out = MaskedConv2d(width, 2 * width, mask_type="B", symbols=symbols)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.across(F.relu(self.into(F.relu(x))))
        made: Tensor = x + self.out(F.relu(inner))
        return made


class PixelCnn(nn.Module):
    """PixelCNN as published: one masked stack, with a blind spot to the right above."""

    def __init__(self, config: PixelCnnConfig) -> None:
        super().__init__()
        self.config = config
        self.head: Head = _head(config.head, config.sites)
        symbols = config.sites.symbols if self.head.sequential else 1
        reach = config.first // 2
        self.first = MaskedConv2d(
            config.sites.symbols,
            2 * config.width,
            mask_type="A",
            symbols=symbols,
            above=reach,
            before=reach,
            after=reach,
        )
        self.blocks = nn.ModuleList(
            _Bottleneck(config.width, symbols) for _ in range(config.blocks)
        )
        self.head_in = MaskedConv2d(
            2 * config.width, config.head_width, mask_type="B", symbols=symbols
        )
        self.head_mid = MaskedConv2d(
            config.head_width, config.head_width, mask_type="B", symbols=symbols
        )
        self.head_out = MaskedConv2d(
            config.head_width, self.head.parameters, mask_type="B", symbols=symbols
        )

    @property
    def sites(self) -> Sites:
        return self.config.sites

    @property
    def classes(self) -> int:
        return 0

    def forward(self, levels: Tensor, labels: Tensor | None = None) -> Tensor:
        check_labels(labels, 0)
        made: Tensor = self.head_out(F.relu(self.features(levels)[-1]))
        return made

    def features(self, levels: Tensor, labels: Tensor | None = None) -> list[Tensor]:
        """The trunk behind each block, (N, features, H, W/run), and the head's two layers."""
        check_labels(labels, 0)
        x = self.first(scaled_sites(self.sites, levels, self.head_out.weight.dtype))
        kept = [x]
        for block in self.blocks:
            x = block(x)
            kept.append(x)
        one = self.head_in(F.relu(x))
        return [*kept, one, self.head_mid(F.relu(one))]


@dataclass(frozen=True, kw_only=True)
class GatedPixelCnnConfig:
    """Gated PixelCNN's sizes.

    Args:
        classes: labels that condition it; 0 is none.
        width: features of either stack.
        layers: gated layers, the first included.
        first, kernel: n of the n x n vertical and the 1 x n horizontal kernels, odd: the first
            layer's and the others'. The first sees (n + 1)/2 rows above; the others (n + 1)/2
            with the own, which is the row above of the picture.
        head_width: features of the 1x1 layer before the last.
        vertical_residual: add a layer's input to the vertical stack too (not in the paper).
    """

    channels: int = 3
    levels: int = 256
    run: int = 1
    head: HeadKind = "softmax"
    classes: int = 0
    width: int = 128
    layers: int = 15
    first: int = 7
    kernel: int = 5
    head_width: int = 1024
    vertical_residual: bool = False

    def __post_init__(self) -> None:
        _positive(self, "width", "layers", "head_width")
        if self.first % 2 != 1 or self.kernel % 2 != 1:
            raise ValueError(f"kernels must be odd, got {self.first} and {self.kernel}")
        if self.classes < 0:
            raise ValueError(f"classes must be at least 0, got {self.classes}")
        _head(self.head, self.sites)

    @property
    def sites(self) -> Sites:
        return Sites(channels=self.channels, levels=self.levels, run=self.run)


class GatedLayer(nn.Module):
    """One layer of both stacks: tanh(a) sigma(b) each, the vertical feeding the horizontal.

    v' = gate(V v + c_v), h' = h + 1x1 gate(H h + 1x1 (V v + c_v) + c_h); the first layer has no
    residual. c is the class's bias.
    """

    def __init__(
        self, into: int, config: GatedPixelCnnConfig, symbols: int, *, first: bool
    ) -> None:
        super().__init__()
        width, size = config.width, config.first if first else config.kernel
        self.first, self.residual = first, config.vertical_residual and not first
        self.vertical = RowsAboveConv2d(
            into, 2 * width, rows=(size + 1) // 2, columns=size, exclusive=first
        )
        self.horizontal = MaskedConv2d(
            into,
            2 * width,
            mask_type="A" if first else "B",
            symbols=symbols,
            before=size // 2,
            halves=2,
        )
        self.across = nn.Conv2d(2 * width, 2 * width, 1)
        self.out = MaskedConv2d(width, width, mask_type="B", symbols=symbols)
        self.label = nn.Embedding(config.classes, 4 * width) if config.classes else None

    def forward(self, v: Tensor, h: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        down, right = self.vertical(v), self.horizontal(h)
        if self.label is not None:
            of_v, of_h = self.label(labels)[:, :, None, None].chunk(2, 1)
            down, right = down + of_v, right + of_h
        below = _gate(down)
        side = self.out(_gate(right + self.across(down)))
        return (v + below if self.residual else below), (side if self.first else h + side)


def _gate(x: Tensor) -> Tensor:
    a, b = x.chunk(2, 1)
    return torch.tanh(a) * torch.sigmoid(b)


class GatedPixelCnn(nn.Module):
    """Gated PixelCNN: a vertical stack for all rows above and a horizontal one; no blind spot."""

    def __init__(self, config: GatedPixelCnnConfig) -> None:
        super().__init__()
        self.config = config
        self.head: Head = _head(config.head, config.sites)
        symbols = config.sites.symbols if self.head.sequential else 1
        self.layers = nn.ModuleList(
            GatedLayer(config.width if n else config.sites.symbols, config, symbols, first=n == 0)
            for n in range(config.layers)
        )
        self.head_in = MaskedConv2d(config.width, config.head_width, mask_type="B", symbols=symbols)
        self.head_out = MaskedConv2d(
            config.head_width, self.head.parameters, mask_type="B", symbols=symbols
        )

    @property
    def sites(self) -> Sites:
        return self.config.sites

    @property
    def classes(self) -> int:
        return self.config.classes

    def forward(self, levels: Tensor, labels: Tensor | None = None) -> Tensor:
        made: Tensor = self.head_out(F.relu(self.features(levels, labels)[-1]))
        return made

    def features(self, levels: Tensor, labels: Tensor | None = None) -> list[Tensor]:
        """The horizontal stack behind each layer, (N, width, H, W/run), and the head's layer."""
        check_labels(labels, self.classes)
        v = h = scaled_sites(self.sites, levels, self.head_out.weight.dtype)
        kept = []
        for layer in self.layers:
            v, h = layer(v, h, labels)
            kept.append(h)
        return [*kept, self.head_in(F.relu(h))]


def check_labels(labels: Tensor | None, classes: int) -> None:
    """Raises ValueError: labels are missing, or given to a network without classes."""
    if classes and labels is None:
        raise ValueError(f"the network is conditioned on {classes} classes, got no labels")
    if not classes and labels is not None:
        raise ValueError("the network has no classes, got labels")


def scaled_sites(sites: Sites, levels: Tensor, kind: torch.dtype) -> Tensor:
    """Levels (N, C, H, W) -> -1..1 as floats, (N, symbols, H, W/run), channels last."""
    return sites.scaled(sites.of(levels), kind).contiguous(memory_format=torch.channels_last)


def _positive(config: object, *names: str) -> None:
    for name in names:
        if getattr(config, name) < 1:
            raise ValueError(f"{name} must be at least 1, got {getattr(config, name)}")


def pixelcnn_init_(network: nn.Module, generator: torch.Generator) -> None:
    """He's normal over what a convolution really sees; zero biases; a last layer of nothing.

    The network begins as the uniform distribution: log levels nats a value.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            mask = (
                module.mask if isinstance(module, MaskedConv2d) else torch.ones_like(module.weight)
            )
            seen = mask.flatten(1).sum(1).clamp(min=1).view(-1, 1, 1, 1)
            drawn = torch.randn(module.weight.shape, generator=generator)
            module.weight.data.copy_(drawn / seen.sqrt())
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.data.zero_()
    last = network.get_submodule("head_out")
    last.weight.data.zero_()  # type: ignore[operator]
