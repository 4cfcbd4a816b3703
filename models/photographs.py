"""Photographs made ready to be looked at by a network of features: equal in kind and in size."""

import numpy as np
from PIL import Image

from models.pixels import Pixels

_LONGEST = 2
"""Of a panorama the middle is kept, so many times as long as it is high."""


def reduced(pixels: Pixels, side: int) -> Pixels:
    """RGB with that shorter side, bicubic with its window as wide as a new pixel.

    Args:
        pixels: (H, W, 1 or 3) uint8; a smaller one is enlarged.
    Returns:
        (h, w, 3) uint8; the longer side at most twice the shorter one, cut to its middle.
    Raises:
        ValueError: a side below 1, or other channels.
    """
    if side < 1 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
        raise ValueError(f"wanted (H, W, 1 or 3) and a side from 1 on, got {pixels.shape}, {side}")
    pixels = pixels.repeat(3, axis=2) if pixels.shape[2] == 1 else pixels
    shorter = min(pixels.shape[:2])
    pixels = middle(pixels, _LONGEST * shorter)
    height, width = (max(side, round(n * side / shorter)) for n in pixels.shape[:2])
    image = Image.fromarray(np.ascontiguousarray(pixels))
    made: Pixels = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
    return made


def middle(pixels: Pixels, side: int) -> Pixels:
    """The window of at most `side` x `side` in the picture's middle."""
    top, left = (max(0, n - side) // 2 for n in pixels.shape[:2])
    return pixels[top : top + side, left : left + side]
