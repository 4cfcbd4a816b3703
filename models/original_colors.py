"""Style without its colours: the content's chroma under the result's luma."""

import torch
from torch import Tensor

_LUMA = (0.299, 0.587, 0.114)  # BT.601, full swing


def full_luma(rgb: Tensor) -> Tensor:
    """BT.601 luma of RGB in 0..1, full swing: (N, 3, H, W) -> (N, 1, H, W) in 0..1."""
    weights = torch.tensor(_LUMA, dtype=rgb.dtype, device=rgb.device).view(1, 3, 1, 1)
    return (rgb * weights).sum(dim=1, keepdim=True)


def with_original_colors(result: Tensor, content: Tensor) -> Tensor:
    """The content's chroma, R - Y and B - Y, and the result's luma Y as far as there is room.

    Source: the luminance-only transfer of Gatys et al. 2016, arXiv:1606.05897. Differs: luma is
    held to where that chroma lies within 0..1, so that chroma is the content's exactly; clipping
    colours would change it.

    Args:
        result, content: (N, 3, H, W) in 0..1.
    Returns:
        (N, 3, H, W) in 0..1.
    Raises:
        ValueError: unequal shapes.
    """
    if result.shape != content.shape or result.ndim != 4 or result.shape[1] != 3:
        raise ValueError(
            "result and content must both be (N, 3, H, W), got"
            f" {tuple(result.shape)} and {tuple(content.shape)}"
        )
    chroma = content - full_luma(content)
    lowest = (-chroma).amax(dim=1, keepdim=True)
    highest = 1 - chroma.amax(dim=1, keepdim=True)
    luma = torch.minimum(torch.maximum(full_luma(result), lowest), highest)
    return (luma + chroma).clamp(0, 1)
