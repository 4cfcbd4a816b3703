"""Several exemplars in one image, level by level, with the windows that look alike in each."""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from models.texture_pixels import (
    Bytes,
    Indices,
    Levels,
    Mask,
    compiled,
    halved,
    in_lanes,
    least,
    whole_windows,
)

COMPONENTS = 20
_FARTHEST = 40000  # of two windows' features: the square fits 31 bits
_NEVER = 2**31 - 1
_CHECKED_EVERY = 4  # components between two looks at whether a block of windows is too far
_MOST_FITTED = 16384  # windows that the principal components are fitted to
_MOST_SEARCHED = 16384  # windows among which alike ones are sought; evenly spread beyond that
_CHUNK = 4096


class Atlas(NamedTuple):
    """Exemplars below one another at one level of the pyramid; a pixel's number is y * W + x.

    pixels: (H, W, C). usable: (H, W) middles of whole windows. labels: (H, W), 0 without a guide.
    tops: (n,) the first row of each exemplar.
    """

    pixels: Levels
    usable: Mask
    labels: Indices
    tops: Indices


def _stacked(
    images: Sequence[Levels], valid: Sequence[Mask], labels: Sequence[Indices], window: int
) -> Atlas:
    """Put exemplars below one another; beside the narrower ones nothing is usable."""
    heights = [mask.shape[0] for mask in valid]
    tops = np.cumsum([0, *heights])
    height, width = int(tops[-1]), max(mask.shape[1] for mask in valid)
    atlas = Atlas(
        pixels=np.zeros((height, width, images[0].shape[2]), np.int16),
        usable=np.zeros((height, width), np.bool_),
        labels=np.zeros((height, width), np.int32),
        tops=tops[:-1].astype(np.int32),
    )
    for top, image, mask, names in zip(atlas.tops, images, valid, labels, strict=True):
        place = slice(top, top + mask.shape[0]), slice(0, mask.shape[1])
        atlas.pixels[place] = image
        atlas.usable[place] = whole_windows(mask, window)
        atlas.labels[place] = names
    return atlas


