"""Laws of whole pictures through an upscaler: neither tiles nor company change them."""

from dataclasses import replace

import numpy as np
import pytest

from models.picture_upscaling import upscale_pictures
from models.pixels import Pixels
from models.upscaling import Upscaler, bicubic_upscaler
from tasks.registry import load_model
from tests.corpus import smooth_noise

PICTURES = np.stack([smooth_noise(seed, 70, 53) for seed in range(3)])


@pytest.fixture(params=["bicubic", "mill-x2"])
def upscaler(request: pytest.FixtureRequest) -> Upscaler:
    return load_model(request.param, 2, "fp32").upscaler


def apart(a: Pixels, b: Pixels) -> int:
    return int(np.abs(a.astype(int) - b.astype(int)).max())


def test_tiles_do_not_change_a_pixel(upscaler: Upscaler) -> None:
    whole = upscale_pictures(upscaler, PICTURES)
    assert whole.shape == (3, 140, 106, 3)
    for tile in (16, 32, 48):
        np.testing.assert_array_equal(upscale_pictures(upscaler, PICTURES, tile=tile), whole)


def test_a_picture_alone_is_as_in_company(upscaler: Upscaler) -> None:
    together = upscale_pictures(upscaler, PICTURES)
    for number in range(3):
        alone = upscale_pictures(upscaler, PICTURES[number : number + 1])
        assert apart(alone[0], together[number]) <= 1


def test_a_device_that_is_too_small_gets_parts() -> None:
    whole, sizes = bicubic_upscaler(2), []

    class Small(Upscaler):
        def __call__(self, tiles: Pixels) -> Pixels:
            if tiles.size > 40 * 40 * 3:
                raise MemoryError
            sizes.append(tiles.size)
            return super().__call__(tiles)

    small = Small(**{f: getattr(whole, f) for f in whole.__dataclass_fields__})
    np.testing.assert_array_equal(
        upscale_pictures(small, PICTURES), upscale_pictures(whole, PICTURES)
    )
    assert len(sizes) > 3


@pytest.mark.parametrize(("multiple", "radius"), [(8, 8), (4, 12)])
def test_windows_begin_where_a_folding_network_wants_them(multiple: int, radius: int) -> None:
    upscaler = replace(bicubic_upscaler(2), multiple=multiple, radius=radius)
    np.testing.assert_array_equal(
        upscale_pictures(upscaler, PICTURES, tile=24),
        upscale_pictures(bicubic_upscaler(2), PICTURES),
    )
