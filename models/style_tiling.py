"""Paint a large picture tile by tile, with the statistics of the whole: no seams.

A norm needs its layer's mean and variance over the whole picture, so that the first layers are
passed over twice: once for their statistics, once for their values. Maps at a quarter of the side
are kept whole, three of them at most: 3 * C H W / 16 values, of C = 4 width channels. Maps at full
and half size are never kept but computed anew, tile by tile, by whatever needs a window of them:

    statistics of down 0; of down 1; down 2 kept; the body kept; paint

The result is the whole picture's to within rounding.
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
    Norm,
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
    x = _normed(brush.down[0], brush.norms[0], x, side)
    x = _normed(brush.down[1], brush.norms[1], x, side // 2)
    quarter = side // 4
    kept = _kept(brush.down[2], x, quarter)
    _norm_(kept, brush.norms[2], quarter)
    for first, second in zip(brush.body[::2], brush.body[1::2], strict=True):
        inner = _kept(first, _held(kept), quarter).relu_()
        kept += _kept(second, _held(inner), quarter)
        del inner
    x = _held(kept)
    for stroke in brush.up:
        x = _rectified(stroke, x)
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


def _convolved(stroke: Stroke, x: Map, box: Box) -> Tensor:
    """A window of what a stroke makes of a map."""
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


def _normed(stroke: Stroke, norm: Norm, x: Map, side: int) -> Map:
    """A stroke, its norm and rectifier: statistics taken now, values computed when asked for."""
    size, statistics = _size_behind(stroke, x.size), ChannelStatistics()
    for box in boxes(size, side):
        statistics.add(_convolved(stroke, x, box))
    scale, shift = scale_and_shift(norm, statistics)

    def window(box: Box) -> Tensor:
        return F.relu_(torch.addcmul(shift, _convolved(stroke, x, box), scale))

    return Map(size=size, window=window)


def _rectified(stroke: Stroke, x: Map) -> Map:
    """A stroke and its rectifier, computed when asked for."""
    return Map(
        size=_size_behind(stroke, x.size), window=lambda box: _convolved(stroke, x, box).relu_()
    )


def _kept(stroke: Stroke, x: Map, side: int) -> Tensor:
    """What a stroke makes of a map, as a whole."""
    like = stroke.weight
    y = torch.empty((1, len(like), *_size_behind(stroke, x.size)), dtype=like.dtype,
                    device=like.device, memory_format=torch.channels_last)  # fmt: skip
    for box in boxes((y.shape[2], y.shape[3]), side):
        box.of(y).copy_(_convolved(stroke, x, box))
    return y


def _norm_(y: Tensor, norm: Norm, side: int) -> None:
    """A norm and its rectifier, in place."""
    statistics = ChannelStatistics()
    for box in boxes((y.shape[2], y.shape[3]), side):
        statistics.add(box.of(y))
    scale, shift = scale_and_shift(norm, statistics)
    y.mul_(scale).add_(shift).relu_()
