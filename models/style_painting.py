"""Paint a picture of any size with a trained painter, whole or tile by tile."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.channel_statistics import ChannelStatistics
from models.pixels import Pixels
from models.style_brush import (
    Brush,
    around_zero,
    brush_of,
    convolved,
    full_padding,
    last_layer,
    scale_and_shift,
    to_pixels,
)
from models.style_feedforward import MULTIPLE, Painter
from models.style_tiling import painted_in_tiles

SMALLEST = 16
"""Pixels a side; smaller pictures are continued by reflection, and cut again."""


def paint(painter: Painter, pixels: Pixels, weights: Tensor, *, tile: int | None = None) -> Pixels:
    """One picture in a blend of styles.

    Args:
        pixels: (H, W, 3) uint8, any size.
        weights: (1, S), rows that sum to 1; see `blend_weights`.
        tile: the largest side, in pixels, of what is in memory at full and at half size, at least
            16; None is the whole picture. See `style_tiling`.
    Returns:
        (H, W, 3) uint8.
    Raises:
        ValueError: pixels, weights or a tile that are none.
    """
    return paint_with(brush_of(painter, weights), pixels, tile=tile)


def paint_with(brush: Brush, pixels: Pixels, *, tile: int | None = None) -> Pixels:
    """`paint` with a brush that was made before: for many pictures in one blend."""
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
        raise ValueError(f"pixels must be (H, W, 3) uint8, got {pixels.shape} {pixels.dtype}")
    if tile is not None and tile < SMALLEST:
        raise ValueError(f"tile must be at least {SMALLEST}, got {tile}")
    height, width = pixels.shape[:2]
    wide = _continued(pixels)
    with torch.inference_mode():
        if tile is not None and max(wide.shape[:2]) > tile:
            return painted_in_tiles(brush, wide, tile)[:height, :width]
        source = torch.from_numpy(wide).permute(2, 0, 1)[None]
        return to_pixels(_whole(brush, around_zero(brush, source)))[:height, :width]


def _continued(pixels: Pixels) -> Pixels:
    """Reflected at its right and lower border up to a side that the network takes."""
    sides = pixels.shape[:2]
    missing = [max(SMALLEST, -(-side // MULTIPLE) * MULTIPLE) - side for side in sides]
    if not any(missing):
        return np.array(pixels)  # torch warns of memory that it may not write to
    return np.pad(pixels, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="reflect")


def _whole(brush: Brush, picture: Tensor) -> Tensor:
    """(1, 3, H, W) around 0 -> the same, every map in memory as a whole."""

    x = picture
    for stroke, norm in zip(brush.down, brush.norms, strict=True):
        y = convolved(stroke, x, full_padding(stroke))
        statistics = ChannelStatistics()
        statistics.add(y)
        scale, shift = scale_and_shift(norm, statistics)
        x = torch.addcmul(shift, y, scale, out=y).relu_()
    for first, second in zip(brush.body[::2], brush.body[1::2], strict=True):
        inner = convolved(first, x, full_padding(first)).relu_()
        x = convolved(second, inner, full_padding(second)).add_(x)
    for stroke in brush.up:
        x = convolved(stroke, x, full_padding(stroke)).relu_()
    return last_layer(brush, F.pad(x, [4] * 4, mode="reflect"), picture)
