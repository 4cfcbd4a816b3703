"""Laws of a texture by any method: alpha, gray, sizes, and what is refused."""

import numpy as np
import pytest

from models.texture import (
    CopyingConfig,
    Exemplars,
    check_work,
    colour_and_mask,
    copy_texture,
    numbered,
    parse_size,
)
from tests.models.texture_samples import blobs

RED, BLUE = np.array([250, 10, 10], np.uint8), np.array([10, 10, 250], np.uint8)


def _copy(pixels: np.ndarray, size: tuple[int, int] | None = None, **options: object) -> np.ndarray:
    exemplars = Exemplars(**{k: options.pop(k) for k in list(options) if k in FIELDS})  # type: ignore[arg-type]
    config = CopyingConfig(**{"k": 1, **options})  # type: ignore[arg-type]
    return copy_texture(pixels, size, config, exemplars, generator=np.random.default_rng(0))


FIELDS = ("others", "hole", "labels", "guide")


@pytest.mark.parametrize(
    ("text", "size"), [(None, None), ("64", (64, 64)), ("64x48", (48, 64)), ("1X2", (2, 1))]
)
def test_a_size_is_one_side_or_width_and_height(
    text: str | None, size: tuple[int, int] | None
) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "64x", "axb", "1x2x3", "-4", "99999x99999"])
def test_what_is_no_size_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="size must be"):
        parse_size(text)


def test_no_pixel_near_a_transparent_hole_is_copied() -> None:
    alpha = np.full((48, 48, 1), 255, np.uint8)
    alpha[16:24, 16:24] = 0
    pixels = np.full((48, 48, 3), 200, np.uint8)
    pixels[14:26, 14:26] = 7  # the hole, and the rim that its blur reaches
    made = _copy(np.concatenate([pixels, alpha], axis=2), (40, 40))
    assert made.shape == (40, 40, 3)
    assert (made == 200).all()


def test_16_bit_gray_becomes_8_bits_and_opaque_alpha_is_no_mask() -> None:
    deep = blobs(24, 24).astype(np.uint16) * 257
    assert (colour_and_mask(deep)[0] == blobs(24, 24)).all()
    opaque = np.concatenate([blobs(24, 24), np.full((24, 24, 1), 255, np.uint8)], axis=2)
    assert colour_and_mask(opaque)[1] is None


def test_an_output_is_by_default_twice_the_exemplar() -> None:
    assert _copy(blobs(20, 24)).shape == (40, 48, 1)


def test_an_exemplar_smaller_than_the_window_gets_a_smaller_one() -> None:
    tiny = np.array([[[1], [2], [3]], [[4], [5], [6]], [[7], [8], [9]]], np.uint8)
    assert np.isin(_copy(tiny, (9, 9), window=7), tiny).all()


def test_a_strip_of_one_pixel_is_one_sentence() -> None:
    with pytest.raises(ValueError, match="whole 3x3 window"):
        _copy(blobs(30, 1), (9, 9))


def test_a_transparent_place_is_filled_and_the_rest_stays() -> None:
    pixels, hole = blobs(40, 40, 3), np.zeros((40, 40), bool)
    hole[10:18, 12:20] = True
    made = _copy(pixels, hole=hole)
    assert made.shape == pixels.shape
    assert (made[~hole] == pixels[~hole]).all()
    with pytest.raises(ValueError, match="own size"):
        _copy(pixels, (80, 80), hole=hole)


def test_a_guide_puts_each_label_where_it_asks() -> None:
    halves = np.where(np.arange(32)[:, None, None] < 16, RED, BLUE) * np.ones((32, 32, 1), np.uint8)
    labels = np.where(np.arange(32)[:, None, None] < 16, 0, 255) * np.ones((32, 32, 1), np.uint8)
    guide = np.ascontiguousarray(labels.transpose(1, 0, 2)[:24, :24])
    made = _copy(halves.astype(np.uint8), labels=labels.astype(np.uint8), guide=guide)
    assert made.shape == (24, 24, 3)
    assert (made[guide[..., 0] == 0] == RED).all()
    assert (made[guide[..., 0] == 255] == BLUE).all()


def test_colours_of_a_label_picture_are_distinct_numbers() -> None:
    picture = np.array([[[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]]], np.uint8)
    assert list(numbered(picture)[0]) == [65536, 256, 1, 65536]


def test_several_exemplars_may_be_gray_and_colour() -> None:
    made = _copy(np.full((20, 20, 3), 9, np.uint8), (30, 30), others=[blobs(20, 20)])
    assert made.shape == (30, 30, 3)


@pytest.mark.parametrize("method", ["efros-leung", "wei-levoy"])
def test_only_coherence_takes_several_exemplars_and_long_exact_work_is_refused(method: str) -> None:
    with pytest.raises(ValueError, match="need the method coherence"):
        _copy(blobs(20, 20), (9, 9), method=method, others=[blobs(20, 20)])
    with pytest.raises(ValueError, match="CPU hours"):
        check_work((512, 512), (1024, 1024), CopyingConfig(method=method))  # type: ignore[arg-type]


def test_an_unknown_method_is_an_error() -> None:
    with pytest.raises(ValueError, match="method must be one of efros-leung"):
        CopyingConfig(method="quilting")  # type: ignore[arg-type]
