"""Features of a picture of any size, a window at a time, in memory that one window bounds.

A picture's Gram matrices and content distance are sums over positions: every window adds its own,
and the windows' features are computed again when the gradient comes back (the checkpointing of
Chen et al. 2016, arXiv:1604.06174). So the objective is that of the whole picture, not of tiles.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, get_args

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from models.gram import gram_distance

Edge: TypeAlias = Literal["network", "wrap", "reflect"]
"""What lies beyond the picture: the network's own padding, the far side, or the mirror image."""
Features: TypeAlias = dict[str, Tensor]

ALIGNMENT = 16
"""Stride of VGG's fifth block, pixels: from its multiples, all windows' pools are on one grid."""


class FeatureExtractor(Protocol):
    """(N, 3, H, W) in 0..1 -> {layer: (N, C, h, w)}; `FeatureNetwork` and `RandomFeatures` are."""

    layers: tuple[str, ...]
    minimum_side: int

    def __call__(self, rgb: Tensor) -> Features: ...


@dataclass(frozen=True, kw_only=True)
class WindowConfig:
    """How a picture is cut for the network.

    side: of a window without its halo, about, pixels; a multiple of 16, at least 64. halo: pixels
    around it that the network sees, and whose own features count elsewhere; a multiple of 16.
    Beyond the picture there is a halo unless the edge is "network". Each layer that VGG is widest
    at takes 256 bytes a pixel, and the default window some 1 GB in all.

    Raises:
        ValueError: a value is out of its range.
    """

    side: int = 512
    halo: int = 32
    edge: Edge = "network"

    def __post_init__(self) -> None:
        if self.side < 64 or self.side % ALIGNMENT:
            raise ValueError(
                f"side must be a multiple of {ALIGNMENT}, at least 64, got {self.side}"
            )
        if self.halo < 0 or self.halo % ALIGNMENT:
            raise ValueError(f"halo must be a multiple of {ALIGNMENT} or 0, got {self.halo}")
        if self.edge not in get_args(Edge):
            raise ValueError(f"edge must be one of {', '.join(get_args(Edge))}, got {self.edge!r}")


@dataclass(frozen=True, kw_only=True)
class Span:
    """One axis of a window: what counts, start..stop, within what is seen, first..last."""

    first: int
    start: int
    stop: int
    last: int

    def within(self, positions: int) -> tuple[int, int]:
        """Which of so many feature positions along it count: at least one."""
        share = positions / (self.last - self.first)
        lower = math.ceil((self.start - self.first) * share - 0.5)
        upper = math.ceil((self.stop - self.first) * share - 0.5)
        if upper <= lower:  # a picture smaller than the layer's stride, amid its halo
            lower = min(lower, positions - 1)
        return lower, max(upper, lower + 1)


@dataclass(frozen=True, kw_only=True)
class Window:
    """A part of a picture: the pixels that count, and the halo that the network sees."""

    rows: Span
    columns: Span

    def core(self, layer: Tensor) -> Tensor:
        """The positions of the window's (..., h, w) layer that count."""
        top, bottom = self.rows.within(layer.shape[-2])
        left, right = self.columns.within(layer.shape[-1])
        return layer[..., top:bottom, left:right]


Measure: TypeAlias = Callable[[Features, Window], tuple[Tensor, ...]]


def windows_of(height: int, width: int, config: WindowConfig) -> list[Window]:
    """Windows whose cores part the picture, in raster order."""
    across = list(_spans(width, config))
    return [Window(rows=r, columns=c) for r in _spans(height, config) for c in across]


def _spans(length: int, config: WindowConfig) -> Iterator[Span]:
    many = max(1, round(length / config.side))
    step = math.ceil(length / many / ALIGNMENT) * ALIGNMENT
    for start in range(0, length, step):
        stop = min(start + step, length)
        first, last = start - config.halo, stop + config.halo
        if config.edge == "network":
            first, last = max(0, first), min(length, last)
        yield Span(first=first, start=start, stop=stop, last=last)


def cut(picture: Tensor, window: Window, edge: Edge) -> Tensor:
    """The window with its halo, out of (N, C, H, W)."""
    for axis, span in ((-2, window.rows), (-1, window.columns)):
        length = picture.shape[axis]
        if span.first >= 0 and span.last <= length:
            picture = picture.narrow(axis, span.first, span.last - span.first)
            continue
        index = torch.arange(span.first, span.last, device=picture.device)
        if edge == "reflect":  # 2 1 0 0 1 2: as often as it takes
            index = index % (2 * length)
            index = torch.minimum(index, 2 * length - 1 - index)
        picture = picture.index_select(axis, index % length)
    return picture


