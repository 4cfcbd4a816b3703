"""Laws of tiling: tiles cover an image once, and together they are the image run whole."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.tiling import CORE_STEP, MIN_CORE, TileGrid, place, run_in_parts, tile_grid, window

U8 = NDArray[np.uint8]

sides = st.integers(1, 90)
tiles = st.integers(1, 70)
radii = st.integers(0, 14)
seeds = st.integers(0, 2**32 - 1)


def pixels(seed: int, *shape: int) -> U8:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def repeated(image: U8, scale: int) -> U8:
    """Nearest enlargement of (..., H, W, C)."""
    enlarged: U8 = image.repeat(scale, axis=-3).repeat(scale, axis=-2)
    return enlarged


def blurred(windows: U8, radius: int, scale: int) -> U8:
    """Box blur that sees exactly `radius` pixels, edges repeated, then nearest enlargement."""
    n, height, width, channels = windows.shape
    margins = ((0, 0), (radius, radius), (radius, radius), (0, 0))
    padded = np.pad(windows.astype(np.int64), margins, mode="edge")
    total = np.zeros((n, height, width, channels), np.int64)
    for dy in range(2 * radius + 1):
        for dx in range(2 * radius + 1):
            # weighted, so that a shifted or mirrored result is another one
            total += (1 + dy + 3 * dx) * padded[:, dy : dy + height, dx : dx + width]
    return repeated((total % 251).astype(np.uint8), scale)


class Device:
    """Runs `blurred` where the batch has at most `room` pixels, and remembers what it ran."""

    def __init__(self, room: int, radius: int, scale: int) -> None:
        self.room, self.radius, self.scale = room, radius, scale
        self.ran: list[tuple[int, ...]] = []

    def __call__(self, windows: U8) -> U8:
        n, height, width, _ = windows.shape
        if n * height * width > self.room:
            raise MemoryError
        self.ran.append(windows.shape)
        return blurred(windows, self.radius, self.scale)


def core_of(grid: TileGrid, index: int) -> tuple[slice, slice]:
    y, x = grid.origin(index)
    return slice(y, y + grid.core_height), slice(x, x + grid.core_width)


@given(height=sides, width=sides, tile=tiles, radius=radii)
def test_cores_cover_every_pixel_exactly_once(
    height: int, width: int, tile: int, radius: int
) -> None:
    grid = tile_grid(height, width, tile=tile, radius=radius)
    covered = np.zeros((height, width), int)
    for index in range(grid.count):
        core = covered[core_of(grid, index)]
        assert core.size > 0
        core += 1
    assert (covered == 1).all()


@given(height=sides, width=sides, tile=tiles, radius=radii)
def test_no_core_is_larger_than_asked_and_no_more_tiles_are_cut_than_needed(
    height: int, width: int, tile: int, radius: int
) -> None:
    grid = tile_grid(height, width, tile=tile, radius=radius)
    largest = max(tile // CORE_STEP * CORE_STEP, CORE_STEP)
    assert max(grid.core_height, grid.core_width) <= largest
    assert grid.count <= -(-height // largest) * -(-width // largest)
    margins = (grid.window_height - grid.core_height, grid.window_width - grid.core_width)
    assert margins == (2 * radius, 2 * radius)


@given(height=sides, width=sides, tile=tiles, radius=radii, seed=seeds)
def test_a_window_is_the_core_and_its_margins_with_the_outermost_pixels_repeated(
    height: int, width: int, tile: int, radius: int, seed: int
) -> None:
    image = pixels(seed, height, width, 2)
    grid = tile_grid(height, width, tile=tile, radius=radius)
    after = radius + max(grid.core_height, grid.core_width)
    padded = np.pad(image, ((radius, after), (radius, after), (0, 0)), mode="edge")
    for index in range(grid.count):
        y, x = grid.origin(index)
        expected = padded[y : y + grid.window_height, x : x + grid.window_width]
        np.testing.assert_array_equal(window(image, grid, index), expected)


def test_a_window_is_a_copy() -> None:
    image = pixels(0, 40, 40, 1)
    before = image.copy()
    grid = tile_grid(40, 40, tile=16, radius=0)
    window(image, grid, 0)[:] += 1
    np.testing.assert_array_equal(image, before)


@given(
    height=sides,
    width=sides,
    tile=tiles,
    radius=radii,
    scale=st.integers(1, 4),
    channels=st.integers(1, 4),
    seed=seeds,
)
def test_tiles_of_the_identity_put_together_are_the_whole(
    height: int, width: int, tile: int, radius: int, scale: int, channels: int, seed: int
) -> None:
    image = pixels(seed, height, width, channels)
    grid = tile_grid(height, width, tile=tile, radius=radius)
    output = pixels(seed + 1, height * scale, width * scale, channels)
    for index in range(grid.count):
        place(output, repeated(window(image, grid, index), scale), grid, index, scale)
    np.testing.assert_array_equal(output, repeated(image, scale))


@settings(max_examples=40)
@given(height=sides, width=sides, tile=tiles, radius=st.integers(0, 3), seed=seeds)
def test_tiles_of_a_local_transform_are_the_whole_transformed(
    height: int, width: int, tile: int, radius: int, seed: int
) -> None:
    image = pixels(seed, height, width, 1)
    grid = tile_grid(height, width, tile=tile, radius=radius)
    output = np.zeros((height * 2, width * 2, 1), np.uint8)
    for index in range(grid.count):
        done = blurred(window(image, grid, index)[None], radius, 2)[0]
        place(output, done, grid, index, 2)
    np.testing.assert_array_equal(output, blurred(image[None], radius, 2)[0])


@settings(max_examples=40)
@given(
    n=st.integers(1, 5),
    height=st.integers(1, 120),
    width=st.integers(1, 120),
    radius=st.integers(0, 3),
    scale=st.integers(1, 3),
    seed=seeds,
)
def test_parts_that_fit_give_what_the_whole_gives(
    n: int, height: int, width: int, radius: int, scale: int, seed: int
) -> None:
    windows = pixels(seed, n, height, width, 1)
    # twice the least side that is still cut: what is cut ends below this, whatever the size
    least = 2 * (2 * radius + MIN_CORE)
    device = Device(least * least, radius, scale)
    result = run_in_parts(device, windows, radius=radius, scale=scale)
    np.testing.assert_array_equal(result, blurred(windows, radius, scale))
    assert result.dtype == np.uint8


def test_what_fits_is_run_once_and_whole() -> None:
    windows = pixels(0, 3, 50, 40, 3)
    device = Device(3 * 50 * 40, radius=2, scale=2)
    run_in_parts(device, windows, radius=2, scale=2)
    assert device.ran == [windows.shape]


def test_a_batch_is_split_before_its_windows_are_cut() -> None:
    device = Device(2 * 70 * 70, radius=1, scale=1)
    run_in_parts(device, pixels(0, 7, 70, 70, 1), radius=1, scale=1)
    assert {shape[1:3] for shape in device.ran} == {(70, 70)}


@pytest.mark.parametrize("shape", [(1, 20, 20, 3), (1, 200, 90, 1), (4, 64, 64, 1)])
def test_a_memory_error_comes_through_where_even_the_smallest_does_not_fit(
    shape: tuple[int, ...],
) -> None:
    with pytest.raises(MemoryError):
        run_in_parts(Device(100, radius=2, scale=2), pixels(0, *shape), radius=2, scale=2)


def test_other_errors_come_through_at_once() -> None:
    calls: list[int] = []

    def broken(windows: U8) -> U8:
        calls.append(len(windows))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_in_parts(broken, pixels(0, 4, 64, 64, 1), radius=1, scale=1)
    assert calls == [4]


@pytest.mark.parametrize(
    ("height", "width", "tile", "radius"),
    [(0, 5, 16, 1), (5, 0, 16, 1), (-3, 5, 16, 1), (5, 5, 0, 1), (5, 5, -1, 1), (5, 5, 16, -1)],
)
def test_impossible_sizes_are_refused(height: int, width: int, tile: int, radius: int) -> None:
    with pytest.raises(ValueError, match=r"at least 1x1|tile >= 1"):
        tile_grid(height, width, tile=tile, radius=radius)