def atlas_levels(
    exemplars: Sequence[Bytes],
    valid: Sequence[Mask],
    labels: Sequence[Indices],
    *,
    window: int,
    levels: int,
) -> list[Atlas]:
    """The Gaussian pyramid of all exemplars, the finest first: `levels` at most.

    Args:
        exemplars: (H, W, C) each; valid: (H, W) usable pixels; labels: (H, W).
    """
    images = [exemplar.astype(np.int16) for exemplar in exemplars]
    masks, names = list(valid), list(labels)
    atlases = [_stacked(images, masks, names, window)]
    while len(atlases) < levels and min(min(mask.shape) for mask in masks) > 1:
        names = [
            name[: mask.shape[0] // 2 * 2 : 2, : mask.shape[1] // 2 * 2 : 2]
            for name, mask in zip(names, masks, strict=True)
        ]
        smaller = [halved(image, mask) for image, mask in zip(images, masks, strict=True)]
        images, masks = [image for image, _ in smaller], [mask for _, mask in smaller]
        atlases.append(_stacked(images, masks, names, window))
    return atlases


def window_features(atlas: Atlas, window: int) -> NDArray[np.int16]:
    """The windows' first 20 principal components, the foremost first: (n, at most 20).

    Rows are the usable windows in raster order. Components are rounded, so that they are the same
    whatever the order of sums, in units in which any squared distance fits 31 bits.
    """
    radius = window // 2
    rows, columns = np.nonzero(atlas.usable)
    view = sliding_window_view(atlas.pixels, (window, window), axis=(0, 1))

    def windows(picked: slice) -> NDArray[np.float64]:
        found = view[rows[picked] - radius, columns[picked] - radius]
        return found.reshape(len(found), -1).astype(np.float64)

    sample = windows(slice(None, None, -(-len(rows) // _MOST_FITTED)))
    mean = sample.mean(axis=0)
    sample -= mean
    _, axes = np.linalg.eigh(sample.T @ sample)
    axes = axes[:, : -COMPONENTS - 1 : -1] * (_FARTHEST / (255 * math.sqrt(len(mean))))
    features = np.empty((len(rows), axes.shape[1]), np.int16)
    for start in range(0, len(rows), _CHUNK):
        features[start : start + _CHUNK] = np.rint(
            (windows(slice(start, start + _CHUNK)) - mean) @ axes
        )
    return features


@compiled
def _visit(block: Levels, feature: NDArray[np.int16], sums: NDArray[np.int32], limit: int) -> bool:
    """Write a block's squared distances; False if it was left, all of them being too far."""
    for lane in range(len(sums)):
        sums[lane] = 0
    for d in range(len(feature)):
        level = np.int32(feature[d])
        for lane in range(len(sums)):
            difference = np.int32(np.int32(block[d, lane]) - level)
            sums[lane] += np.int32(difference * difference)
        if d % _CHECKED_EVERY == _CHECKED_EVERY - 1 and least(sums) >= limit:
            return False
    return least(sums) < limit


@compiled
def _insert(distances: NDArray[np.int64], found: Indices, distance: int, number: int) -> None:
    """Put a window into the sorted list of the nearest, the farthest of which is dropped."""
    place = len(found) - 1
    while place > 0 and distances[place - 1] > distance:
        distances[place], found[place] = distances[place - 1], found[place - 1]
        place -= 1
    distances[place], found[place] = distance, number


@compiled
def _search(
    lanes: Levels, count: int, stride: int, features: NDArray[np.int16], found: Indices, start: int
) -> None:
    """Find the k nearest of the searched windows, but for the window itself.

    All are sorted by the first component, so the search goes outwards from where it is the
    window's own, and ends on a side when that component alone is too far.

    Args:
        lanes: each stride-th window's features, as `in_lanes` lays them out; count: how many.
        features: (m, d) of all windows from the start-th on.
        found: (m, k) of the searched windows, the nearest first; written; -1 where there are none.
    """
    blocks, _, side = lanes.shape
    sums = np.empty(side, np.int32)
    distances = np.empty(found.shape[1], np.int64)
    for i in range(len(features)):
        distances[:] = _NEVER
        found[i] = -1
        middle = min((start + i) // stride // side, blocks - 1)
        below, above = True, True
        for turn in range(2 * blocks):
            up = turn % 2 == 1
            block = middle + (turn + 1) // 2 if up else middle - turn // 2
            if not (above if up else below) or not 0 <= block < blocks:
                continue
            gap = np.int64(lanes[block, 0, 0 if up else side - 1]) - np.int64(features[i, 0])
            if block != middle and gap * gap > distances[-1]:
                above, below = above and not up, below and up
                continue
            if _visit(lanes[block], features[i], sums, distances[-1]):
                for lane in range(side):
                    number = block * side + lane
                    new = number < count and number * stride != start + i
                    if new and sums[lane] < distances[-1]:
                        _insert(distances, found[i], sums[lane], number)
            if not (above or below):
                break


def similar_windows(atlas: Atlas, *, window: int, k: int, threads: int = 1) -> Indices:
    """For every usable window itself and its k - 1 nearest others, by principal components.

    Exact among up to 16384 windows, and among as many spread evenly where there are more. Windows
    of equal components count as one. The similarity sets of Tong et al. 2002.

    Returns:
        (H, W, k) pixel numbers, the nearest first; -1 where there are no more.
    """
    numbers = np.flatnonzero(atlas.usable).astype(np.int32)
    similar = np.full((atlas.usable.size, k), -1, np.int32)
    similar[numbers, 0] = numbers
    if k > 1:
        distinct, first, inverse = np.unique(
            window_features(atlas, window), axis=0, return_index=True, return_inverse=True
        )
        stride = -(-len(distinct) // _MOST_SEARCHED)
        lanes, count = in_lanes(distinct[::stride]), len(distinct[::stride])
        found = np.empty((len(distinct), k - 1), np.int32)

        def search(start: int) -> None:
            part = slice(start, start + _CHUNK)
            _search(lanes, count, stride, distinct[part], found[part], start)

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(search, range(0, len(distinct), _CHUNK)))
        others = np.where(found >= 0, numbers[first[np.maximum(found, 0) * stride]], -1)
        similar[numbers, 1:] = others[inverse.ravel()]
    return similar.reshape(*atlas.usable.shape, k)
