"""Bicubic resampling by an integer factor, with the arithmetic of a tile equal to the whole's.

Keys' cubic kernel with a = -0.5 (Keys 1981, "Cubic convolution interpolation for digital image
processing"), the one that the super-resolution literature and Pillow use.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

BICUBIC_RADIUS = 2
"""Source pixels on either side of an output pixel that bicubic enlargement reads."""


def cubic_kernel(distance: Tensor) -> Tensor:
    """Keys' cubic convolution kernel, a = -0.5.

    Args:
        distance: any shape, in source pixels.
    Returns:
        The same shape; 0 outside [-2, 2], 1 at 0.
    """
    x = distance.abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


@lru_cache(maxsize=16)
def _phase_kernels(scale: int) -> Tensor:
    """One 5x5 kernel for each of the scale^2 positions inside an enlarged pixel: (s*s, 1, 5, 5)."""
    # a tensor made in inference mode could not be used in training, and the cache outlives the mode
    with torch.inference_mode(False):
        taps = torch.arange(-BICUBIC_RADIUS, BICUBIC_RADIUS + 1, dtype=torch.float64)
        phases = (torch.arange(scale, dtype=torch.float64) + 0.5) / scale - 0.5
        rows = cubic_kernel(phases[:, None] - taps[None, :])  # (s, 5)
        kernels = rows[:, None, :, None] * rows[None, :, None, :]  # (s, s, 5, 5)
        return kernels.reshape(scale * scale, 1, taps.numel(), taps.numel())


def bicubic_upscale(pixels: Tensor, scale: int) -> Tensor:
    """Enlarge by an integer factor: one small convolution, then a pixel shuffle.

    Edges repeat the outermost pixel. Away from the edges (2 source pixels) this equals
    `F.interpolate(mode="bicubic", antialias=True)`, which renormalises its kernel there instead.

    Args:
        pixels: (N, C, H, W), any range.
        scale: at least 1.
    Returns:
        (N, C, scale*H, scale*W), float32, or float64 for float64; may overshoot the input's range.
    Raises:
        ValueError: scale is below 1, or pixels is not 4-D.
    """
    if scale < 1:
        raise ValueError(f"scale must be at least 1, got {scale}")
    if pixels.ndim != 4:
        raise ValueError(f"pixels must be (N, C, H, W), got {tuple(pixels.shape)}")
    n, c, h, w = pixels.shape
    dtype = torch.float64 if pixels.dtype == torch.float64 else torch.float32
    planes = pixels.to(dtype).reshape(n * c, 1, h, w)
    planes = F.pad(planes, [BICUBIC_RADIUS] * 4, mode="replicate")
    kernels = _phase_kernels(scale).to(pixels.device, dtype)
    with torch.autocast(pixels.device.type, enabled=False):
        phases = F.conv2d(planes, kernels)  # (N*C, s*s, H, W)
    return F.pixel_shuffle(phases, scale).reshape(n, c, h * scale, w * scale)


def bicubic_downscale(pixels: Tensor, scale: int) -> Tensor:
    """Shrink by an integer factor, antialiased: the degradation of the published protocol.

    Args:
        pixels: (N, C, H, W) in 0..255; H and W multiples of scale.
    Returns:
        (N, C, H/scale, W/scale), rounded to whole levels and clamped to 0..255.
    Raises:
        ValueError: H or W is no multiple of scale.
    """
    h, w = pixels.shape[-2:]
    if h % scale or w % scale:
        raise ValueError(f"size must be a multiple of {scale}, got {w}x{h}")
    small = F.interpolate(
        pixels.float(),
        size=(h // scale, w // scale),
        mode="bicubic",
        antialias=True,
        align_corners=False,
    )
    return small.round().clamp(0, 255)
