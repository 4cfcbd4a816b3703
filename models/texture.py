"""One texture by any of the methods: alpha, gray and sizes are dealt with here."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias, get_args

import numpy as np
from scipy.ndimage import binary_dilation, binary_erosion

from models.image_modes import reduce_to_8_bits
from models.images import MAX_PIXELS
from models.pixels import Pixels
from models.texture_coherence import CoherenceConfig, coherence, inpaint
from models.texture_efros_leung import EfrosLeungConfig, efros_leung
from models.texture_guide import Guide
from models.texture_pixels import Bytes, Mask, Progress
from models.texture_wei_levoy import WeiLevoyConfig, wei_levoy

TextureMethod: TypeAlias = Literal["efros-leung", "wei-levoy", "coherence"]
"""The methods that copy pixels; the other is `texture_gram`, which needs torch."""

_SOFT_EDGE = 3  # pixels about a hole of the alpha channel that its blurred rim reaches
_OPAQUE = 128
_COMPARISONS_PER_S = 5e9
_MOST_HOURS = 1.0
_WINDOWS: dict[TextureMethod, int] = {"efros-leung": 11, "wei-levoy": 9, "coherence": 7}


@dataclass(frozen=True, kw_only=True)
class CopyingConfig:
    """How exemplar pixels are copied.

    Args:
        window: odd side of the neighbourhood, pixels; by default 11, 9 or 7 by the method.
        k: coherence's proposals for each neighbour; 1 is its fast setting.
    Raises:
        ValueError: a value is out of its range.
    """

    method: TextureMethod = "coherence"
    tileable: bool = False
    window: int | None = None
    k: int = 4

    def __post_init__(self) -> None:
        if self.method not in get_args(TextureMethod):
            known = ", ".join((*get_args(TextureMethod), "gram"))
            raise ValueError(f"method must be one of {known}, got {self.method!r}")
        EfrosLeungConfig(window=self.side)
        CoherenceConfig(window=self.side, k=self.k)

    @property
    def side(self) -> int:
        """The window's side."""
        return self.window or _WINDOWS[self.method]


@dataclass(frozen=True, kw_only=True, eq=False)
class Exemplars:
    """What is copied from beside the picture itself, and where to.

    others: further exemplars. hole: of the picture, to be filled in place. labels, guide: labels
    of the picture and of the output.
    """

    others: Sequence[Pixels] = field(default=())
    hole: Mask | None = None
    labels: Bytes | None = None
    guide: Bytes | None = None


def parse_size(text: str | None) -> tuple[int, int] | None:
    """ "512" or "640x480", width first -> (height, width); None for None.

    Raises:
        ValueError: it is neither, or there are too many pixels.
    """
    if text is None:
        return None
    parts = text.lower().split("x")
    if not 1 <= len(parts) <= 2 or not all(part.isdecimal() and int(part) for part in parts):
        raise ValueError(f"size must be like 512 or 640x480, in pixels, got {text!r}")
    width, height = int(parts[0]), int(parts[-1])
    if width * height > MAX_PIXELS:
        raise ValueError(f"size must be at most {MAX_PIXELS} pixels in all, got {width}x{height}")
    return height, width


def colour_and_mask(pixels: Pixels) -> tuple[Bytes, Mask | None]:
    """The colours in 8 bits, (H, W, 1 or 3), and where they are usable; None for everywhere.

    Where alpha is below one half there is nothing to see, and the pixels about such a hole are
    mixed with whatever was under it: they are not usable either.
    """
    eight = reduce_to_8_bits(pixels)
    if eight.shape[2] in (1, 3):
        return eight, None
    colour, opaque = eight[..., :-1], eight[..., -1] >= _OPAQUE
    if opaque.all():
        return np.ascontiguousarray(colour), None
    usable = binary_erosion(opaque, iterations=_SOFT_EDGE, border_value=1)
    return np.ascontiguousarray(colour), usable


def hole_of_alpha(pixels: Pixels) -> Mask | None:
    """What to fill of a picture: transparent places, their soft rims included; None for none."""
    _, usable = colour_and_mask(pixels)
    return None if usable is None else ~usable


def grown(hole: Mask, pixels: int) -> Mask:
    """The hole and so many pixels around it."""
    mask: Mask = binary_dilation(hole, iterations=pixels) if pixels else hole
    return mask


