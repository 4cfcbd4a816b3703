"""What the texture methods that copy exemplar pixels share: their result, windows and pyramid."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeAlias, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter

Bytes: TypeAlias = NDArray[np.uint8]
Levels: TypeAlias = NDArray[np.int16]
"""(H, W, C) levels 0..255, signed so that they can be subtracted: sums of squares stay exact."""
Mask: TypeAlias = NDArray[np.bool_]
Indices: TypeAlias = NDArray[np.int32]
Progress: TypeAlias = Callable[[float], None]
"""Told the fraction that is done, 0..1; what it raises stops the synthesis."""

MAX_WINDOW = 63
"""Widest window: its sum of squared differences must fit 32 bits."""

LANES = 32

_P = ParamSpec("_P")
_R = TypeVar("_R")


def compiled(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compile at the first call, keep the machine code on disk, and run without the GIL.

    No fast-math: the same operations in the same order give the same bytes on every machine.
    """
    machine_code: Callable[_P, _R] = numba.njit(cache=True, nogil=True)(function)
    return machine_code


@compiled
def least(values: Indices) -> int:
    """The minimum; the loop becomes vector instructions, which NumPy's method does not."""
    smallest: int = values[0]
    for i in range(len(values)):
        smallest = min(smallest, values[i])
    return smallest


@dataclass(frozen=True, kw_only=True, eq=False)
class Texture:
    """A synthesised image, and where each of its pixels was copied from.

    pixels: (H, W, C) uint8.
    sources: (H, W, 3) int32: the exemplar's number, row and column; -1 where a pixel was given.
    """

    pixels: Bytes
    sources: Indices


def copied(exemplar: Bytes, sources: Indices) -> Texture:
    """The texture that copies these pixels, (H, W, 2) row and column, of the only exemplar."""
    number = np.zeros((*sources.shape[:2], 1), np.int32)
    return Texture(
        pixels=exemplar[sources[..., 0], sources[..., 1]],
        sources=np.concatenate([number, sources], axis=2),
    )


def check_window(window: int) -> None:
    """Raise a ValueError unless the window's side has a middle and is neither 1 nor too wide."""
    if not 3 <= window <= MAX_WINDOW or window % 2 == 0:
        raise ValueError(f"window must be odd, 3 to {MAX_WINDOW} pixels, got {window}")


def check_size(size: tuple[int, int]) -> None:
    """Raise a ValueError unless (height, width) are at least 1."""
    if min(size) < 1:
        raise ValueError(f"an output must be at least 1x1, got {size[1]}x{size[0]}")


def check_pixels(pixels: Bytes, name: str = "an exemplar") -> None:
    """Raise a ValueError unless this is (H, W, 1 or 3) uint8."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
        raise ValueError(f"{name} must be (H, W, 1 or 3) uint8, got {pixels.shape} {pixels.dtype}")


def usable_mask(exemplar: Bytes, valid: Mask | None) -> Mask:
    """The mask of usable pixels: all of them where none is given.

    Raises:
        ValueError: the exemplar is not (H, W, 1 or 3) uint8, or the mask not (H, W) bool.
    """
    check_pixels(exemplar)
    if valid is None:
        return np.ones(exemplar.shape[:2], np.bool_)
    if valid.dtype != np.bool_ or valid.shape != exemplar.shape[:2]:
        wanted = exemplar.shape[:2]
        raise ValueError(f"valid must be {wanted} bool, got {valid.shape} {valid.dtype}")
    return valid


def whole_windows(valid: Mask, window: int) -> Mask:
    """Where a window of this side lies inside the image and on usable pixels alone, by its middle.

    Args:
        valid: (H, W); window: an odd side.
    Returns:
        (H, W) bool.
    """
    whole = minimum_filter(valid.astype(np.uint8), size=window, mode="constant", cval=0)
    return np.asarray(whole, np.bool_)


def no_window(window: int, valid: Mask, place: str = "the exemplar") -> ValueError:
    """The error of an exemplar that has no whole window."""
    height, width = valid.shape
    holes = "" if valid.all() else f" with {int(valid.sum())} usable pixels"
    return ValueError(
        f"{place} must hold a whole {window}x{window} window of usable pixels,"
        f" got {width}x{height}{holes}"
    )


def _blurred_halves(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Filter rows by 1 3 3 1 and keep every second one: (2n, ...) -> (n, ...); zeros outside."""
    ends = [(1, 1)] + [(0, 0)] * (values.ndim - 1)
    padded = np.pad(values, ends)
    inner = 3 * (padded[1:-1:2] + padded[2::2])
    total: NDArray[np.int64] = padded[:-2:2] + inner + padded[3::2]
    return total


def halved(levels: Levels, valid: Mask) -> tuple[Levels, Mask]:
    """The next level of a Gaussian pyramid: pixel (y, x) lies amid the four from (2y, 2x) on.

    The separable kernel 1 3 3 1 of Burt and Adelson's family sees usable pixels alone, in whole
    numbers. An odd last row or column is left out.

    Args:
        levels: (H, W, C), at least 2 x 2; valid: (H, W).
    Returns:
        (H//2, W//2, C) rounded levels, and where all four pixels are usable.
    """
    height, width = (side // 2 * 2 for side in valid.shape)
    known = valid[:height, :width]
    weights = known.astype(np.int64)[..., None]
    sums = np.concatenate([weights * levels[:height, :width], weights], axis=2)
    sums = _blurred_halves(_blurred_halves(sums).swapaxes(0, 1)).swapaxes(0, 1)
    weight = np.maximum(sums[..., -1:], 1)
    small = ((2 * sums[..., :-1] + weight) // (2 * weight)).astype(np.int16)
    corners = known[::2, ::2] & known[1::2, ::2] & known[::2, 1::2] & known[1::2, 1::2]
    return np.ascontiguousarray(small), corners


def in_lanes(features: Levels) -> Levels:
    """Lay (n, d) out as (blocks, d, LANES), so that windows are compared side by side.

    The last is repeated: a search that prefers the lower number of equals never finds the copies.
    """
    blocks = -(-len(features) // LANES)
    filled = features[np.minimum(np.arange(blocks * LANES), len(features) - 1)]
    return np.ascontiguousarray(filled.reshape(blocks, LANES, -1).transpose(0, 2, 1))


def level_sizes(size: tuple[int, int], levels: int) -> list[tuple[int, int]]:
    """(height, width) of an output's levels, the coarsest first; halves are rounded up."""
    sizes = [size]
    while len(sizes) < levels:
        height, width = sizes[-1]
        sizes.append((-(-height // 2), -(-width // 2)))
    return sizes[::-1]


def children(sources: Indices, size: tuple[int, int]) -> Indices:
    """The sources of the next finer level: pixel (y, x) takes the like child of its parent's.

    Args:
        sources: (h, w, 2) rows and columns. size: (H, W), at most twice as many.
    Returns:
        (H, W, 2) int32.
    """
    finer = 2 * sources.repeat(2, axis=0).repeat(2, axis=1)
    finer[1::2, :, 0] += 1
    finer[:, 1::2, 1] += 1
    return np.ascontiguousarray(finer[: size[0], : size[1]])
