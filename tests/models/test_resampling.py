"""Laws of bicubic resampling."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.resampling import (
    BICUBIC_RADIUS,
    bicubic_downscale,
    bicubic_upscale,
    cubic_kernel,
)

SCALES = (2, 3, 4)


def noise(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, shape, generator=generator).float()


def inside(enlarged: Tensor, scale: int) -> Tensor:
    edge = BICUBIC_RADIUS * scale
    return enlarged[..., edge:-edge, edge:-edge]


def test_the_kernel_is_one_at_zero_and_zero_at_whole_numbers_and_outside() -> None:
    at = torch.tensor([0.0, 1, -1, 2, -2, 2.5, -7], dtype=torch.float64)
    assert cubic_kernel(at).tolist() == [1, 0, 0, 0, 0, 0, 0]


def test_the_kernel_s_shifted_copies_sum_to_one() -> None:
    phase = torch.linspace(0, 1, 41, dtype=torch.float64)
    total = sum(cubic_kernel(phase + shift) for shift in range(-3, 3))
    torch.testing.assert_close(total, torch.ones_like(phase), atol=1e-15, rtol=0)


def test_the_kernel_has_keys_values_at_a_half() -> None:
    # a = -0.5: 9/16 at 1/2, -1/16 at 3/2
    at = torch.tensor([0.5, 1.5], dtype=torch.float64)
    assert cubic_kernel(at).tolist() == [9 / 16, -1 / 16]


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("value", [0.0, 0.37, 255.0])
def test_a_constant_stays_constant(scale: int, value: float) -> None:
    result = bicubic_upscale(torch.full((1, 2, 5, 4), value, dtype=torch.float64), scale)
    assert result.shape == (1, 2, 5 * scale, 4 * scale)
    torch.testing.assert_close(result, torch.full_like(result, value), atol=1e-12, rtol=0)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("seed", range(3))
def test_it_equals_the_protocol_s_interpolation_away_from_the_edges(scale: int, seed: int) -> None:
    x = noise(seed, 2, 3, 11 + seed, 9)
    expected = F.interpolate(
        x, scale_factor=scale, mode="bicubic", antialias=True, align_corners=False
    )
    result = bicubic_upscale(x, scale)
    torch.testing.assert_close(inside(result, scale), inside(expected, scale), atol=2e-3, rtol=0)


@pytest.mark.parametrize("scale", SCALES)
def test_a_ramp_stays_a_ramp_inside(scale: int) -> None:
    h, w = 9, 12
    rows, columns = torch.meshgrid(
        torch.arange(h, dtype=torch.float64), torch.arange(w, dtype=torch.float64), indexing="ij"
    )
    result = bicubic_upscale((3 * rows - 2 * columns + 5)[None, None], scale)
    y = (torch.arange(h * scale, dtype=torch.float64) + 0.5) / scale - 0.5
    x = (torch.arange(w * scale, dtype=torch.float64) + 0.5) / scale - 0.5
    expected = (3 * y[:, None] - 2 * x[None, :] + 5)[None, None]
    torch.testing.assert_close(inside(result, scale), inside(expected, scale), atol=1e-11, rtol=0)


def test_scale_one_is_the_identity() -> None:
    x = noise(0, 1, 2, 6, 7)
    torch.testing.assert_close(bicubic_upscale(x, 1), x, atol=1e-4, rtol=0)


@pytest.mark.parametrize("scale", SCALES)
def test_float64_keeps_its_bits_and_everything_else_becomes_float32(scale: int) -> None:
    x = torch.rand(1, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    wide = bicubic_upscale(x, scale)
    assert wide.dtype == torch.float64
    narrow = bicubic_upscale(x.float(), scale)
    assert narrow.dtype == torch.float32
    error = (wide - narrow).abs().max().item()
    assert 0 < error < 1e-6
    assert bicubic_upscale(x.bfloat16(), scale).dtype == torch.float32


def test_autocast_does_not_touch_it() -> None:
    x = noise(0, 1, 1, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        inside_autocast = bicubic_upscale(x, 4)
    assert torch.equal(inside_autocast, bicubic_upscale(x, 4))


@pytest.mark.parametrize(("scale", "dtype"), [(6, torch.float32), (7, torch.float64)])
def test_a_first_call_in_inference_mode_leaves_it_usable_in_training(
    scale: int, dtype: torch.dtype
) -> None:
    with torch.inference_mode():
        bicubic_upscale(noise(0, 1, 1, 4, 4).to(dtype), scale)
    x = noise(0, 1, 1, 4, 4).to(dtype).requires_grad_()
    (gradient,) = torch.autograd.grad(bicubic_upscale(x, scale).sum(), x)
    assert gradient.sum().item() == pytest.approx(16 * scale * scale)


@pytest.mark.parametrize("scale", SCALES)
def test_the_outermost_pixels_are_repeated_beyond_the_edges(scale: int) -> None:
    x = noise(4, 1, 2, 5, 6)
    framed = F.pad(x, [3] * 4, mode="replicate")
    edge = 3 * scale
    expected = bicubic_upscale(framed, scale)[..., edge:-edge, edge:-edge]
    torch.testing.assert_close(bicubic_upscale(x, scale), expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("scale", SCALES)
def test_shrinking_a_constant_keeps_it_and_rounds_and_clamps(scale: int) -> None:
    x = 255 * (noise(5, 1, 3, 6 * scale, 5 * scale) > 127)
    small = bicubic_downscale(x.float(), scale)
    assert small.shape == (1, 3, 6, 5)
    assert torch.equal(small, small.round())
    assert small.min() >= 0
    assert small.max() <= 255
    raw = F.interpolate(x.float(), size=(6, 5), mode="bicubic", antialias=True)
    assert (small - raw).abs().max() > 0
    torch.testing.assert_close(small, raw.clamp(0, 255), atol=0.5001, rtol=0)
    assert (bicubic_downscale(torch.full_like(raw, 77)[..., :4, :4], 2) == 77).all()


def test_shrinking_clamps_the_overshoot_of_a_step() -> None:
    x = torch.zeros(1, 1, 32, 32)
    x[..., 14:] = 255
    raw = F.interpolate(x, size=(16, 16), mode="bicubic", antialias=True)
    assert raw.max() > 255.5
    assert raw.min() < -0.5
    small = bicubic_downscale(x, 2)
    assert (small.min(), small.max()) == (0, 255)


@pytest.mark.parametrize("scale", [0, -1])
def test_a_scale_below_one_is_refused(scale: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        bicubic_upscale(torch.zeros(1, 1, 4, 4), scale)


@pytest.mark.parametrize("shape", [(4, 4), (1, 4, 4), (1, 1, 1, 4, 4)])
def test_pixels_that_are_not_4d_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="N, C, H, W"):
        bicubic_upscale(torch.zeros(shape), 2)


@pytest.mark.parametrize(("height", "width"), [(7, 8), (8, 7), (9, 9)])
def test_shrinking_refuses_a_size_that_does_not_divide(height: int, width: int) -> None:
    with pytest.raises(ValueError, match=f"multiple of 4, got {width}x{height}"):
        bicubic_downscale(torch.zeros(1, 1, height, width), 4)