def copy_texture(
    pixels: Pixels,
    size: tuple[int, int] | None,
    config: CopyingConfig,
    exemplars: Exemplars,
    *,
    generator: np.random.Generator,
    threads: int = 1,
    progress: Progress | None = None,
) -> Bytes:
    """A texture of the picture's pixels, (height, width, 1 or 3) uint8.

    Args:
        size: (height, width); by default the guide's size, the picture's own where it has a hole
            to fill, and else twice the picture's sides.
    Raises:
        ValueError: the method cannot do what is asked; the exemplar holds no whole window; or the
            exact method would take hours.
    """
    colour, usable = colour_and_mask(pixels)
    if config.method == "coherence":
        return _coherent(colour, usable, size, config, exemplars, generator, threads, progress)
    if exemplars.others or exemplars.hole is not None or exemplars.guide is not None:
        raise ValueError(
            f"several exemplars, a hole and a guide need the method coherence, got {config.method}"
        )
    size = size or default_size(colour)
    check_work(colour.shape[:2], size, config)
    if config.method == "efros-leung":
        growing = EfrosLeungConfig(window=config.side, tileable=config.tileable)
        return efros_leung(
            colour, size, growing, generator=generator, valid=usable, progress=progress
        ).pixels
    ordered = WeiLevoyConfig(window=config.side)
    return wei_levoy(
        colour, size, ordered, generator=generator, valid=usable, progress=progress
    ).pixels


def _coherent(
    colour: Bytes,
    usable: Mask | None,
    size: tuple[int, int] | None,
    config: CopyingConfig,
    exemplars: Exemplars,
    generator: np.random.Generator,
    threads: int,
    progress: Progress | None,
) -> Bytes:
    search = fitting(CoherenceConfig(window=config.side, k=config.k), colour.shape[:2])
    others = [colour_and_mask(other) for other in exemplars.others]
    images = [colour, *(alike(other, colour.shape[2]) for other, _ in others)]
    masks = [usable, *(mask for _, mask in others)]
    if exemplars.hole is not None:
        if size is not None and size != colour.shape[:2]:
            raise ValueError("a hole is filled at the picture's own size, got another size")
        outside = ~exemplars.hole if usable is None else ~exemplars.hole & usable
        return inpaint(
            colour,
            exemplars.hole,
            search,
            generator=generator,
            exemplars=images,
            valid=[outside, *masks[1:]],
            threads=threads,
            progress=progress,
        ).pixels
    guide = None
    if exemplars.guide is not None and exemplars.labels is not None:
        owned = [exemplars.labels] * len(images)
        guide = Guide(exemplars=[numbered(x) for x in owned], output=numbered(exemplars.guide))
        size = size or exemplars.guide.shape[:2]
    return coherence(
        images,
        size or default_size(colour),
        search,
        generator=generator,
        valid=masks,
        guide=guide,
        threads=threads,
        progress=progress,
    ).pixels


def default_size(colour: Bytes) -> tuple[int, int]:
    """Twice the sides."""
    return 2 * colour.shape[0], 2 * colour.shape[1]


def fitting(config: CoherenceConfig, sides: tuple[int, int]) -> CoherenceConfig:
    """The config with a window that lies inside a small exemplar, at least 3 pixels wide."""
    widest = min(sides) - (min(sides) % 2 == 0)
    return config if widest >= config.window else replace(config, window=max(3, widest))


def alike(pixels: Bytes, channels: int) -> Bytes:
    """Pixels with so many channels: gray repeated, or the mean of the colours."""
    if pixels.shape[2] == channels:
        return pixels
    if channels == 3:
        return np.ascontiguousarray(pixels.repeat(3, axis=2))
    mean: Bytes = np.rint(pixels.mean(axis=2, keepdims=True)).astype(np.uint8)
    return mean


def numbered(labels: Bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """One whole number for each colour of a label picture: (H, W, C) -> (H, W)."""
    number = np.zeros(labels.shape[:2], np.int64)
    for channel in range(labels.shape[2]):
        number = number * 256 + labels[..., channel]
    return number


def check_work(exemplar: tuple[int, int], size: tuple[int, int], config: CopyingConfig) -> None:
    """Refuse what an exact search would take hours for.

    Raises:
        ValueError: with the hours.
    """
    window = config.side**2 if config.method == "efros-leung" else 0.9 * config.side**2
    comparisons = math.prod(exemplar) * math.prod(size) * window
    hours = comparisons / _COMPARISONS_PER_S / 3600
    if hours > _MOST_HOURS:
        raise ValueError(
            f"{config.method} would take about {hours:.0f} CPU hours from"
            f" {exemplar[1]}x{exemplar[0]} to {size[1]}x{size[0]} pixels, wanted a smaller size"
            " or the method coherence"
        )
