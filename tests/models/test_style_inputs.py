"""Laws of what a style asks for and a picture brings."""

import numpy as np
import pytest

from models.style_inputs import canvas_of, parse_styles, put_back, resized


def test_weights_sum_to_1_and_default_to_equal_parts() -> None:
    blend = parse_styles(["a.jpg=3", "b.jpg=1"])
    assert [(s.name, s.weight) for s in blend] == [("a.jpg", 0.75), ("b.jpg", 0.25)]
    assert [s.weight for s in parse_styles(["wave", "scream"])] == [0.5, 0.5]


def test_an_equals_sign_in_a_name_is_no_weight() -> None:
    assert parse_styles(["s3://b/day=monday"])[0].name == "s3://b/day=monday"
    assert parse_styles(["s3://b/day=monday=2"])[0].name == "s3://b/day=monday"


@pytest.mark.parametrize("texts", [[], ["a=0"], ["a=0", "b=0"], ["a=-1", "b=2"], ["a=nan"]])
def test_weights_that_make_no_blend_are_errors(texts: list[str]) -> None:
    with pytest.raises(ValueError, match="style"):
        parse_styles(texts)


def test_transparent_pixels_are_not_seen_and_alpha_is_kept() -> None:
    pixels = np.full((8, 8, 4), 255, np.uint8)
    pixels[..., :3] = 100
    pixels[2:4, 2:4] = (0, 255, 0, 0)
    canvas = canvas_of(pixels)
    assert (canvas.colour == 100).all()
    back = put_back(canvas.colour, canvas, gray=False)
    assert back.shape == (8, 8, 4)
    assert (back[..., 3] == pixels[..., 3]).all()


def test_gray_is_painted_in_colour_or_stays_gray_where_asked() -> None:
    canvas = canvas_of(np.full((8, 8, 1), 9, np.uint8))
    assert canvas.gray
    assert canvas.colour.shape == (8, 8, 3)
    assert put_back(canvas.colour, canvas, gray=False).shape == (8, 8, 3)
    assert put_back(canvas.colour, canvas, gray=True).shape == (8, 8, 1)


def test_16_bits_become_8() -> None:
    assert canvas_of(np.full((8, 8, 1), 257 * 7, np.uint16)).colour.max() == 7


def test_a_size_is_the_longer_side() -> None:
    picture = np.full((10, 40, 3), 77, np.uint8)
    assert resized(picture, 20).shape == (5, 20, 3)
    assert (resized(picture, 20) == 77).all()
    assert resized(picture, None) is picture