def sum_over_windows(
    picture: Tensor, features: FeatureExtractor, measure: Measure, config: WindowConfig
) -> tuple[Tensor, ...]:
    """What `measure` says of each window's features, added up; gradients reach the picture.

    Args:
        picture: (1, 3, H, W) in 0..1.
        measure: takes the features of a window's core; returns as many tensors of the same shapes
            for every window, and must give the same when called again.
    """
    windows = windows_of(picture.shape[-2], picture.shape[-1], config)

    def measured(pixels: Tensor, window: Window) -> tuple[Tensor, ...]:
        cores = {name: window.core(layer) for name, layer in features(pixels).items()}
        return measure(cores, window)

    total: tuple[Tensor, ...] = ()
    for window in windows:
        pixels = cut(picture, window, config.edge)
        if len(windows) == 1:
            return measured(pixels, window)
        own = checkpoint(measured, pixels, window, use_reentrant=False, preserve_rng_state=False)
        total = tuple(a + b for a, b in zip(total, own, strict=True)) if total else own
    return total


def weighted_gram(layer: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """Sum over positions of w f f^T, (R, C, C), and of w, (R,): their ratio is the Gram matrix.

    Source: the guided Gram matrices of Gatys et al. 2017, arXiv:1611.07865. Differs: a position
    counts by its weight, not by the weight squared, so that soft masks add up to the whole.

    Args:
        layer: (1, C, h, w). weights: (R, 1, h, w) in 0..1, one map a region; None: one of ones.
    """
    flat = layer.flatten(2)[0]  # (C, hw)
    if weights is None:
        return (flat @ flat.T)[None], flat.new_tensor([float(flat.shape[1])])
    w = weights.flatten(1)[:, None]  # (R, 1, hw)
    return torch.stack([(flat * own) @ flat.T for own in w]), w.sum(dim=(1, 2))


def region_weights(masks: Tensor, window: Window, layer: Tensor) -> Tensor:
    """Masks (R, 1, H, W) at the positions of the window's core: means over what each covers."""
    cropped = masks[
        ..., window.rows.start : window.rows.stop, window.columns.start : window.columns.stop
    ]
    return F.adaptive_avg_pool2d(cropped, (layer.shape[-2], layer.shape[-1]))


def picture_grams(
    picture: Tensor,
    features: FeatureExtractor,
    config: WindowConfig,
    *,
    layers: tuple[str, ...],
    masks: Tensor | None = None,
) -> dict[str, Tensor]:
    """Gram matrices of a whole picture, in bounded memory: {layer: (R, C, C)}.

    Equal to `gram_matrix` where the picture is one window without a halo and has no masks.

    Args:
        picture: (1, 3, H, W) in 0..1, with gradients if it has them.
        masks: (R, 1, H, W) in 0..1, the regions; None for the whole.
    Raises:
        ValueError: a region holds no position of a layer.
    """

    def measure(seen: Features, window: Window) -> tuple[Tensor, ...]:
        sums: list[Tensor] = []
        for name in layers:
            layer = seen[name]
            own = None if masks is None else region_weights(masks, window, layer)
            sums.extend(weighted_gram(layer, own))
        return tuple(sums)

    sums = sum_over_windows(picture, features, measure, config)
    grams = {}
    for number, name in enumerate(layers):
        total, weight = sums[2 * number], sums[2 * number + 1]
        if not bool((weight > 0).all()):
            raise ValueError(f"a region is too small: it holds no position of layer {name}")
        grams[name] = total / weight[:, None, None]
    return grams


def gram_distances(grams: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """{layer: (R,)}: the relative distance of each region's Gram matrix to its target."""
    return {name: gram_distance(gram, targets[name]) for name, gram in grams.items()}


def at_least(picture: Tensor, side: int) -> Tensor:
    """(N, C, H, W), mirrored at its right and lower edges until both sides are long enough."""
    height, width = (max(side, s) for s in picture.shape[-2:])
    span = Span(first=0, start=0, stop=height, last=height)
    across = Span(first=0, start=0, stop=width, last=width)
    return cut(picture, Window(rows=span, columns=across), "reflect")
