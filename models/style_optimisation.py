"""Style transfer by optimisation: the content's features, the styles' Gram matrices.

Source: Gatys et al. 2016, "Image style transfer using convolutional neural networks" (CVPR), and
for large pictures, regions and colours Gatys et al. 2017, arXiv:1611.07865. Differs: relative
distances (see `style_loss`), and the whole picture's objective summed over windows, so that memory
is bounded; a finer level begins with the content plus what the coarser changed, enlarged, so that
nothing of the content is lost on the way.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from models.feature_windows import FeatureExtractor, WindowConfig, at_least
from models.features import FeatureKind
from models.histogram_matching import match_colours
from models.original_colors import full_luma, with_original_colors
from models.pixel_optimisation import (
    LossProgress,
    PixelOptimisationConfig,
    counted_from,
    optimise_pixels,
)
from models.style_loss import StyleLossConfig
from models.style_objective import StyleObjective, StyleTarget, style_grams, style_shares
from models.texture_pixels import level_sizes

Start: TypeAlias = Literal["content", "noise", "image"]
OriginalColors: TypeAlias = Literal["none", "histogram", "luminance"]
PictureProgress: TypeAlias = Callable[[int, Tensor], None]
"""Told the iteration and the picture of then, (1, 3, h, w) in 0..1, which it must not keep."""

_LARGE = 640  # pixels of the longer side above which a coarser level comes first


@dataclass(frozen=True, kw_only=True, eq=False)
class Style:
    """One style. pixels: (1, 3, H, W) in 0..1. weight: at least 0; the styles' sum is made 1.

    mask: (1, 1, H, W) in 0..1, where in the content it applies, of the content's size; None for
    everywhere.
    """

    pixels: Tensor
    weight: float = 1.0
    mask: Tensor | None = None


def gatys_loss(network: FeatureKind) -> StyleLossConfig:
    """The layers of Gatys et al. 2016, or the like of SqueezeNet, and weights that look best.

    Raises:
        ValueError: no such network.
    """
    if network in ("vgg16", "vgg19"):
        layers = tuple(f"relu{block}_1" for block in range(1, 6))
        return StyleLossConfig(
            network=network, content_layer="relu4_2", style_layers=layers, **_WEIGHTS
        )
    if network == "squeezenet1_0":
        layers = ("relu1", "fire2", "fire4", "fire6", "fire8")
        return StyleLossConfig(
            network=network, content_layer="fire5", style_layers=layers, **_WEIGHTS
        )
    raise ValueError(
        f"a network must be one of {', '.join(get_args(FeatureKind))}, got {network!r}"
    )


_WEIGHTS = {"content_weight": 1.0, "style_weight": 5.0, "tv_weight": 0.1}


@dataclass(frozen=True, kw_only=True)
class StyleConfig:
    """How a picture is stylized.

    loss: layers and weights. iterations: of the coarsest level; each finer one has half of the
    coarser's. start: the first picture. levels: None for as many as the longer side asks for.
    original_colors: "histogram" gives the styles the content's colours before, "luminance"
    transfers luma alone and keeps the content's chroma exactly. style_scale: the style's longer
    side over the content's. noise: standard deviation about 0.5 of a start from noise. history: of
    L-BFGS. window: pixels a side that the network sees at once, see `WindowConfig`.

    Raises:
        ValueError: a value is out of its range.
    """

    loss: StyleLossConfig = field(default_factory=lambda: gatys_loss("vgg19"))
    iterations: int = 500
    start: Start = "content"
    levels: int | None = None
    original_colors: OriginalColors = "none"
    style_scale: float = 1.0
    noise: float = 0.01
    history: int = 20
    window: int = 512

    def __post_init__(self) -> None:
        for name, choices in (("start", Start), ("original_colors", OriginalColors)):
            if getattr(self, name) not in get_args(choices):
                wanted = ", ".join(get_args(choices))
                raise ValueError(f"{name} must be one of {wanted}, got {getattr(self, name)!r}")
        if self.levels is not None and not 1 <= self.levels <= 16:
            raise ValueError(f"levels must be 1 to 16, got {self.levels}")
        if not 0 < self.style_scale < math.inf or not 0 <= self.noise < math.inf:
            raise ValueError(
                f"style_scale must be above 0 and noise at least 0,"
                f" got {self.style_scale} and {self.noise}"
            )
        PixelOptimisationConfig(iterations=self.iterations, history=self.history)
        WindowConfig(side=self.window)


def level_iterations(size: tuple[int, int], config: StyleConfig) -> tuple[int, ...]:
    """Iterations of each level, the coarsest first, for a content of (height, width)."""
    levels = config.levels
    if levels is None:
        levels = 1
        while max(size) >> (levels - 1) > _LARGE and min(size) >> levels >= 64:
            levels += 1
    least = min(10, config.iterations)
    return tuple(max(least, config.iterations >> n) for n in range(levels))


def stylize(
    content: Tensor,
    styles: Sequence[Style],
    features: FeatureExtractor,
    config: StyleConfig,
    *,
    generator: torch.Generator,
    start_image: Tensor | None = None,
    progress: LossProgress | None = None,
    on_picture: PictureProgress | None = None,
) -> Tensor:
    """Paint the content in the styles.

    Args:
        content: (1, 3, H, W) in 0..1; smaller than the network takes, it is continued in its
            mirror.
        features: of `config.loss.network`, with all layers of `config.loss`, on content's device.
        generator: on the CPU; draws the start from noise.
        start_image: (1, 3, h, w) in 0..1, resized to the content; for the start "image" alone.
        progress, on_picture: told the iteration, counted through all levels, and the losses of
            `StyleObjective` or the picture; what they raise stops the work.
    Returns:
        (1, 3, H, W) in 0..1.
    Raises:
        ValueError: an argument of another shape, weights that sum to 0, a missing start image, a
            mask too small for a layer, or features without a wanted layer.
    """
    _check(content, styles, features, config, start_image)
    height, width = content.shape[-2:]
    whole = at_least(content, features.minimum_side)
    seen = full_luma(whole).expand(-1, 3, -1, -1) if _gray(config) else whole
    brushes = _brushes(styles, content, whole, config)
    counts = level_iterations((height, width), config)
    base: Tensor | None = None  # the content of the coarser level
    picture = seen
    sizes = level_sizes((seen.shape[-2], seen.shape[-1]), len(counts))
    for n, (size, count) in enumerate(zip(sizes, counts, strict=True)):
        finer = _resized(seen, size)
        objective = _objective(finer, brushes, features, config)
        if base is None:
            start = _first(finer, config, generator, start_image)
        else:
            start = _enlarged(picture, base, finer, config)
        done, until = sum(counts[:n]), None if n + 1 == len(counts) else count
        picture = optimise_pixels(
            start,
            objective,
            PixelOptimisationConfig(iterations=count, history=config.history),
            progress=counted_from(progress, done, until),
            on_picture=counted_from(on_picture, done, until),
        )
        base = finer
    result = picture[..., :height, :width]
    return with_original_colors(result, content) if _gray(config) else result


def _gray(config: StyleConfig) -> bool:
    return config.original_colors == "luminance"


def _check(
    content: Tensor,
    styles: Sequence[Style],
    features: FeatureExtractor,
    config: StyleConfig,
    start_image: Tensor | None,
) -> None:
    missing = [layer for layer in config.loss.layers if layer not in features.layers]
    if missing:
        raise ValueError(
            f"features must have the layers {', '.join(config.loss.layers)},"
            f" got {', '.join(features.layers)}"
        )
    named = [("content", content), *(("a style", style.pixels) for style in styles)]
    if start_image is not None:
        named.append(("start_image", start_image))
    for name, pixels in named:
        if pixels.ndim != 4 or pixels.shape[:2] != (1, 3) or pixels.numel() == 0:
            raise ValueError(f"{name} must be (1, 3, H, W), got {tuple(pixels.shape)}")
    for style in styles:
        wanted = (1, 1, *content.shape[-2:])
        if style.mask is not None and tuple(style.mask.shape) != wanted:
            raise ValueError(f"a mask must be {wanted}, got {tuple(style.mask.shape)}")
    if (config.start == "image") != (start_image is not None):
        raise ValueError("a start image must be given for the start 'image', and for no other")


def _coloured(style: Tensor, content: Tensor, config: StyleConfig) -> Tensor:
    """The style with what it is to have of the content's colours."""
    if config.original_colors == "histogram":
        return match_colours(style, content)
    if config.original_colors == "luminance":
        own, wanted = full_luma(style), full_luma(content)
        gain = wanted.std(unbiased=False) / own.std(unbiased=False).clamp_min(1e-3)
        luma = (gain * (own - own.mean()) + wanted.mean()).clamp(0, 1)
        return luma.expand(-1, 3, -1, -1)
    return style


