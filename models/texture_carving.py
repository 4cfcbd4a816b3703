"""Take one row or column out of a texture that tiles, where it is missed least.

A level whose side is odd has one row less than twice its parent's. Cutting it straight at the edge
would leave a joint to be seen; a path of least difference is lost among the texture's own edges
(the path of Avidan and Shamir 2007, "Seam carving for content-aware image resizing").
"""

import numpy as np
from numpy.typing import NDArray

from models.texture_pixels import Indices, Levels


def _cheapest_path(energy: NDArray[np.int64]) -> NDArray[np.int64]:
    """A row for each column, neighbours at most 1 apart, the last and the first, too: (W,)."""
    height, width = energy.shape
    never = int(energy.sum()) + 1
    start = int(energy.sum(axis=1).argmin())
    costs, steps = np.full(height, never), np.zeros((width, height), np.int64)
    costs[start] = energy[start, 0]
    for x in range(1, width):
        padded = np.pad(costs, 1, constant_values=never)
        three = np.stack([padded[:-2], padded[1:-1], padded[2:]])
        steps[x] = three.argmin(axis=0) - 1
        costs = np.minimum(three.min(axis=0) + energy[:, x], never)
    low = max(start - 1, 0)
    path = np.empty(width, np.int64)
    path[-1] = low + int(costs[low : start + 2].argmin())
    for x in range(width - 1, 0, -1):
        path[x - 1] = path[x] + steps[x, path[x]]
    return path


def carve(pixels: Levels, sources: Indices, size: tuple[int, int]) -> Indices:
    """Leave out at most one row and one column along paths of least difference.

    Args:
        pixels: (H, W, C), of these sources: (H, W). size: each side H, W or one less.
    Returns:
        The sources, of that size.
    """
    if sources.shape[0] > size[0]:
        jumps = np.roll(pixels, 1, axis=0).astype(np.int64) - np.roll(pixels, -1, axis=0)
        path = _cheapest_path(np.abs(jumps).sum(axis=2))
        kept = np.arange(len(pixels))[None, :] != path[:, None]
        columns = pixels.swapaxes(0, 1)[kept].reshape(len(path), -1, pixels.shape[2])
        pixels = columns.swapaxes(0, 1)
        sources = sources.T[kept].reshape(len(path), -1).T
    if sources.shape[1] > size[1]:
        return carve(pixels.swapaxes(0, 1), sources.T, size[::-1]).T
    return sources
