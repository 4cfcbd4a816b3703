"""Laws of pictures as a pixel model's levels: exact or refused, and what is hidden of them."""

import numpy as np
import pytest

from models.images import ImageError, Picture
from models.pixel_exchange import (
    Hiding,
    PixelFormat,
    exact_levels,
    mask_of,
    near_levels,
    parse_hiding,
    restored,
)
from models.pixels import Pixels

RANDOM = np.random.default_rng(0)


def _pixels(channels: int, levels: int = 256) -> Pixels:
    drawn = RANDOM.integers(0, levels, (6, 4, channels)).astype(np.uint16)
    pixels: Pixels = (drawn * 255 // (levels - 1)).astype(np.uint8)
    return pixels


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("levels", [2, 4, 7, 16, 256])
def test_exact_levels_give_the_pixels_back(channels: int, levels: int) -> None:
    form = PixelFormat(channels=channels, levels=levels)
    pixels = _pixels(channels, levels)
    found = exact_levels(Picture(pixels=pixels), form)
    assert found.max() < levels
    assert np.array_equal(restored(found, form, channels).pixels, pixels)


def test_gray_goes_through_a_colour_model_and_gray_rgb_through_a_gray_one() -> None:
    gray = _pixels(1)
    for pixels, channels in ((gray, 3), (gray.repeat(3, axis=2), 1)):
        form = PixelFormat(channels=channels, levels=256)
        levels = exact_levels(Picture(pixels=pixels), form)
        assert levels.shape[2] == channels
        assert np.array_equal(restored(levels, form, pixels.shape[2]).pixels, pixels)


@pytest.mark.parametrize(
    ("pixels", "form", "sentence"),
    [
        (_pixels(3), PixelFormat(channels=1, levels=256), "has colours"),
        (_pixels(2), PixelFormat(channels=1, levels=256), "no alpha"),
        (_pixels(4), PixelFormat(channels=3, levels=256), "no alpha"),
        (_pixels(1), PixelFormat(channels=1, levels=2), "values 0 and 255 alone"),
        (_pixels(1).astype(np.uint16), PixelFormat(channels=1, levels=256), "16-bit"),
    ],
)
def test_what_a_model_cannot_hold_is_refused(
    pixels: Pixels, form: PixelFormat, sentence: str
) -> None:
    with pytest.raises(ImageError, match=sentence) as caught:
        exact_levels(Picture(pixels=pixels), form)
    assert caught.value.kind == "not_lossless"


def test_a_conversion_that_changed_pixels_is_no_exact_picture() -> None:
    form = PixelFormat(channels=3, levels=256)
    for remark in ("CMYK converted to RGB without a profile", "16-bit colour reduced to 8 bits"):
        with pytest.raises(ImageError, match=remark):
            exact_levels(Picture(pixels=_pixels(3), remarks=(remark,)), form)
    exact_levels(Picture(pixels=_pixels(3), remarks=("palette expanded to RGB",)), form)


def test_sides_without_sites_are_refused() -> None:
    form = PixelFormat(channels=1, levels=2, run=2, multiple=2)
    with pytest.raises(ImageError, match="multiple of 4 and a height that is one of 2, got 6x4"):
        form.check_size(4, 6)
    form.check_size(6, 4)
    with pytest.raises(ImageError, match="1024x1024 are 1048576 pixels"):
        form.check_size(1024, 1024)


def test_the_nearest_picture_is_opaque_gray_or_binary_and_cut() -> None:
    binary = PixelFormat(channels=1, levels=2)
    half = np.array([[[127]], [[128]]], np.uint8)
    assert near_levels(Picture(pixels=half), binary, None)[..., 0].tolist() == [[0], [1]]
    clear = np.zeros((2, 2, 4), np.uint8)
    assert (near_levels(Picture(pixels=clear), binary, None) == 1).all(), "over white"
    colour = PixelFormat(channels=3, levels=256)
    large = near_levels(Picture(pixels=_pixels(1)), colour, 4)
    assert large.shape == (4, 4, 3)
    with pytest.raises(ImageError, match="too small: 4x6"):
        near_levels(Picture(pixels=_pixels(1)), colour, 5)


@pytest.mark.parametrize(
    ("text", "share", "rows", "columns"),
    [
        ("bottom", 0.5, slice(3, 6), slice(0, 4)),
        ("top", 0.34, slice(0, 2), slice(0, 4)),
        ("left:1", 0.5, slice(0, 6), slice(0, 1)),
        ("right:3", 0.5, slice(0, 6), slice(1, 4)),
    ],
)
def test_what_is_hidden_lies_at_its_side(
    text: str, share: float, rows: slice, columns: slice
) -> None:
    wanted = np.zeros((6, 4), bool)
    wanted[rows, columns] = True
    assert np.array_equal(parse_hiding(text, share).mask(6, 4), wanted)


def test_what_cannot_be_hidden_is_one_sentence() -> None:
    for text in ("middle", "right:", "right:0", "right:x"):
        with pytest.raises(ValueError, match="what to hide must be"):
            parse_hiding(text, 0.5)
    with pytest.raises(ValueError, match="share"):
        parse_hiding("bottom", 1.0)
    with pytest.raises(ImageError, match="4 of 4 pixels"):
        Hiding(side="right", pixels=4).mask(6, 4)


def test_a_mask_is_where_a_picture_is_light() -> None:
    pixels = np.array([[[0], [200]]], np.uint8)
    assert mask_of(Picture(pixels=pixels)).tolist() == [[False, True]]
    with pytest.raises(ImageError, match="no pixels are white"):
        mask_of(Picture(pixels=pixels * 0))