def _brushes(
    styles: Sequence[Style], content: Tensor, whole: Tensor, config: StyleConfig
) -> list[Style]:
    """The styles with their shares for weights, in their colours, their masks as `whole` is."""
    shares = style_shares([style.weight for style in styles])
    side = max(whole.shape[-2:])
    return [
        Style(
            pixels=_coloured(style.pixels.to(content), content, config),
            weight=share,
            mask=None
            if style.mask is None
            else at_least(style.mask.to(whole), side)[..., : whole.shape[-2], : whole.shape[-1]],
        )
        for style, share in zip(styles, shares, strict=True)
    ]


def _objective(
    content: Tensor, brushes: Sequence[Style], features: FeatureExtractor, config: StyleConfig
) -> StyleObjective:
    """A level's objective: the styles and masks at the content's size."""
    windows = WindowConfig(side=config.window)
    size = content.shape[-2], content.shape[-1]
    targets = []
    for brush in brushes:
        style = at_least(
            _to_side(brush.pixels, max(size) * config.style_scale), features.minimum_side
        )
        grams = style_grams(style, features, config.loss, windows)
        mask = None if brush.mask is None else F.adaptive_avg_pool2d(brush.mask, size)
        targets.append(StyleTarget(share=brush.weight, grams=grams, mask=mask))
    return StyleObjective(content, targets, features, config.loss, windows)


