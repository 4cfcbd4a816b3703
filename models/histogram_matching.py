"""Give one picture the colours of another: value by value, or by mean and covariance."""

import torch
from torch import Tensor

from models.sliced_wasserstein import quantiles

_SMALLEST_VARIANCE = 1e-5  # of colours in 0..1: what is flatter has no direction to be stretched in


def match_histogram(picture: Tensor, reference: Tensor) -> Tensor:
    """Give each channel the reference's distribution of values, in the order that its pixels have.

    Args:
        picture: (1, C, H, W). reference: (C, n), one column a pixel, or (1, C, h, w).
    Returns:
        As picture; of equal values the earlier in raster order is the smaller.
    Raises:
        ValueError: other channels, or no pixels.
    """
    wanted = _columns(reference, picture.shape[1])
    flat = picture.flatten(2)[0]
    order = flat.sort(dim=1, stable=True).indices
    values = quantiles(wanted.sort(dim=1).values, flat.shape[1]).to(flat.dtype)
    return torch.empty_like(flat).scatter_(1, order, values).reshape(picture.shape)


def match_colours(picture: Tensor, reference: Tensor) -> Tensor:
    """The linear map of colours, x -> A (x - mean) + mean', that gives the reference's covariance.

    A = S' S^-1 with the symmetric square roots S, S' of the covariances. Source: the linear
    transfer of Gatys et al. 2016, "Preserving color in neural artistic style transfer",
    arXiv:1606.05897.

    Args:
        picture: (1, 3, H, W) in 0..1. reference: (3, n) or (1, 3, h, w).
    Returns:
        As picture, clamped to 0..1.
    Raises:
        ValueError: other channels, or no pixels.
    """
    wanted = _columns(reference, picture.shape[1]).double()
    flat = picture.flatten(2)[0].double()
    own, other = _moments(flat), _moments(wanted)
    matrix = _root(other[1], 0.5) @ _root(own[1], -0.5)
    moved = matrix @ (flat - own[0]) + other[0]
    return moved.clamp(0, 1).to(picture.dtype).reshape(picture.shape)


def _columns(reference: Tensor, channels: int) -> Tensor:
    flat = reference.flatten(2)[0] if reference.ndim == 4 else reference
    if flat.ndim != 2 or flat.shape[0] != channels or flat.shape[1] == 0:
        raise ValueError(f"reference must have {channels} channels, got {tuple(reference.shape)}")
    return flat


def _moments(columns: Tensor) -> tuple[Tensor, Tensor]:
    mean = columns.mean(dim=1, keepdim=True)
    centred = columns - mean
    ridge = _SMALLEST_VARIANCE * torch.eye(len(columns), dtype=columns.dtype)
    return mean, centred @ centred.T / columns.shape[1] + ridge.to(columns.device)


def _root(covariance: Tensor, power: float) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = (vectors * values.pow(power)) @ vectors.T
    return root
