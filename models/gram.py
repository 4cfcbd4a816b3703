"""Gram matrices of feature maps, and how far two pictures' are apart: texture and style."""

from collections.abc import Mapping

import torch
from torch import Tensor


def gram_matrix(features: Tensor) -> Tensor:
    """Channel correlations of a feature map, averaged over positions: F F^T / (H W).

    Args:
        features: (N, C, H, W), any range.
    Returns:
        (N, C, C), symmetric, positive semi-definite; units: features squared.
    Raises:
        ValueError: features is not 4-D, or has no positions.

    Source: Gatys et al. 2015, arXiv:1505.07376. Differs: divides by H*W here; the paper carries
    1 / (4 N^2 M^2) in the loss, Johnson et al. 2016 (arXiv:1603.08155) divide by C*H*W.
    """
    if features.ndim != 4 or features[0, 0].numel() == 0:
        raise ValueError(f"features must be (N, C, H, W) with positions, got {features.shape}")
    flat = features.flatten(2)  # (N, C, HW)
    return flat @ flat.transpose(1, 2) / flat.shape[-1]


def gram_distance(gram: Tensor, target: Tensor) -> Tensor:
    """||G - G_target||^2 / ||G_target||^2, for each picture of the batch.

    Relative, so that layers count alike and weights carry over between networks whose activations
    have other scales.

    Args:
        gram: (N, C, C). target: (C, C) or (N, C, C).
    Returns:
        (N,); 0 where they are equal, 1 where gram is zero.
    Raises:
        ValueError: they are not of the same layer.
    """
    if gram.ndim != 3 or gram.shape[-2:] != target.shape[-2:]:
        raise ValueError(f"gram must be (N, C, C) as target, got {gram.shape} and {target.shape}")
    size = target.square().sum(dim=(-2, -1)).clamp_min(torch.finfo(target.dtype).tiny)
    return (gram - target).square().sum(dim=(-2, -1)) / size


def gram_targets(features: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """{layer: (N, C, h, w)} -> {layer: (N, C, C)}, without a gradient."""
    return {name: gram_matrix(layer.detach().float()) for name, layer in features.items()}
