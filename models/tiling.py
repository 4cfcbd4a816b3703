"""Cut an image into equal windows that overlap by a receptive field, and put the results together.

Every window of an image has the same shape, and outside the image it repeats the outermost pixels.
An output pixel depends only on source pixels within `radius`, so it is the same whatever the tile:
the whole image is the case of one tile.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from models.pixels import Pixels

CORE_STEP = 16
"""Tile sizes are multiples of this, so that images of many sizes share few window shapes."""
MIN_CORE = 16
"""Below this a tile that does not fit the device is not cut further."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TileGrid:
    """How one image is cut: `rows x columns` cores of `core_height x core_width`, plus margins."""

    height: int
    width: int
    core_height: int
    core_width: int
    window_height: int
    window_width: int
    radius: int

    @property
    def columns(self) -> int:
        return -(-self.width // self.core_width)

    @property
    def count(self) -> int:
        return -(-self.height // self.core_height) * self.columns

    def origin(self, index: int) -> tuple[int, int]:
        """Top-left source pixel (y, x) of the core of tile `index`, in raster order."""
        row, column = divmod(index, self.columns)
        return row * self.core_height, column * self.core_width


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step


def tile_grid(height: int, width: int, *, tile: int, radius: int, multiple: int = 1) -> TileGrid:
    """Cut `height x width` pixels into equal tiles of about `tile` pixels a side at most.

    Args:
        tile: largest core side, in source pixels, without its margins; it is rounded down to a
            multiple of 16 and of `multiple`, but never to nothing.
        radius: source pixels that an output pixel depends on, on each side.
        multiple: every window begins at a multiple of this, seen from any other, as a network
            that folds pixels into channels needs it.
    Raises:
        ValueError: a size or the tile is below 1, or the radius negative or no multiple of
            `multiple`.
    """
    if height < 1 or width < 1:
        raise ValueError(f"an image must be at least 1x1, got {width}x{height}")
    if tile < 1 or radius < 0 or multiple < 1 or radius % multiple:
        raise ValueError(
            f"want tile >= 1 and a radius that is a multiple of {multiple},"
            f" got tile={tile}, radius={radius}"
        )

    step = math.lcm(CORE_STEP, multiple)
    largest = max(tile // step * step, step)

    def side(size: int) -> int:
        parts = -(-size // largest)
        return _round_up(-(-size // parts), step)

    core_height, core_width = side(height), side(width)
    return TileGrid(
        height=height,
        width=width,
        core_height=core_height,
        core_width=core_width,
        window_height=core_height + 2 * radius,
        window_width=core_width + 2 * radius,
        radius=radius,
    )


def window(pixels: Pixels, grid: TileGrid, index: int) -> Pixels:
    """Copy tile `index` with its margins: (window_height, window_width, C)."""
    y, x = grid.origin(index)
    rows = np.arange(y - grid.radius, y - grid.radius + grid.window_height)
    columns = np.arange(x - grid.radius, x - grid.radius + grid.window_width)
    inside = (
        rows[0] >= 0 and columns[0] >= 0 and rows[-1] < grid.height and columns[-1] < grid.width
    )
    if inside:
        return pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].copy()
    rows, columns = rows.clip(0, grid.height - 1), columns.clip(0, grid.width - 1)
    return np.take(np.take(pixels, rows, axis=0), columns, axis=1)


def core(enlarged: Pixels, grid: TileGrid, index: int, scale: int) -> tuple[Pixels, int, int]:
    """What of an enlarged window is the result of tile `index`, and its top and left there."""
    y, x = grid.origin(index)
    height = min(grid.core_height, grid.height - y) * scale
    width = min(grid.core_width, grid.width - x) * scale
    margin = grid.radius * scale
    inner = enlarged[margin : margin + height, margin : margin + width]
    return inner, y * scale, x * scale


def place(output: Pixels, enlarged: Pixels, grid: TileGrid, index: int, scale: int) -> None:
    """Write the core of an enlarged window into `output` (scale*height, scale*width, C)."""
    inner, top, left = core(enlarged, grid, index, scale)
    output[top : top + inner.shape[0], left : left + inner.shape[1]] = inner


def _halves(length: int, radius: int, multiple: int) -> Iterator[tuple[int, int, int, int]]:
    """Cut a side in two overlapping parts: (start, stop) to read, (start, stop) to keep."""
    middle = length // 2 // multiple * multiple
    yield 0, min(length, middle + radius), 0, middle
    yield max(0, middle - radius), length, middle, length


def run_in_parts(
    run: Callable[[Pixels], Pixels],
    windows: Pixels,
    *,
    radius: int,
    scale: int,
    multiple: int = 1,
) -> Pixels:
    """Run a batch of windows; where the device's memory is too small, in ever smaller parts.

    Args:
        run: (N, h, w, C) -> (N, scale*h, scale*w, C).
        windows: (N, h, w, C); `run` raises MemoryError where they do not fit.
    Raises:
        MemoryError: a single window of the smallest size does not fit either.
    """
    try:
        return run(windows)
    except MemoryError:
        n, height, width, channels = windows.shape
        cut = max(height, width) >= 2 * (2 * radius + max(MIN_CORE, multiple))
        if n == 1 and not cut:
            raise
    if n > 1:
        halves = (windows[: n // 2], windows[n // 2 :])
        parts = [
            run_in_parts(run, h, radius=radius, scale=scale, multiple=multiple) for h in halves
        ]
        return np.concatenate(parts)
    output = np.empty((1, height * scale, width * scale, channels), windows.dtype)
    across = width >= height
    for start, stop, keep, until in _halves(width if across else height, radius, multiple):
        part = windows[:, :, start:stop] if across else windows[:, start:stop]
        done = run_in_parts(
            run, np.ascontiguousarray(part), radius=radius, scale=scale, multiple=multiple
        )
        s, e, offset = keep * scale, until * scale, start * scale
        if across:
            output[:, :, s:e] = done[:, :, s - offset : e - offset]
        else:
            output[:, s:e] = done[:, s - offset : e - offset]
    return output
