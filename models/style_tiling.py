"""Paint a large picture tile by tile, with the statistics of the whole: no seams.

A norm needs its layer's mean and variance over the whole picture, so that a layer is passed over
twice: once for its statistics, once for its values. Maps at a quarter of the side are kept whole,
three of them at most: 3 * C H W / 16 values, of C = 4 width channels. Maps at full and half size
are never kept but computed anew, tile by tile, by whatever needs a window of them:

    statistics of down 0; of down 1; down 2 kept; the body kept; statistics of up 0; of up 1; paint

which costs half as much again as one pass. The result is the whole picture's to within
rounding.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.channel_statistics import ChannelStatistics
from models.pixels import Pixels
from models.style_brush import (
    Brush,
    Padding,
    Stroke,
    around_zero,
    convolved,
    last_layer,
    scale_and_shift,
    to_pixels,
)
from models.style_feedforward import MULTIPLE


@dataclass(frozen=True, kw_only=True)
class Box:
    """Rows and columns of a map, half open; they may reach over its borders."""

    top: int
    bottom: int
    left: int
    right: int

    def clipped(self, size: tuple[int, int]) -> "Box":
        """The part inside a map of (height, width)."""
        height, width = size
        return Box(
            top=max(0, self.top),
            bottom=min(height, self.bottom),
            left=max(0, self.left),
            right=min(width, self.right),
        )

    def beyond(self, inner: "Box") -> Padding:
        """How far this reaches over a box inside it."""
        return (
            inner.left - self.left,
            self.right - inner.right,
            inner.top - self.top,
            self.bottom - inner.bottom,
        )

    def of(self, x: Tensor) -> Tensor:
        return x[..., self.top : self.bottom, self.left : self.right]


@dataclass(frozen=True, kw_only=True, eq=False)
class Map:
    """A map of (height, width) of which any window inside can be had, for a computation."""

    size: tuple[int, int]
    window: Callable[[Box], Tensor]


def boxes(size: tuple[int, int], side: int) -> Iterator[Box]:
    """Tiles of a map, row by row."""
    for top in range(0, size[0], side):
        for left in range(0, size[1], side):
            yield Box(top=top, bottom=top + side, left=left, right=left + side).clipped(size)


def painted_in_tiles(brush: Brush, pixels: Pixels, tile: int) -> Pixels:
    """(H, W, 3) uint8, sides multiples of 4 -> the same, with tiles of at most `tile` pixels."""
    side = tile // MULTIPLE * MULTIPLE
    source = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    picture = Map(
        size=(pixels.shape[0], pixels.shape[1]),
        window=lambda box: around_zero(brush, box.of(source)),
    )
    x = picture
    for stroke, part in zip(brush.down[:2], (side, side // 2), strict=True):
        x = _layer(stroke, x, part)
    kept = _kept(brush.down[2], x, side // 4)
    for first, second in zip(brush.body[::2], brush.body[1::2], strict=True):
        inner = _kept(first, _held(kept), side // 4)
        _add_normed_(kept, second, _held(inner), side // 4)
        del inner
    x = _held(kept)
    for stroke, part in zip(brush.up, (side // 2, side), strict=True):
        x = _layer(stroke, x, part)
    out = np.empty_like(pixels)
    for box in boxes(picture.size, side):
        wide = _continued(x, _grown(box, 4))
        painted = last_layer(brush, wide, picture.window(box))
        out[box.top : box.bottom, box.left : box.right] = to_pixels(painted)
    return out


def _held(x: Tensor) -> Map:
    return Map(size=(x.shape[2], x.shape[3]), window=lambda box: box.of(x))


def _grown(box: Box, border: int) -> Box:
    return Box(
        top=box.top - border,
        bottom=box.bottom + border,
        left=box.left - border,
        right=box.right + border,
    )


def _continued(x: Map, box: Box) -> Tensor:
    """A window that may reach over the map's borders, which reflect it."""
    inner = box.clipped(x.size)
    padding = box.beyond(inner)
    found = x.window(inner)
    return F.pad(found, padding, mode="reflect") if any(padding) else found


def _seen(stroke: Stroke, box: Box) -> Box:
    """The window of its input that a layer needs for a window of its output."""
    if stroke.enlarge:  # an even window
        half = Box(
            top=box.top // 2, bottom=box.bottom // 2, left=box.left // 2, right=box.right // 2
        )
        return _grown(half, 1)
    step, border = stroke.stride, stroke.border
    reach = border + 1 - step
    return Box(
        top=box.top * step - border,
        bottom=box.bottom * step + reach,
        left=box.left * step - border,
        right=box.right * step + reach,
    )


def _before_norm(stroke: Stroke, x: Map, box: Box) -> Tensor:
    """A window of a layer's map before its norm."""
    wanted = box
    if stroke.enlarge:
        wanted = Box(
            top=box.top // 2 * 2,
            bottom=-(-box.bottom // 2) * 2,
            left=box.left // 2 * 2,
            right=-(-box.right // 2) * 2,
        )
    seen = _seen(stroke, wanted)
    inner = seen.clipped(x.size)
    y = convolved(stroke, x.window(inner), seen.beyond(inner))
    if wanted == box:
        return y
    left, right, top, bottom = wanted.beyond(box)
    return y[..., top : y.shape[2] - bottom, left : y.shape[3] - right]


def _size_behind(stroke: Stroke, size: tuple[int, int]) -> tuple[int, int]:
    height, width = size
    if stroke.enlarge:
        return 2 * height, 2 * width
    return height // stroke.stride, width // stroke.stride


def _layer(stroke: Stroke, x: Map, side: int) -> Map:
    """The layer behind a map, its statistics taken now, its values computed when asked for."""
    size, statistics = _size_behind(stroke, x.size), ChannelStatistics()
    for box in boxes(size, side):
        statistics.add(_before_norm(stroke, x, box))
    scale, shift = scale_and_shift(stroke, statistics)

    def window(box: Box) -> Tensor:
        return F.relu_(torch.addcmul(shift, _before_norm(stroke, x, box), scale))

    return Map(size=size, window=window)


def _kept(stroke: Stroke, x: Map, side: int) -> Tensor:
    """The layer behind a map, rectified, as a whole."""
    y, scale, shift = _measured(stroke, x, side)
    for box in boxes((y.shape[2], y.shape[3]), side):
        box.of(y).mul_(scale).add_(shift).relu_()
    return y


def _add_normed_(kept: Tensor, stroke: Stroke, x: Map, side: int) -> None:
    """The end of a residual block: kept += the layer behind x, not rectified."""
    y, scale, shift = _measured(stroke, x, side)
    for box in boxes((y.shape[2], y.shape[3]), side):
        box.of(kept).addcmul_(box.of(y), scale).add_(shift)


def _measured(stroke: Stroke, x: Map, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """The whole map behind a layer before its norm, and what is to be done to it."""
    size, statistics = _size_behind(stroke, x.size), ChannelStatistics()
    like = stroke.weight
    y = torch.empty((1, len(like), *size), dtype=like.dtype, device=like.device,
                    memory_format=torch.channels_last)  # fmt: skip
    for box in boxes(size, side):
        part = _before_norm(stroke, x, box)
        statistics.add(part)
        box.of(y).copy_(part)
    return y, *scale_and_shift(stroke, statistics)
