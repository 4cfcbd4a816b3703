"""Laws of leaving out a row and a column."""

import numpy as np
import pytest

from models.texture_carving import carve


def test_what_stays_keeps_its_order_and_one_pixel_of_each_line_goes() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 10, 3)).astype(np.int16)
    sources = np.arange(120, dtype=np.int32).reshape(12, 10)
    fewer = carve(pixels, sources, (11, 10))
    assert fewer.shape == (11, 10)
    gone = []
    for x in range(10):
        assert (fewer[:, x] % 10 == x).all()
        assert (np.diff(fewer[:, x]) > 0).all()
        gone.append(int(np.setdiff1d(np.arange(12), fewer[:, x] // 10)[0]))
    assert np.abs(np.diff([*gone, gone[0]])).max() <= 1  # round the edge, too
    both = carve(pixels, sources, (11, 9))
    assert both.shape == (11, 9)
    assert len(np.unique(both)) == both.size


def test_the_row_whose_neighbors_are_alike_goes() -> None:
    rows = np.array([0, 40, 200, 60, 66, 120, 180, 240])
    pixels = np.broadcast_to(rows[:, None, None], (8, 6, 1)).astype(np.int16)
    sources = np.arange(48, dtype=np.int32).reshape(8, 6)
    assert (carve(pixels, sources, (7, 6)) == np.delete(sources, 2, axis=0)).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (2, 2)])
def test_the_smallest_are_carved_too(size: tuple[int, int]) -> None:
    sources = np.arange(4, dtype=np.int32).reshape(2, 2)
    assert carve(np.zeros((2, 2, 1), np.int16), sources, size).shape == size
