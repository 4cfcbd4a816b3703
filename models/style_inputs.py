"""What a style asks for and a picture brings: names and weights, alpha, gray, sizes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.image_modes import reduce_to_8_bits
from models.pixels import Pixels

Colour = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class WeightedStyle:
    """A style's name, or where its image is, and its share of the blend."""

    name: str
    weight: float


def parse_styles(texts: Sequence[str]) -> tuple[WeightedStyle, ...]:
    """ "starry_night", "a.jpg=0.7" -> names and weights that sum to 1; 1 where none is said.

    What stands behind the last `=` is a weight only if it is a number.

    Raises:
        ValueError: no style, a negative weight, or weights that sum to 0.
    """
    if not texts:
        raise ValueError("at least one style must be given, got none")
    found = []
    for text in texts:
        name, _, tail = text.rpartition("=")
        weight = _number(tail) if name else None
        found.append((text, 1.0) if weight is None else (name, weight))
    weights = [weight for _, weight in found]
    total = math.fsum(weights)
    if not all(0 <= weight < math.inf for weight in weights) or not total > 0:
        given = ", ".join(f"{name}={weight:g}" for name, weight in found)
        raise ValueError(f"styles' weights must be at least 0 with a sum above 0, got {given}")
    return tuple(WeightedStyle(name=name, weight=weight / total) for name, weight in found)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


@dataclass(frozen=True, kw_only=True, eq=False)
class Canvas:
    """A picture as styles see it, and what is put back afterwards.

    colour: (H, W, 3) uint8. alpha: (H, W, 1) uint8, or None. gray: whether the source was.
    """

    colour: Colour
    alpha: Colour | None
    gray: bool


def canvas_of(pixels: Pixels, longest: int | None = None) -> Canvas:
    """(H, W, 1..4) -> 8-bit colours; gray is repeated.

    Under transparent pixels lies the mean of what is visible: whatever was there would be painted
    into the visible neighbours.

    Args:
        longest: the longer side, pixels, that the picture is reduced or enlarged to.
    """
    eight = resized(reduce_to_8_bits(pixels), longest)
    channels = eight.shape[2]
    colour, alpha = (eight, None) if channels in (1, 3) else (eight[..., :-1], eight[..., -1:])
    if alpha is not None:
        colour = _over_mean(colour, alpha)
    gray = colour.shape[2] == 1
    if gray:
        colour = colour.repeat(3, axis=2)
    return Canvas(colour=np.ascontiguousarray(colour), alpha=alpha, gray=gray)


def put_back(painted: Pixels, canvas: Canvas, *, gray: bool) -> Pixels:
    """The painted colours with the source's alpha; one channel where `gray`."""
    colour = painted[..., :1] if gray else painted
    if canvas.alpha is None:
        return np.ascontiguousarray(colour)
    return np.concatenate([colour, canvas.alpha], axis=2)


def resized(pixels: Colour, longest: int | None) -> Colour:
    """The picture with a longer side of so many pixels; bicubic, with antialiasing."""
    height, width = pixels.shape[:2]
    if longest is None or max(height, width) == longest:
        return pixels
    scale = longest / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    planes = [
        np.asarray(Image.fromarray(pixels[..., c]).resize(size, Image.Resampling.BICUBIC))
        for c in range(pixels.shape[2])
    ]
    return np.stack(planes, axis=2)


def _over_mean(colour: Colour, alpha: Colour) -> Colour:
    share = alpha.astype(np.float32) / 255
    total = float(share.sum())
    if total == 0:
        return colour
    mean = (colour * share).sum(axis=(0, 1)) / total
    mixed: Colour = np.rint(colour * share + mean * (1 - share)).astype(np.uint8)
    return mixed
