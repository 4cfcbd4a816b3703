"""Laws of every texture method that copies pixels, and of the parts they share."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray

from models.texture_coherence import CoherenceConfig, coherence
from models.texture_efros_leung import EfrosLeungConfig, efros_leung
from models.texture_pixels import Texture, halved, whole_windows
from models.texture_wei_levoy import WeiLevoyConfig, wei_levoy
from tests.models.texture_samples import U8, blobs, copies, seam_is_hidden

Mask: TypeAlias = NDArray[np.bool_]
Method: TypeAlias = Callable[..., Texture]


def grown(exemplar: U8, size: tuple[int, int], seed: int = 0, valid: Mask | None = None) -> Texture:
    config = EfrosLeungConfig(window=7, tileable=True)
    generator = np.random.default_rng(seed)
    return efros_leung(exemplar, size, config, generator=generator, valid=valid)


def rastered(
    exemplar: U8, size: tuple[int, int], seed: int = 0, valid: Mask | None = None
) -> Texture:
    config = WeiLevoyConfig(window=7, levels=2)
    generator = np.random.default_rng(seed)
    return wei_levoy(exemplar, size, config, generator=generator, valid=valid)


def coherent(
    exemplar: U8, size: tuple[int, int], seed: int = 0, valid: Mask | None = None
) -> Texture:
    generator = np.random.default_rng(seed)
    return coherence([exemplar], size, CoherenceConfig(), generator=generator, valid=[valid])


every_method = pytest.mark.parametrize("method", [grown, rastered, coherent])


@every_method
@pytest.mark.parametrize("channels", [1, 3])
def test_every_output_pixel_is_an_exemplar_pixel(method: Method, channels: int) -> None:
    exemplar = blobs(33, 28, channels)
    texture = method(exemplar, (21, 38))
    assert texture.pixels.shape == (21, 38, channels)
    assert texture.sources.shape == (21, 38, 3)
    assert (texture.sources >= 0).all()
    assert copies(texture, exemplar)


@every_method
def test_a_seed_decides_every_byte(method: Method) -> None:
    exemplar = blobs(30, 30)
    first, again, other = (method(exemplar, (24, 24), seed) for seed in (1, 1, 2))
    assert first.pixels.tobytes() == again.pixels.tobytes()
    assert first.sources.tobytes() == again.sources.tobytes()
    assert (first.pixels != other.pixels).any()


@every_method
def test_the_exemplar_is_not_changed(method: Method) -> None:
    exemplar = blobs(20, 20)
    before = exemplar.copy()
    exemplar.setflags(write=False)
    method(exemplar, (9, 9))
    assert (exemplar == before).all()


@every_method
def test_a_constant_exemplar_gives_that_constant(method: Method) -> None:
    texture = method(np.full((24, 24, 3), (9, 80, 200), np.uint8), (13, 17))
    assert (texture.pixels == (9, 80, 200)).all()


@every_method
def test_outputs_tile(method: Method) -> None:
    exemplar = blobs(64, 64)
    assert seam_is_hidden([method(exemplar, (44, 37), seed).pixels for seed in range(5)])


def test_growing_without_wrapping_is_seen_not_to_tile() -> None:
    exemplar, config = blobs(64, 64), EfrosLeungConfig(window=7)
    generators = [np.random.default_rng(seed) for seed in range(5)]
    outputs = [efros_leung(exemplar, (44, 37), config, generator=g).pixels for g in generators]
    assert not seam_is_hidden(outputs)


@every_method
def test_no_window_that_touches_an_unusable_pixel_is_a_candidate(method: Method) -> None:
    exemplar, valid = blobs(48, 48), np.ones((48, 48), np.bool_)
    valid[20:27, 18:30] = False
    exemplar[~valid] = 255
    texture = method(exemplar, (32, 32), valid=valid)
    middles = whole_windows(valid, 3 if method is grown else 7)  # its seed is a 3x3 patch
    assert middles[texture.sources[..., 1], texture.sources[..., 2]].all()
    assert texture.pixels.max() < 255


@every_method
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 3)])
def test_an_output_smaller_than_the_window_is_made(method: Method, size: tuple[int, int]) -> None:
    exemplar = blobs(16, 16)
    texture = method(exemplar, size)
    assert texture.pixels.shape[:2] == size
    assert copies(texture, exemplar)


@every_method
def test_one_whole_window_is_enough(method: Method) -> None:
    exemplar = blobs(7, 7)
    assert copies(method(exemplar, (9, 9)), exemplar)


@every_method
@pytest.mark.parametrize("shape", [(6, 50), (50, 6), (64, 1), (1, 1)])
def test_an_exemplar_without_a_whole_window_is_an_error(
    method: Method, shape: tuple[int, int]
) -> None:
    with pytest.raises(ValueError, match=f"whole 7x7 window .* got {shape[1]}x{shape[0]}"):
        method(blobs(*shape), (9, 9))
    with pytest.raises(ValueError, match="got 20x20 with 0 usable pixels"):
        method(blobs(20, 20), (9, 9), valid=np.zeros((20, 20), np.bool_))


@every_method
def test_other_pixels_masks_and_sizes_are_errors(method: Method) -> None:
    with pytest.raises(ValueError, match=r"uint8, got .* uint16"):
        method(blobs(20, 20).astype(np.uint16), (9, 9))
    with pytest.raises(ValueError, match="1 or 3"):
        method(blobs(20, 20, 4), (9, 9))
    with pytest.raises(ValueError, match="valid must be"):
        method(blobs(20, 20), (9, 9), valid=np.ones((20, 19), np.bool_))
    with pytest.raises(ValueError, match="at least 1x1, got 9x0"):
        method(blobs(20, 20), (0, 9))


@pytest.mark.parametrize("config", [EfrosLeungConfig, WeiLevoyConfig, CoherenceConfig])
@pytest.mark.parametrize("window", [1, 8, 65])
def test_a_window_needs_a_middle(config: Callable[..., object], window: int) -> None:
    with pytest.raises(ValueError, match=f"window must be odd, 3 to 63 pixels, got {window}"):
        config(window=window)


def test_progress_rises_to_one() -> None:
    told: dict[str, list[float]] = {"grown": [], "rastered": [], "coherent": []}
    exemplar, size = blobs(20, 20), (12, 12)
    rng = np.random.default_rng
    efros_leung(
        exemplar,
        size,
        EfrosLeungConfig(window=7),
        generator=rng(0),
        progress=told["grown"].append,
    )
    wei_levoy(exemplar, size, WeiLevoyConfig(), generator=rng(0), progress=told["rastered"].append)
    coherence(
        [exemplar], size, CoherenceConfig(), generator=rng(0), progress=told["coherent"].append
    )
    for fractions in told.values():
        assert len(fractions) >= 3
        assert fractions == sorted(fractions)
        assert fractions[-1] == pytest.approx(1.0)


@pytest.mark.parametrize("shape", [(8, 8), (7, 11), (2, 2)])
def test_halving_is_the_weighted_mean_of_usable_pixels(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    levels = rng.integers(0, 256, (*shape, 2)).astype(np.int16)
    valid = rng.random(shape) < 0.8
    small, whole = halved(levels, valid)
    height, width = (side // 2 * 2 for side in shape)
    for y in range(height // 2):
        for x in range(width // 2):
            total, weight = np.zeros(2), 0
            for i, wy in zip(range(2 * y - 1, 2 * y + 3), (1, 3, 3, 1), strict=True):
                for j, wx in zip(range(2 * x - 1, 2 * x + 3), (1, 3, 3, 1), strict=True):
                    if 0 <= i < height and 0 <= j < width and valid[i, j]:
                        total, weight = total + wy * wx * levels[i, j], weight + wy * wx
            if weight:
                assert np.abs(small[y, x] - total / weight).max() <= 0.5
            assert whole[y, x] == valid[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].all()
