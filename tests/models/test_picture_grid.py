"""Laws of the sheet of crops: it shows the pixels themselves, where there is most to see."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.metrics import studio_luma
from models.picture_grid import GridRow, crop, most_detailed_window, picture_grid
from tests.corpus import smooth_noise

Array = NDArray[Any]
GAP, LINE, CELL = 4, 14, 256


def noise(seed: int, height: int, width: int, channels: int = 3) -> Array:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def variance(pixels: Array) -> float:
    import torch

    if pixels.shape[2] == 1:
        return float(pixels.astype(float).var())
    rgb = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].double()
    return float(studio_luma(rgb).var(correction=0))


def row(seed: int, count: int = 3, height: int = 64, width: int = 64, channels: int = 3) -> GridRow:
    crops = tuple(noise(seed + i, height, width, channels) for i in range(count))
    return GridRow(crops=crops, words=tuple(f"method {i}" for i in range(count)))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("seed", range(4))
def test_no_other_window_has_more_variance(seed: int, channels: int) -> None:
    picture = smooth_noise(seed, 26, 31, channels)
    corner = most_detailed_window(picture, 9)
    best = max(variance(crop(picture, (y, x), 9)) for y in range(18) for x in range(23))
    assert crop(picture, corner, 9).shape == (9, 9, channels)
    assert variance(crop(picture, corner, 9)) == pytest.approx(best)


def test_the_window_finds_the_only_detail() -> None:
    picture = np.full((100, 120, 3), 90, np.uint8)
    picture[70:80, 100:110] = noise(1, 10, 10)
    assert most_detailed_window(picture, 10) == (70, 100)


def test_of_equal_windows_the_first_is_taken() -> None:
    assert most_detailed_window(np.full((30, 40, 3), 200, np.uint8), 8) == (0, 0)
    assert most_detailed_window(np.full((30, 40, 1), 255, np.uint8), 8) == (0, 0)


@pytest.mark.parametrize(("height", "width"), [(5, 40), (40, 5), (3, 3), (1, 1)])
def test_a_smaller_picture_is_shown_as_far_as_it_goes(height: int, width: int) -> None:
    picture = noise(2, height, width)
    corner = most_detailed_window(picture, 16)
    assert crop(picture, corner, 16).shape == (min(height, 16), min(width, 16), 3)


@pytest.mark.parametrize("side", [0, -3])
def test_a_window_without_pixels_is_refused(side: int) -> None:
    with pytest.raises(ValueError, match=f"at least 1, got {side}"):
        most_detailed_window(noise(0, 8, 8), side)


@pytest.mark.parametrize("channels", [1, 3])
def test_every_crop_is_in_its_cell_pixel_for_pixel(channels: int) -> None:
    rows = [row(0, channels=channels), row(10, height=100, width=128, channels=channels)]
    sheet = picture_grid(rows).pixels
    assert sheet.shape == (GAP + 2 * (LINE + GAP) + 256 + 200, 3 * (CELL + GAP) + GAP, 3)
    top = GAP
    for line in rows:
        height, width = line.crops[0].shape[:2]
        times = CELL // max(height, width)
        for column, shown in enumerate(line.crops):
            y, x = top + LINE, GAP + column * (CELL + GAP)
            cell = sheet[y : y + height * times, x : x + width * times]
            np.testing.assert_array_equal(cell, np.broadcast_to(
                shown.repeat(times, 0).repeat(times, 1), cell.shape))  # fmt: skip
        top += height * times + LINE + GAP


def test_each_word_stands_above_its_own_crop_however_long() -> None:
    words = ("a", "s3://bucket/" + "long/" * 60 + "model.safetensors  31.21 dB", "")
    line = GridRow(crops=row(3).crops, words=words)
    sheet = picture_grid([line]).pixels
    assert (sheet[:GAP] == 255).all()
    heading = sheet[GAP : GAP + LINE]
    for column, word in enumerate(words):
        left = GAP + column * (CELL + GAP)
        assert (heading[:, left : left + CELL] < 128).any() == bool(word)
        assert (heading[:, left + CELL : left + CELL + GAP] == 255).all()


def test_rows_that_do_not_fit_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        picture_grid([])
    with pytest.raises(ValueError, match=r"as many crops and words, got \[2, 3\]"):
        picture_grid([row(0, 2), row(0, 3)])
    with pytest.raises(ValueError, match=r"got \[1, 3\]"):
        picture_grid([GridRow(crops=row(0).crops, words=("one",))])
    with pytest.raises(ValueError, match="at most 256 pixels a side, got 257"):
        picture_grid([row(0, width=257)])
