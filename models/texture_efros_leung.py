"""Texture by non-parametric sampling (Efros and Leung 1999): exact, one pixel at a time.

Differences from the paper: always the pixel with the most known neighbours is filled next, where
the paper fills shell by shell; there is no ceiling on the error of the best match; and the output
can wrap round, so that it tiles.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.texture_pixels import (
    Bytes,
    Indices,
    Mask,
    Progress,
    Texture,
    check_size,
    check_window,
    compiled,
    copied,
    no_window,
    usable_mask,
    whole_windows,
)

SIGMAS_PER_WINDOW = 6.4
_WEIGHT_UNIT = 65536  # whole-number weights make every sum exact in float64
_SEED_SIDE = 3
_STEPS = 100  # how often progress is told
_CHECKED_EVERY = 8  # neighbours between two looks at whether a row of windows is out of the race


@dataclass(frozen=True, kw_only=True)
class EfrosLeungConfig:
    """How to grow.

    window: odd side of the neighbourhood, pixels: about the largest feature of the texture.
    tolerance: any window within (1 + tolerance) of the best distance may be chosen.
    tileable: neighbourhoods wrap round the output's edges.

    Raises:
        ValueError: a value is out of its range.
    """

    window: int = 11
    tolerance: float = 0.1
    tileable: bool = False

    def __post_init__(self) -> None:
        check_window(self.window)
        if not 0 <= self.tolerance < math.inf:
            raise ValueError(f"tolerance must be at least 0, got {self.tolerance}")


def neighborhood_weights(window: int) -> NDArray[np.float64]:
    """The Gaussian, sigma = window / 6.4, in whole 1/65536: (window, window), 65536 amid."""
    distance = np.arange(window) - window // 2
    row = np.exp(-0.5 * (distance / (window / SIGMAS_PER_WINDOW)) ** 2)
    weights: NDArray[np.float64] = np.rint(_WEIGHT_UNIT * np.outer(row, row))
    return weights


class _Search(NamedTuple):
    """planes: (C, H, W) the exemplar. free: (rows, columns) of whole windows, 0 for a candidate and
    infinite for none. offsets: (n, 2) of the window's pixels from its middle, the weightiest
    first. weights: (n,).
    """

    planes: NDArray[np.float64]
    free: NDArray[np.float64]
    offsets: Indices
    weights: NDArray[np.float64]
    tolerance: float
    wraps: bool


@compiled
def _neighbor(
    shape: tuple[int, int], y: int, x: int, offset: Indices, wraps: bool
) -> tuple[int, int, bool]:
    """The pixel at an offset, and whether it is one of the output."""
    i, j = y + offset[0], x + offset[1]
    if wraps:
        return i % shape[0], j % shape[1], True
    return i, j, 0 <= i < shape[0] and 0 <= j < shape[1]


@compiled
def _add(
    planes: NDArray[np.float64],
    known: NDArray[np.float64],
    y: int,
    left: int,
    sums: NDArray[np.float64],
) -> None:
    """Add what one known neighbour adds to the distances of a row of windows."""
    weight = known[0]
    for c in range(planes.shape[0]):
        line = planes[c, y, left : left + len(sums)]
        level = known[1 + c]
        for x in range(len(sums)):
            difference = line[x] - level
            sums[x] += weight * (difference * difference)


@compiled
def _distances(
    search: _Search,
    known: NDArray[np.float64],
    places: Indices,
    first_row: int,
    distances: NDArray[np.float64],
) -> float:
    """Weighted squared distance of every window to the known neighbours; infinite if too far.

    Row by row of windows, from a likely one on, so that hopeless rows are left early: none of
    their windows can be chosen any more, and the choice is that of the full search.

    Args:
        known: (n, 1 + C) weight and color, the weightiest first. places: (n, 2) in the window.
        distances: (rows, columns), written.
    Returns:
        The least distance.
    """
    rows = len(search.free)
    slack = 1 + search.tolerance
    best = np.inf
    for turn in range(rows):
        y = (first_row + turn) % rows
        sums = distances[y]
        sums[:] = search.free[y]
        if not np.isfinite(sums.min()):
            continue
        for n in range(known.shape[0]):
            _add(search.planes, known[n], y + places[n, 0], places[n, 1], sums)
            if n % _CHECKED_EVERY == _CHECKED_EVERY - 1 and sums.min() > best * slack:
                sums[:] = np.inf
                break
        best = min(best, sums.min())
    return best


@compiled
def _chosen(distances: NDArray[np.float64], limit: float, draw: float) -> int:
    """The flat index of the draw-th (0..1) of all distances within the limit, in raster order."""
    flat = distances.ravel()
    count = 0
    for i in range(flat.size):
        if flat[i] <= limit:
            count += 1
    turn = min(int(draw * count), count - 1)
    for i in range(flat.size):
        if flat[i] <= limit:
            if turn == 0:
                return i
            turn -= 1
    return -1


@compiled
def _next_pixel(counts: NDArray[np.int64], order: NDArray[np.int64]) -> tuple[int, int]:
    """The unfilled pixel with the most known neighbours; of equals, the one of largest order."""
    y, x = 0, 0
    for i in range(counts.shape[0]):
        for j in range(counts.shape[1]):
            more = counts[i, j] - counts[y, x]
            if more > 0 or (more == 0 and order[i, j] > order[y, x]):
                y, x = i, j
    return y, x


@compiled
def _fill(
    search: _Search,
    order: NDArray[np.int64],
    draws: NDArray[np.float64],
    counts: NDArray[np.int64],
    sources: Indices,
    steps: int,
) -> None:
    """Fill the next pixels, those with the most known neighbours first.

    Args:
        order: (H, W) who goes first among equals: the largest. draws: (H, W) 0..1.
        counts: (H, W) known neighbours, -1 for a filled pixel; updated.
        sources: (H, W, 2) row and column in the exemplar, -1 for none; updated.
    """
    planes, offsets = search.planes, search.offsets
    radius = offsets.max()
    distances = np.empty(search.free.shape)
    across = search.free.shape[1]
    known = np.empty((len(offsets), 1 + planes.shape[0]))
    places = np.empty((len(offsets), 2), np.int32)
    for _ in range(steps):
        y, x = _next_pixel(counts, order)
        n = 0
        first_row = 0
        for k in range(len(offsets)):
            i, j, inside = _neighbor(counts.shape, y, x, offsets[k], search.wraps)
            if inside and sources[i, j, 0] >= 0:
                if n == 0:
                    first_row = max(sources[i, j, 0] - offsets[k, 0] - radius, 0)
                known[n, 0] = search.weights[k]
                known[n, 1:] = planes[:, sources[i, j, 0], sources[i, j, 1]]
                places[n] = offsets[k] + radius
                n += 1
        best = _distances(search, known[:n], places[:n], first_row, distances)
        index = _chosen(distances, best * (1 + search.tolerance), draws[y, x])
        sources[y, x, 0] = index // across + radius
        sources[y, x, 1] = index % across + radius
        _count(counts, y, x, offsets, search.wraps)


@compiled
def _count(counts: NDArray[np.int64], y: int, x: int, offsets: Indices, wraps: bool) -> None:
    """Mark a pixel as filled, and tell its neighbours."""
    counts[y, x] = -1
    for k in range(len(offsets)):
        i, j, inside = _neighbor(counts.shape, y, x, offsets[k], wraps)
        if inside and counts[i, j] >= 0:
            counts[i, j] += 1


def _search(exemplar: Bytes, usable: Mask, config: EfrosLeungConfig) -> _Search:
    """Candidates, and the neighbourhood's offsets and weights.

    Raises:
        ValueError: no whole window of usable pixels.
    """
    candidates = whole_windows(usable, config.window)
    if not candidates.any():
        raise no_window(config.window, usable)
    radius = config.window // 2
    weights = neighborhood_weights(config.window)
    offsets = (np.argwhere(weights >= 0) - radius).astype(np.int32)
    heaviest = np.argsort(-weights.ravel(), kind="stable")[1:]  # all but the pixel sought
    return _Search(
        planes=np.ascontiguousarray(exemplar.transpose(2, 0, 1), np.float64),
        free=np.where(candidates[radius:-radius, radius:-radius], 0.0, np.inf),
        offsets=offsets[heaviest],
        weights=weights.ravel()[heaviest],
        tolerance=float(config.tolerance),
        wraps=config.tileable,
    )


def _planted(usable: Mask, size: tuple[int, int], generator: np.random.Generator) -> Indices:
    """Sources with a random 3x3 patch of the exemplar amid the output, and -1 elsewhere."""
    rows, columns = np.nonzero(whole_windows(usable, _SEED_SIDE))
    pick = int(generator.integers(len(rows)))
    side_y, side_x = (min(_SEED_SIDE, side) for side in size)
    top, left = (size[0] - side_y) // 2, (size[1] - side_x) // 2
    sources = np.full((*size, 2), -1, np.int32)
    patch = sources[top : top + side_y, left : left + side_x]
    patch[..., 0] = rows[pick] - 1 + np.arange(side_y)[:, None]
    patch[..., 1] = columns[pick] - 1 + np.arange(side_x)[None, :]
    return sources


def efros_leung(
    exemplar: Bytes,
    size: tuple[int, int],
    config: EfrosLeungConfig,
    *,
    generator: np.random.Generator,
    valid: Mask | None = None,
    progress: Progress | None = None,
) -> Texture:
    """Grow a texture from a 3x3 seed of the exemplar, pixel by pixel.

    The time is that of (pixels out) x (windows in) x (pixels a window): up to about 128 x 128.

    Args:
        exemplar: (H, W, 1 or 3) uint8. size: (height, width) of the output.
        valid: (H, W) the exemplar's usable pixels; all where it is None.
    Raises:
        ValueError: no whole window of usable pixels, or an argument of another shape or type.
    """
    check_size(size)
    usable = usable_mask(exemplar, valid)
    search = _search(exemplar, usable, config)
    sources = _planted(usable, size, generator)
    counts = np.zeros(size, np.int64)
    planted = np.argwhere(sources[..., 0] >= 0)
    for y, x in planted:
        _count(counts, int(y), int(x), search.offsets, config.tileable)
    order = generator.permutation(counts.size).reshape(size)
    draws = generator.random(size)
    ends = np.linspace(len(planted), counts.size, _STEPS + 1).astype(int)
    for start, end in pairwise(ends):
        _fill(search, order, draws, counts, sources, int(end - start))
        if progress:
            progress(int(end) / counts.size)
    return copied(exemplar, sources)
