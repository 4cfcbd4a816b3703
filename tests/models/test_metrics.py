"""Laws of the image quality metrics, and the published protocol on a few pictures."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.images import decode
from models.metrics import luma_for_scoring, psnr, score_against_reference, ssim, studio_luma
from models.resampling import bicubic_downscale
from models.upscaling import Upscaler, bicubic_upscaler
from tasks.registry import load_model

Array = NDArray[Any]

IMAGES = Path(__file__).parent.parent / "images"
PICTURES = sorted(p for p in IMAGES.rglob("*") if p.suffix in (".png", ".jpg"))


def noise(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, shape, generator=generator).double()


def shown(seed: int, height: int, width: int, channels: int) -> Array:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, channels)).astype(np.uint8)


def test_psnr_has_the_values_derived_by_hand() -> None:
    zeros = torch.zeros(1, 1, 4, 4)
    assert psnr(zeros, zeros + 255) == pytest.approx(0)
    assert psnr(zeros, zeros + 25.5) == pytest.approx(20)
    assert psnr(zeros, zeros + 1) == pytest.approx(20 * math.log10(255))
    half = zeros.clone()
    half[..., :2] = 2  # mean square 2
    assert psnr(zeros, half) == pytest.approx(48.130804 - 3.010300, abs=1e-5)
    assert psnr(zeros, zeros + 0.1, peak=1.0) == pytest.approx(20)


def test_psnr_is_infinite_for_equal_and_symmetric() -> None:
    a, b = noise(0, 1, 3, 8, 8), noise(1, 1, 3, 8, 8)
    assert psnr(a, a.clone()) == math.inf
    assert psnr(a, b) == psnr(b, a) < 20


def test_psnr_of_bytes_does_not_wrap_around() -> None:
    low, high = torch.zeros(1, 1, 2, 2, dtype=torch.uint8), torch.full((1, 1, 2, 2), 255)
    assert psnr(low, high.to(torch.uint8)) == pytest.approx(0)


def test_ssim_is_one_only_for_equal_images() -> None:
    a = noise(0, 1, 1, 16, 14)
    assert ssim(a, a.clone()) == pytest.approx(1, abs=1e-12)
    nearly = a.clone()
    nearly[0, 0, 8, 7] += 1
    assert ssim(a, nearly) < 1 - 1e-9
    assert ssim(a, 255 - a) < 0


def test_ssim_is_symmetric() -> None:
    a, b = noise(2, 1, 1, 16, 16), noise(3, 1, 1, 16, 16)
    assert ssim(a, b) == pytest.approx(ssim(b, a), abs=1e-12)


def test_ssim_of_two_constants_is_the_luminance_term() -> None:
    a, b = torch.full((1, 1, 12, 12), 100.0), torch.full((1, 1, 12, 12), 150.0)
    c1 = (0.01 * 255) ** 2
    expected = (2 * 100 * 150 + c1) / (100**2 + 150**2 + c1)
    assert ssim(a, b) == pytest.approx(expected, abs=1e-9)


def test_shapes_that_differ_or_are_too_small_are_refused() -> None:
    with pytest.raises(ValueError, match="shapes must be equal"):
        psnr(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 5))
    with pytest.raises(ValueError, match="shapes must be equal"):
        ssim(torch.zeros(1, 1, 12, 12), torch.zeros(1, 3, 12, 12))
    with pytest.raises(ValueError, match="at least 11x11, got 12x10"):
        ssim(torch.zeros(1, 1, 10, 12), torch.zeros(1, 1, 10, 12))


def test_luma_goes_from_16_to_235_and_weighs_the_primaries() -> None:
    colours = torch.tensor([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255.0]])
    luma = studio_luma(colours.double().view(5, 3, 1, 1)).flatten()
    expected = [16, 235, 16 + 65.481, 16 + 128.553, 16 + 24.966]
    torch.testing.assert_close(luma, torch.tensor(expected, dtype=torch.float64))


def test_what_is_scored_is_rounded_luma_without_its_border() -> None:
    rgb = noise(0, 1, 3, 12, 10)
    scored = luma_for_scoring(rgb, border=3)
    assert torch.equal(scored, studio_luma(rgb).round()[..., 3:-3, 3:-3])
    gray = noise(1, 1, 1, 12, 10)
    assert torch.equal(luma_for_scoring(gray, border=0), gray)


def test_a_reference_up_to_a_border_larger_is_cut() -> None:
    reference = shown(0, 43, 46, 3)
    output = reference[:40, :44]
    assert score_against_reference(output, reference, border=4) == (math.inf, pytest.approx(1))


def test_the_border_and_alpha_are_not_scored() -> None:
    reference = shown(0, 30, 30, 4)
    output = reference.copy()
    output[..., 3] = 0
    output[:4], output[-4:], output[:, :4], output[:, -4:] = 0, 0, 0, 0
    assert score_against_reference(output, reference, border=4)[0] == math.inf
    output[4, 4, :3] ^= 255
    assert score_against_reference(output, reference, border=4)[0] < math.inf


def test_a_picture_too_small_for_ssim_has_none() -> None:
    small = shown(0, 14, 20, 3)
    assert score_against_reference(small, small, border=2) == (math.inf, None)


@pytest.mark.parametrize("size", [(39, 40), (40, 39), (44, 40), (40, 44), (80, 80)])
def test_a_reference_of_another_size_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="the reference must be 40x40"):
        score_against_reference(shown(0, 40, 40, 3), shown(0, *size, 3), border=4)


def test_16_bits_score_as_the_same_8_bits_do() -> None:
    a, b = shown(0, 24, 24, 1), shown(1, 24, 24, 1)
    wide = score_against_reference(a.astype(np.uint16) * 257, b, border=2)
    assert wide == pytest.approx(score_against_reference(a, b, border=2))


@pytest.mark.parametrize("channels", [1, 3])
def test_gray_and_colour_of_equal_pixels_compare_with_each_other(channels: int) -> None:
    gray = shown(0, 24, 24, 1)
    score, _ = score_against_reference(
        gray.repeat(channels, axis=2), gray.repeat(channels, axis=2), border=2
    )
    assert score == math.inf


def protocol_score(upscaler: Upscaler, original: Array) -> float:
    """PSNR-Y by the protocol of the super-resolution literature."""
    scale = upscaler.scale
    height, width = (side // scale * scale for side in original.shape[:2])
    reference = original[:height, :width]
    planes = torch.from_numpy(reference).permute(2, 0, 1)[None]
    small = bicubic_downscale(planes, scale).to(torch.uint8)[0].permute(1, 2, 0).numpy()
    return score_against_reference(upscaler(small[None])[0], reference, border=scale)[0]


@pytest.mark.parametrize("path", PICTURES, ids=lambda p: p.name)
def test_mill_beats_bicubic_by_the_protocol(path: Path) -> None:
    original = decode(path.read_bytes()).pixels
    bicubic = protocol_score(bicubic_upscaler(4), original)
    mill = protocol_score(load_model("mill-x4", 4, "fp32").upscaler, original)
    assert 20 < bicubic < 45
    assert mill > bicubic + 0.05


@pytest.mark.parametrize("path", PICTURES[:2], ids=lambda p: p.name)
def test_a_larger_scale_is_harder(path: Path) -> None:
    original = decode(path.read_bytes()).pixels
    scores = [protocol_score(bicubic_upscaler(scale), original) for scale in (2, 3, 4)]
    assert scores == sorted(scores, reverse=True)
    assert 20 < scores[-1] < scores[0] < 45
