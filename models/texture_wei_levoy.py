"""Texture by exact search in raster order on a pyramid (Wei and Levoy 2000).

A pixel is the nearest neighbour by what is above and to the left, round the edges, and by its
surroundings in the parent level. Differences from the paper: all windows are compared instead of a
tree of them; one parent level is looked at, not all; finer levels start from their parents instead
of noise; and at each level the pixels within the window's radius of an edge are gone over twice
with whole windows, as the paper does for holes, for raster order leaves the joint visible.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.texture_pixels import (
    Bytes,
    Indices,
    Levels,
    Mask,
    Progress,
    Texture,
    check_size,
    check_window,
    children,
    compiled,
    copied,
    halved,
    in_lanes,
    least,
    level_sizes,
    no_window,
    usable_mask,
    whole_windows,
)

_CLOSING_PASSES = 2
_CHECKED_EVERY = 16  # levels between two looks at whether a block of windows is out of the race


@dataclass(frozen=True, kw_only=True)
class WeiLevoyConfig:
    """How to search.

    window: odd side of the neighbourhood, pixels; the parent level's is about half of it.
    levels: of the pyramid; fewer where the exemplar has no whole window at the coarsest.

    Raises:
        ValueError: a value is out of its range.
    """

    window: int = 9
    levels: int = 3

    def __post_init__(self) -> None:
        check_window(self.window)
        if self.levels < 1:
            raise ValueError(f"levels must be at least 1, got {self.levels}")


class _Level(NamedTuple):
    """One level of the exemplar's pyramid, and the neighbourhood that is compared.

    pixels: (H, W, C). middles: (n, 2) of the candidate windows, in raster order. numbers: (H, W)
    of the candidate there, -1 for none. features: their neighbourhoods, as `in_lanes` lays them
    out. near and above: (m, 2) offsets of the neighbours in this level and in its parent; the
    coarsest has none of the latter.
    """

    pixels: Levels
    middles: Indices
    numbers: Indices
    features: Levels
    near: Indices
    above: Indices


def causal_offsets(window: int) -> Indices:
    """(n, 2) of the window's pixels that come before its middle in raster order."""
    offsets = np.argwhere(np.ones((window, window), np.bool_)) - window // 2
    return offsets[: window * window // 2].astype(np.int32)


def whole_offsets(window: int) -> Indices:
    """(n, 2) of the window's pixels but for its middle."""
    before = causal_offsets(window)
    return np.concatenate([before, -before[::-1]])


def parent_offsets(window: int) -> Indices:
    """(n, 2) of the parent level's neighbours: a square of half the radius, the middle too."""
    radius = window // 4
    return (np.argwhere(np.ones([2 * radius + 1] * 2, np.bool_)) - radius).astype(np.int32)


@compiled
def _gather(
    image: Levels, y: int, x: int, offsets: Indices, feature: NDArray[np.int16], start: int
) -> int:
    """Write the levels at offsets from (y, x), round the edges; where the next ones would go."""
    height, width, channels = image.shape
    for k in range(len(offsets)):
        i, j = (y + offsets[k, 0]) % height, (x + offsets[k, 1]) % width
        for c in range(channels):
            feature[start] = image[i, j, c]
            start += 1
    return start


@compiled
def _nearest(features: Levels, feature: NDArray[np.int16], guess: int) -> int:
    """The number of the nearest feature, the lowest of equals.

    Args:
        features: (blocks, d, LANES), as `in_lanes` lays them out. feature: (d,).
        guess: a likely one: most other blocks are then left early.
    """
    blocks, depth, lanes = features.shape
    best, found = np.int32(2147483647), -1
    sums = np.empty(lanes, np.int32)
    for turn in range(-1, blocks):
        block = guess // lanes if turn < 0 else turn
        sums[:] = 0
        for d in range(depth):
            level = np.int32(feature[d])
            for lane in range(lanes):
                difference = np.int32(np.int32(features[block, d, lane]) - level)
                sums[lane] += np.int32(difference * difference)
            if d % _CHECKED_EVERY == _CHECKED_EVERY - 1 and least(sums) > best:
                break
        for lane in range(lanes):
            number = block * lanes + lane
            if sums[lane] < best or (sums[lane] == best and number < found):
                best, found = sums[lane], number
    return found


@compiled
def _fill_row(
    level: _Level, parent: Levels, image: Levels, sources: Indices, y: int, columns: Indices
) -> None:
    """Replace pixels of one row of the output by their nearest neighbours.

    Args:
        parent: the parent level's finished output, any at the coarsest level.
        image: (H, W, C), sources: (H, W, 2); updated.
    """
    feature = np.empty(level.features.shape[1], np.int16)
    width = level.numbers.shape[1]
    for x in columns:
        end = _gather(image, y, x, level.near, feature, 0)
        _gather(parent, y // 2, x // 2, level.above, feature, end)
        row, column = sources[y, x - 1, 0], sources[y, x - 1, 1] + 1
        guess = level.numbers[row, column] if column < width else -1
        number = _nearest(level.features, feature, max(guess, 0))
        sources[y, x] = level.middles[number]
        image[y, x] = level.pixels[sources[y, x, 0], sources[y, x, 1]]


def _neighborhoods(image: Levels, middles: Indices, offsets: Indices) -> Levels:
    """The levels at the offsets from each middle, none outside the image: (n, m * C)."""
    rows = middles[:, None, 0] + offsets[None, :, 0]
    columns = middles[:, None, 1] + offsets[None, :, 1]
    levels: Levels = image[rows, columns].reshape(len(middles), -1)
    return levels


def _candidates(valid: Mask, parent: Mask | None, window: int) -> Mask:
    """Where a whole window is usable, and that of the parent level."""
    candidate = whole_windows(valid, window)
    if parent is not None:
        inside = whole_windows(parent, 2 * (window // 4) + 1).repeat(2, 0).repeat(2, 1)
        height, width = inside.shape
        candidate[:height, :width] &= inside
        candidate[height:], candidate[:, width:] = False, False
    return candidate


def _level(pixels: Levels, candidate: Mask, parent: Levels | None, near: Indices) -> _Level:
    """One level's candidates with their features."""
    above = parent_offsets(int(near.max()) * 2 + 1)
    middles = np.argwhere(candidate).astype(np.int32)
    features = _neighborhoods(pixels, middles, near)
    if parent is None:
        above = above[:0]
    else:
        seen_above = _neighborhoods(parent, middles // 2, above)
        features = np.concatenate([features, seen_above], axis=1)
    numbers = np.full(candidate.shape, -1, np.int32)
    numbers[candidate] = np.arange(len(middles))
    return _Level(pixels, middles, numbers, in_lanes(features), near, above)


def _pyramid(exemplar: Bytes, usable: Mask, config: WeiLevoyConfig) -> list[tuple[_Level, _Level]]:
    """The exemplar's levels, the coarsest first, with causal and with whole neighbourhoods.

    Raises:
        ValueError: not even the finest has a whole window of usable pixels.
    """
    images = [(exemplar.astype(np.int16), usable)]
    while len(images) < config.levels and min(images[-1][1].shape) > 1:
        images.append(halved(*images[-1]))
    images = [image for image in images if whole_windows(image[1], config.window).any()]
    if not images:
        raise no_window(config.window, usable)
    levels: list[tuple[_Level, _Level]] = []
    for n, (pixels, valid) in reversed(list(enumerate(images))):
        parent, known = images[n + 1] if n + 1 < len(images) else (None, None)
        candidate = _candidates(valid, known, config.window)
        causal, whole = (
            _level(pixels, candidate, parent, offsets(config.window))
            for offsets in (causal_offsets, whole_offsets)
        )
        levels.append((causal, whole))
    return levels


def _close(level: _Level, parent: Levels, image: Levels, sources: Indices) -> None:
    """Go over the pixels near the edges with whole neighbourhoods, so that the edges join."""
    height, width = sources.shape[:2]
    radius = int(level.near.max())
    every = np.arange(width, dtype=np.int32)
    edges = every[(every < radius) | (every >= width - radius)]
    for _ in range(_CLOSING_PASSES):
        for y in range(height):
            inside = radius <= y < height - radius
            _fill_row(level, parent, image, sources, y, edges if inside else every)


def wei_levoy(
    exemplar: Bytes,
    size: tuple[int, int],
    config: WeiLevoyConfig,
    *,
    generator: np.random.Generator,
    valid: Mask | None = None,
    progress: Progress | None = None,
) -> Texture:
    """Synthesise a texture that tiles, by exact nearest neighbours in raster order.

    The time is that of (pixels out) x (windows in) x (neighbours): 128 to 256 px is about the most.

    Args:
        exemplar: (H, W, 1 or 3) uint8. size: (height, width) of the output.
        valid: (H, W) the exemplar's usable pixels; all where it is None.
    Raises:
        ValueError: no whole window of usable pixels, or an argument of another shape or type.
    """
    check_size(size)
    usable = usable_mask(exemplar, valid)
    levels = _pyramid(exemplar, usable, config)
    sides = level_sizes(size, len(levels))
    pixels_in_all, done = sum(height * width for height, width in sides), 0
    middles, parent = levels[0][0].middles, levels[0][0].pixels
    sources = middles[generator.integers(len(middles), size=sides[0])]
    for (causal, whole), (height, width) in zip(levels, sides, strict=True):
        if done:
            sources = children(sources, (height, width))
        image = causal.pixels[sources[..., 0], sources[..., 1]]
        for y in range(height):
            _fill_row(causal, parent, image, sources, y, np.arange(width, dtype=np.int32))
            done += width
            if progress:
                progress(done / pixels_in_all)
        _close(whole, parent, image, sources)
        parent = image
    return copied(exemplar, sources)
