"""Small pictures out of larger ones: what each of their pixels is."""

import numpy as np
import pytest

from models.pixel_pictures import (
    Bytes,
    CutConfig,
    TooSmallError,
    content_digest,
    cut_pictures,
    levels_of,
    middle_square,
    sheet,
    shown,
    spread,
)


def picture(height: int, width: int, channels: int = 3, seed: int = 0) -> Bytes:
    shape = (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def cut(pixels: Bytes, config: CutConfig) -> list[Bytes]:
    return cut_pictures(pixels, content_digest(pixels), config)


def test_a_new_pixel_is_the_mean_of_its_area() -> None:
    pixels = picture(24, 32)
    (cropped,) = cut(pixels, CutConfig(size=8))
    areas = pixels[:, 4:28].reshape(8, 3, 8, 3, 3).mean((1, 3))
    assert np.abs(cropped - areas).max() <= 1  # rounded after each axis
    (stretched,) = cut(pixels, CutConfig(size=8, fit="stretch"))
    areas = pixels.reshape(8, 3, 8, 4, 3).mean((1, 3))
    assert np.abs(stretched - areas).max() <= 1  # rounded after each axis


def test_a_picture_of_that_size_stays_as_it_is() -> None:
    pixels = picture(8, 8, 1)
    for config in (CutConfig(size=8), CutConfig(size=None)):
        np.testing.assert_array_equal(cut(pixels, config)[0], pixels)


def test_patches_are_at_different_places_and_follow_content_and_seed_alone() -> None:
    rows, columns = np.mgrid[:20, :30]
    pixels = np.stack([rows, columns, rows * 0], 2).astype(np.uint8)  # a pixel tells its place
    made = cut(pixels, CutConfig(size=5, patches=50))
    corners = {tuple(patch[0, 0, :2].tolist()) for patch in made}
    assert len(made) == len(corners) == 50
    for patch in made:
        top, left = patch[0, 0, :2]
        np.testing.assert_array_equal(patch, pixels[top : top + 5, left : left + 5])
    again = cut(pixels.copy(), CutConfig(size=5, patches=50))
    np.testing.assert_array_equal(made, again)
    other = cut(pixels, CutConfig(size=5, patches=50, seed=1))
    assert not np.array_equal(made, other)


def test_where_there_are_fewer_places_than_patches_each_is_taken_once() -> None:
    made = cut(picture(6, 5), CutConfig(size=5, patches=9))
    assert len(made) == 2
    assert not np.array_equal(*made)


def test_gray_is_one_channel_and_binary_is_parted_at_half() -> None:
    pixels = picture(16, 16)
    (gray,) = cut(pixels, CutConfig(size=16, gray=True))
    luma = pixels @ np.array([0.299, 0.587, 0.114])
    assert gray.shape == (16, 16, 1)
    assert np.abs(gray[..., 0] - luma).max() < 1
    (binary,) = cut(pixels, CutConfig(size=16, binary=True))
    np.testing.assert_array_equal(binary, np.where(gray >= 128, 255, 0))
    np.testing.assert_array_equal(shown(levels_of(binary, 2), 2), binary)


def test_what_is_too_small_is_refused() -> None:
    with pytest.raises(TooSmallError, match="too small: 40x7 pixels, want at least 8 on a side"):
        cut(picture(7, 40), CutConfig(size=8))


def test_a_digest_tells_pixels_and_shape() -> None:
    pixels = picture(4, 6, 1)
    assert content_digest(pixels) == content_digest(np.asfortranarray(pixels))
    assert content_digest(pixels) != content_digest(pixels.reshape(6, 4, 1))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"size": 0}, "size must be at least 1, got 0"),
        ({"patches": -1}, "patches must be at least 0, got -1"),
        ({"size": None, "patches": 1}, "patches need a size, got none"),
        ({"fit": "pad"}, "fit must be crop or stretch, got 'pad'"),
    ],
)
def test_a_cut_that_makes_no_sense_is_refused(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        CutConfig(**values)  # type: ignore[arg-type]


def test_spread_numbers_reach_both_ends_in_equal_steps() -> None:
    assert spread(101, 5).tolist() == [0, 25, 50, 75, 100]
    assert spread(3, 5).tolist() == [0, 1, 2]


def test_a_sheet_shows_every_picture_larger_on_white() -> None:
    pictures = np.zeros((3, 1, 4, 5), np.uint8) + np.arange(3, dtype=np.uint8)[:, None, None, None]
    made = sheet(pictures, columns=2, times=2, gap=1)
    assert made.shape == (2 * 9 + 1, 2 * 11 + 1, 1)
    counts = {value: int((made == value).sum()) for value in (0, 1, 2)}
    assert counts == {0: 80, 1: 80, 2: 80}


def test_the_middle_square_is_as_far_from_either_side() -> None:
    pictures = np.arange(36, dtype=np.uint8).reshape(1, 1, 6, 6)
    assert middle_square(pictures, 2).ravel().tolist() == [14, 15, 20, 21]
