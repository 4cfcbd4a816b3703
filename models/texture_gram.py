"""Texture by optimisation: pixels whose features have the exemplar's statistics.

Source: Gatys et al. 2015, arXiv:1505.07376. Differs: relative distances of Gram matrices, so that
layers of any network count alike; noise about the exemplar's mean colour; a large output goes from
coarse to fine, each level against the exemplar shrunk alike (as in Gonthier et al. 2022,
"High-resolution neural texture synthesis with long-range constraints"), its loss summed over
windows. Or Heitz et al. 2021's sliced Wasserstein distance in place of Gram matrices.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.feature_windows import ALIGNMENT, FeatureExtractor, WindowConfig
from models.histogram_matching import match_histogram
from models.pixel_optimisation import (
    LossProgress,
    PixelOptimisationConfig,
    counted_from,
    optimise_pixels,
)
from models.texture_objective import (
    Exemplar,
    TextureObjective,
    edge_of,
    exemplar_levels,
    weighted_layers,
)
from models.texture_pixels import Bytes, Mask, check_size, level_sizes

TextureLoss: TypeAlias = Literal["gram", "sliced_wasserstein"]

_ROLLS = 10  # turns of a tileable level whose sides the network's strides do not divide
_LARGE = 384  # pixels a side above which a coarser level comes first
_SMALLEST_EXEMPLAR = 64  # pixels a side of the coarsest level's


@dataclass(frozen=True, kw_only=True)
class GramConfig:
    """What of the exemplar is matched, and how; the defaults look best on natural textures.

    layers: of the network; None for all that it computes. layer_weights: one each; None for
    `default_weight`. loss: the distance. iterations: of the coarsest level; each finer one, with
    four times the pixels, has half the coarser's. tv_weight: of total variation. histogram:
    whether each level ends with the exemplar's histogram in each channel. octaves: levels; None
    for as many as the sides ask for. tileable: whether the output's edges continue at the opposite
    ones. noise: standard deviation of the first picture, of 0..1; what the layers cannot see of it
    stays, as a fine dot pattern from 0.1 on. turn: iterations after which the sliced distance
    draws new directions. history: of L-BFGS. window: pixels a side that the network sees at once,
    and halo around them, see `WindowConfig`.

    Raises:
        ValueError: a value is out of its range.
    """

    layers: tuple[str, ...] | None = None
    layer_weights: tuple[float, ...] | None = None
    loss: TextureLoss = "gram"
    iterations: int = 500
    tv_weight: float = 0.0
    histogram: bool = False
    octaves: int | None = None
    tileable: bool = False
    noise: float = 0.01
    turn: int = 25
    history: int = 20
    window: int = 512
    halo: int = 32

    def __post_init__(self) -> None:
        if self.loss not in get_args(TextureLoss):
            raise ValueError(f"loss must be gram or sliced_wasserstein, got {self.loss!r}")
        if self.octaves is not None and not 1 <= self.octaves <= 16:
            raise ValueError(f"octaves must be 1 to 16, got {self.octaves}")
        for name in ("tv_weight", "noise"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        if self.turn < 1:
            raise ValueError(f"turn must be at least 1, got {self.turn}")
        PixelOptimisationConfig(iterations=self.iterations, history=self.history)
        WindowConfig(side=self.window, halo=self.halo)


def level_iterations(
    exemplar: tuple[int, int], size: tuple[int, int], config: GramConfig
) -> tuple[int, ...]:
    """Iterations of each level of a synthesis, the coarsest first; their sum is what it takes.

    Args:
        exemplar, size: (height, width) of the exemplar and of the output.
    """
    octaves = config.octaves
    if octaves is None:
        octaves = 1
        while (
            max(*exemplar, *size) >> (octaves - 1) > _LARGE
            and min(exemplar) >> octaves >= _SMALLEST_EXEMPLAR
        ):
            octaves += 1
    least = min(10, config.iterations)
    return tuple(max(least, config.iterations >> n) for n in range(octaves))


def gram_texture(
    exemplar: Bytes,
    size: tuple[int, int],
    features: FeatureExtractor,
    config: GramConfig,
    *,
    generator: torch.Generator,
    valid: Mask | None = None,
    progress: LossProgress | None = None,
    device: torch.device | str = "cpu",
) -> Bytes:
    """Synthesise a texture like the exemplar.

    Args:
        exemplar: (H, W, 3) uint8; smaller than the network takes, it is continued in its mirror.
        size: (height, width) of the output.
        features: computes the layers, on the device.
        generator: on the CPU; its seed decides the output.
        valid: (H, W) usable pixels of the exemplar, or None for all.
        progress: told the iteration, counted through all levels, and the losses: one for each
            layer, "tv" and "total"; what it raises stops the synthesis.
    Returns:
        (height, width, 3) uint8.
    Raises:
        ValueError: an argument of another shape, an unknown layer, a wrong number of weights, or
            a layer that sees no usable pixel.
    """
    check_size(size)
    weights = weighted_layers(features, config.layers, config.layer_weights)
    counts = level_iterations((exemplar.shape[0], exemplar.shape[1]), size, config)
    levels = exemplar_levels(
        exemplar, valid, len(counts), smallest=features.minimum_side, device=device
    )
    edge = edge_of(tileable=config.tileable)
    windows = WindowConfig(side=config.window, halo=config.halo, edge=edge)
    picture: Tensor | None = None
    sizes = level_sizes(size, len(counts))
    for n, (own, level, count) in enumerate(zip(sizes, levels[::-1], counts, strict=True)):
        objective = TextureObjective(
            level, features, weights, windows,
            sliced=config.loss == "sliced_wasserstein", tv_weight=config.tv_weight,
        )  # fmt: skip
        smallest = 1 if config.tileable else features.minimum_side
        start = _start(level, own, picture, config, smallest, generator)
        last = n + 1 == len(counts)
        told = counted_from(progress, sum(counts[:n]), None if last else count)
        picture = _optimised(start, objective, count, config, generator, told)
        picture = picture[..., : own[0], : own[1]]
        if config.histogram:
            picture = match_histogram(picture, level.colours())
    if picture is None:
        raise ValueError("a synthesis needs at least one level")
    return _to_bytes(picture)


def _start(
    level: Exemplar,
    size: tuple[int, int],
    coarser: Tensor | None,
    config: GramConfig,
    smallest: int,
    generator: torch.Generator,
) -> Tensor:
    """Noise about the mean colour, or the coarser picture, as large as the network needs."""
    height, width = (max(side, smallest) for side in size)
    if coarser is None:
        drawn = torch.randn(1, 3, height, width, generator=generator).to(level.pixels.device)
        mean = level.colours().mean(dim=1).view(1, 3, 1, 1)
        return mean + config.noise * drawn
    if not config.tileable:
        return F.interpolate(coarser, (height, width), mode="bicubic").clamp(0, 1)
    # each axis amid copies of itself: so the seam is enlarged like any other place
    for axis, side in ((-2, height), (-1, width)):
        thrice = [3 * side if a == axis else coarser.shape[a] for a in (-2, -1)]
        copies = torch.cat([coarser] * 3, dim=axis)
        coarser = F.interpolate(copies, thrice, mode="bicubic").narrow(axis, side, side)
    return coarser.clamp(0, 1)


def _optimised(
    picture: Tensor,
    objective: TextureObjective,
    count: int,
    config: GramConfig,
    generator: torch.Generator,
    progress: LossProgress | None,
) -> Tensor:
    """All of a level's iterations: at once, or in turns with directions or a roll of their own."""
    height, width = picture.shape[-2:]
    rolls = config.tileable and (height % ALIGNMENT or width % ALIGNMENT) > 0
    turn = config.turn if config.loss == "sliced_wasserstein" else max(1, count)
    for first, many, last in _turns(count, min(turn, -(-count // _ROLLS)) if rolls else turn):
        objective.turn(generator)
        if rolls:  # the network's pools do not part such a side evenly: nowhere for long
            down, right = torch.randint(max(height, width), (2,), generator=generator).tolist()
            picture = picture.roll((down, right), dims=(-2, -1))
        own = PixelOptimisationConfig(iterations=many, history=config.history)
        told = counted_from(progress, first, None if last else many)
        picture = optimise_pixels(picture, objective, own, progress=told)
    return picture


def _turns(count: int, turn: int) -> Iterator[tuple[int, int, bool]]:
    """(first iteration, how many, whether it is the last turn)."""
    turn = max(1, turn)
    for first in range(0, max(1, count), turn):
        yield first, min(turn, count - first), first + turn >= count


def _to_bytes(picture: Tensor) -> Bytes:
    levels = (picture[0] * 255).round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(levels.permute(1, 2, 0).cpu().numpy())