def _first(
    content: Tensor, config: StyleConfig, generator: torch.Generator, start_image: Tensor | None
) -> Tensor:
    """Where the coarsest level begins."""
    if config.start == "content":
        return content
    if start_image is not None:
        size = content.shape[-2], content.shape[-1]
        return _resized(start_image.to(content), size).clamp(0, 1)
    drawn = torch.randn(content.shape, generator=generator).to(content)
    return 0.5 + config.noise * drawn


def _enlarged(coarser: Tensor, base: Tensor, content: Tensor, config: StyleConfig) -> Tensor:
    """Where a finer level begins: the coarser's picture, or from the content its changes alone."""
    size = content.shape[-2], content.shape[-1]
    if config.start == "content":
        return (content + _resized(coarser - base, size)).clamp(0, 1)
    return _resized(coarser, size).clamp(0, 1)


def _resized(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """Bicubic, antialiased; the very picture where it has that size."""
    if tuple(picture.shape[-2:]) == size:
        return picture
    return F.interpolate(picture, size, mode="bicubic", antialias=True)


def _to_side(picture: Tensor, side: float) -> Tensor:
    """Resized so that the longer side is `side` pixels."""
    share = side / max(picture.shape[-2:])
    height, width = (max(1, round(s * share)) for s in picture.shape[-2:])
    return _resized(picture, (height, width)).clamp(0, 1)
