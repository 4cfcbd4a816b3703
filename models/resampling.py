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


@lru_cache(maxsize=32)
def _phase_kernels(scale: int, channels: int) -> Tensor:
    """A 5x5 kernel for each place inside an enlarged pixel: (scale^2 * C, C, 5, 5), float64.

    Output channel (y * scale + x) * C + c reads input channel c alone.
    """
    with torch.inference_mode(False):  # kept for callers that follow gradients, too
        taps = torch.arange(-BICUBIC_RADIUS, BICUBIC_RADIUS + 1, dtype=torch.float64)
        phases = (torch.arange(scale, dtype=torch.float64) + 0.5) / scale - 0.5
        rows = cubic_kernel(phases[:, None] - taps[None, :])  # (s, 5)
        planes = rows[:, None, :, None] * rows[None, :, None, :]  # (s, s, 5, 5)
        own = torch.eye(channels, dtype=torch.float64)[None, :, :, None, None]
        kernels = planes.reshape(scale * scale, 1, 1, *planes.shape[-2:]) * own
        return kernels.flatten(0, 1).contiguous(memory_format=torch.channels_last)


def bicubic_phases(pixels: Tensor, scale: int) -> Tensor:
    """Enlarge by an integer factor, leaving the new pixels beside each other in channels.

    Edges repeat the outermost pixel. Away from the edges (2 source pixels) this equals
    `F.interpolate(mode="bicubic", antialias=True)`, which renormalises its kernel there instead.

    Args:
        pixels: (N, C, H, W), any range.
        scale: at least 1.
    Returns:
        (N, scale^2 * C, H, W), float32, or float64 for float64; channel (y * scale + x) * C + c
        is the pixel (y, x) of the scale x scale that one becomes. It may overshoot.
    Raises:
        ValueError: scale is below 1, or pixels is not 4-D.
    """
    if scale < 1:
        raise ValueError(f"scale must be at least 1, got {scale}")
    if pixels.ndim != 4:
        raise ValueError(f"pixels must be (N, C, H, W), got {tuple(pixels.shape)}")
    dtype = torch.float64 if pixels.dtype == torch.float64 else torch.float32
    padded = F.pad(pixels.to(dtype), [BICUBIC_RADIUS] * 4, mode="replicate")
    kernels = _phase_kernels(scale, pixels.shape[1]).to(pixels.device, dtype)
    with torch.autocast(pixels.device.type, enabled=False):
        return F.conv2d(padded.contiguous(memory_format=torch.channels_last), kernels)


def join_phases(phases: Tensor, scale: int) -> Tensor:
    """Put phases in their places: (N, scale^2 * C, H, W) -> (N, scale*H, scale*W, C)."""
    n, many, h, w = phases.shape
    apart = phases.permute(0, 2, 3, 1).reshape(n, h, w, scale, many // scale)
    return apart.transpose(2, 3).reshape(n, h * scale, w * scale, many // scale**2)


def bicubic_upscale(pixels: Tensor, scale: int) -> Tensor:
    """Enlarge by an integer factor; see `bicubic_phases`.

    Args:
        pixels: (N, C, H, W), any range.
    Returns:
        (N, C, scale*H, scale*W), float32, or float64 for float64; it may overshoot.
    """
    return join_phases(bicubic_phases(pixels, scale), scale).permute(0, 3, 1, 2)


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
