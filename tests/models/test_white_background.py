"""Cutting a rendering out of its white background."""

import numpy as np
import pytest

from models.white_background import background, cut_out


def ring(level: int = 255) -> "np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]":
    """A red frame on white, 40 x 40, with an area of some level inside."""
    pixels = np.full((40, 40, 3), 255, np.uint8)
    pixels[10:30, 10:30] = (200, 30, 30)
    pixels[15:25, 15:25] = level
    return pixels


def test_white_inside_the_object_stays_object_unless_holes_are_background() -> None:
    kept, opened = background(ring()), background(ring(), "background")
    assert kept.sum() == 40 * 40 - 20 * 20
    assert opened.sum() == kept.sum() + 10 * 10
    assert not background(ring(240), "background")[15:25, 15:25].any()


def test_nearly_white_is_background_too_and_becomes_white() -> None:
    pixels = ring()
    pixels[:5] = 251
    rgb, mask = cut_out(pixels, 40)
    assert (rgb[:5] == 255).all()
    assert not mask[:5].any()
    assert (mask[10:30, 10:30] == 255).all()


def test_a_smaller_mask_is_the_share_of_each_pixel_that_is_covered() -> None:
    rgb, mask = cut_out(ring(), 10)  # 4 x 4 pixels become one: rows 10..30 are 2.5..7.5
    assert mask.sum() / 255 == pytest.approx(25, abs=0.05)
    assert sorted(np.unique(mask)) == [0, 64, 128, 255]
    assert np.abs(rgb[2, 5] - [227.5, 142.5, 142.5]).max() <= 1  # half red, half white


def test_the_whole_frame_is_kept_with_white_bars() -> None:
    rgb, mask = cut_out(ring()[:, 5:35], 20)
    assert rgb.shape == (20, 20, 3)
    assert (rgb[:, :2] == 255).all()
    assert mask.sum() / 255 == pytest.approx(100, abs=1)


def test_alpha_is_the_mask_where_there_is_one() -> None:
    pixels = np.concatenate([np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 1), np.uint8)], 2)
    pixels[2:6, 2:6, 3] = 128
    rgb, mask = cut_out(pixels, 8)
    assert (mask[2:6, 2:6] == 128).all()
    assert (rgb[2:6, 2:6] == 127).all()
    assert (rgb[mask == 0] == 255).all()


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(ValueError, match=r"pixels must be \(H, W, 3 or 4\) uint8"):
        cut_out(np.zeros((4, 4, 1), np.uint8), 4)
