"""Laws of enlargement that every shipped model keeps, in every precision."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.tiling import place, tile_grid, window
from models.upscaling import Upscaler, bicubic_upscaler
from tasks.registry import PrecisionChoice, load_model, shipped_models
from tests.corpus import smooth_noise

Array = NDArray[Any]

PRECISIONS: tuple[PrecisionChoice, ...] = ("fp32", "bf16")
KINDS = ((1, "uint8"), (2, "uint8"), (3, "uint8"), (4, "uint8"), (1, "uint16"))
SIZES = ((37, 45), (19, 53), (1, 1), (33, 17))


@pytest.fixture(params=PRECISIONS)
def precision(request: pytest.FixtureRequest) -> PrecisionChoice:
    value: PrecisionChoice = request.param
    return value


# the perceptual twin is mill-x4's network with other numbers, and one SRCNN is like the others
ONE_OF_EACH = [
    name for name in shipped_models() if name not in ("mill-x4-perceptual", "srcnn-x2", "srcnn-x4")
]


@pytest.fixture(params=ONE_OF_EACH)
def upscaler(request: pytest.FixtureRequest, precision: PrecisionChoice) -> Upscaler:
    loaded = load_model(request.param, None, precision).upscaler
    assert loaded.network is None or loaded.precision == precision
    return loaded


def picture(content: str, seed: int, height: int, width: int, channels: int, dtype: str) -> Array:
    """(H, W, C): pure noise, or photographic pixels with a little noise."""
    rng = np.random.default_rng(seed)
    peak = np.iinfo(dtype).max
    if content == "noise":
        return rng.integers(0, peak + 1, (height, width, channels)).astype(dtype)
    smooth = smooth_noise(seed, height, width, channels).astype(np.float64) * (peak / 255)
    noisy = smooth + rng.normal(0, peak / 60, smooth.shape)
    return np.clip(np.rint(noisy), 0, peak).astype(dtype)


def in_tiles(upscaler: Upscaler, image: Array, tile: int, batch: int) -> Array:
    """Enlarged through windows of at most `tile` pixels, run in full batches."""
    height, width, channels = image.shape
    grid = tile_grid(height, width, tile=tile, radius=upscaler.radius_for(channels))
    windows = [window(image, grid, index) for index in range(grid.count)]
    windows += [np.zeros_like(windows[0])] * (-grid.count % batch)
    scale = upscaler.scale
    output = np.zeros((height * scale, width * scale, channels), image.dtype)
    for start in range(0, grid.count, batch):
        done = upscaler(np.stack(windows[start : start + batch]))
        for offset in range(min(batch, grid.count - start)):
            place(output, done[offset], grid, start + offset, scale)
    return output


def whole(upscaler: Upscaler, image: Array) -> Array:
    """In one window; not alone in its batch, as the engine never runs a window this small."""
    return in_tiles(upscaler, image, tile=4096, batch=2)


def difference(a: Array, b: Array) -> float:
    return float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max())


@pytest.mark.parametrize("content", ["noise", "photographic"])
@pytest.mark.parametrize(("channels", "dtype"), KINDS)
def test_tiled_equals_whole(upscaler: Upscaler, channels: int, dtype: str, content: str) -> None:
    for seed, (height, width) in enumerate(SIZES):
        image = picture(content, seed, height, width, channels, dtype)
        expected = whole(upscaler, image)
        tile, batch = ((16, 4), (23, 3), (5, 2), (32, 2))[seed]
        # 8 bits are identical; one level of 65535 is what float32 leaves to chance
        worst = difference(in_tiles(upscaler, image, tile, batch), expected)
        assert worst <= (0 if dtype == "uint8" else 1), (height, width, tile)


@pytest.mark.parametrize("content", ["noise", "photographic"])
def test_another_batch_size_moves_next_to_nothing(upscaler: Upscaler, content: str) -> None:
    # a lone small window takes another convolution kernel: a bit of float32, seldom a level
    image = picture(content, 9, 37, 45, 3, "uint8")
    results = [in_tiles(upscaler, image, 16, batch) for batch in (1, 2, 4, 6)]
    for result in results[1:]:
        assert difference(result, results[0]) <= 1
        assert (result != results[0]).mean() < 5e-4


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_tile_s_bytes_do_not_depend_on_its_neighbours_in_the_batch(
    upscaler: Upscaler, channels: int
) -> None:
    tile = picture("photographic", 0, 27, 21, channels, "uint8")
    results = set()
    for seed in range(3):
        batch = picture("noise", seed, 4 * 27, 21, channels, "uint8").reshape(4, 27, 21, channels)
        for position in range(4):
            mixed = batch.copy()
            mixed[position] = tile
            results.add(upscaler(mixed)[position].tobytes())
    assert len(results) == 1


@pytest.mark.parametrize("content", ["noise", "photographic"])
def test_gray_is_the_gray_of_equal_channels(upscaler: Upscaler, content: str) -> None:
    gray = picture(content, 3, 21, 26, 1, "uint8")
    alone, coloured = whole(upscaler, gray), whole(upscaler, gray.repeat(3, axis=2))
    assert difference(coloured, alone.repeat(3, axis=2)) <= 1


@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("content", ["noise", "photographic"])
def test_an_opaque_picture_is_the_picture_without_alpha(
    upscaler: Upscaler, content: str, colours: int
) -> None:
    plain = picture(content, 4, 23, 18, colours, "uint8")
    opaque = np.concatenate([plain, np.full((23, 18, 1), 255, np.uint8)], axis=2)
    result = whole(upscaler, opaque)
    assert (result[..., -1] == 255).all()
    assert difference(result[..., :-1], whole(upscaler, plain)) <= 1


def red_beside(hidden: tuple[int, int, int]) -> Array:
    """Opaque red on the left, `hidden` under alpha 0 on the right."""
    image = np.zeros((20, 20, 4), np.uint8)
    image[:, :10] = (255, 0, 0, 255)
    image[:, 10:, :3] = hidden
    return image


@pytest.mark.parametrize("hidden", [(0, 255, 0), (255, 255, 255), (12, 34, 56)])
def test_what_is_fully_transparent_does_not_show(
    upscaler: Upscaler, hidden: tuple[int, int, int]
) -> None:
    result = whole(upscaler, red_beside(hidden))
    np.testing.assert_array_equal(result, whole(upscaler, red_beside((0, 0, 0))))


def test_no_green_under_alpha_0_tints_the_red_beside_it(upscaler: Upscaler) -> None:
    result = whole(upscaler, red_beside((0, 255, 0)))
    visible = result[result[..., 3] > 0].astype(int)
    assert len(visible) >= 20 * 9 * upscaler.scale**2
    np.testing.assert_array_equal(visible[:, 1], visible[:, 2])


def test_an_edge_of_alpha_has_neither_a_dark_nor_a_light_fringe(upscaler: Upscaler) -> None:
    result = whole(upscaler, red_beside((0, 255, 0)))
    visible = result[result[..., 3] >= 16]
    assert visible[:, 0].min() >= 240
    assert visible[:, 1:3].max() <= 15


@pytest.mark.parametrize("level", [0, 1, 64, 128, 200, 255])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_constant_image_stays_constant(upscaler: Upscaler, level: int, channels: int) -> None:
    image = np.full((9, 14, channels), level, np.uint8)
    if channels in (2, 4):
        image[..., -1] = 255
    result = in_tiles(upscaler, image, tile=16, batch=1)
    assert difference(result, image.repeat(upscaler.scale, 0).repeat(upscaler.scale, 1)) <= 1


@pytest.mark.parametrize("content", ["noise", "photographic"])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_show_what_8_bits_show(upscaler: Upscaler, content: str, channels: int) -> None:
    narrow = picture(content, 6, 22, 19, channels, "uint8")
    wide = whole(upscaler, narrow.astype(np.uint16) * 257)
    assert wide.dtype == np.uint16
    assert difference(wide / 257, whole(upscaler, narrow)) <= 1
    assert (wide % 257 != 0).any()  # and more


def test_bf16_is_within_a_few_levels_of_fp32() -> None:
    image = picture("photographic", 8, 30, 30, 3, "uint8")
    for name in shipped_models():
        exact, fast = (whole(load_model(name, None, p).upscaler, image) for p in PRECISIONS)
        # SRCNN computes the whole picture in bf16, the others what they add to bicubic
        assert difference(exact, fast) <= (6 if name.startswith("srcnn") else 3), name


@pytest.mark.parametrize("channels", [0, 5])
def test_other_channel_counts_are_refused(channels: int) -> None:
    with pytest.raises(ValueError, match=f"1 to 4 channels, got {channels}"):
        bicubic_upscaler(2)(np.zeros((1, 8, 8, channels), np.uint8))


@pytest.mark.parametrize("scale", [-1, 0, 1, 9])
def test_bicubic_refuses_scales_that_enlarge_nothing_or_too_much(scale: int) -> None:
    with pytest.raises(ValueError, match="2 to 8"):
        bicubic_upscaler(scale)
