"""Likelihoods of pictures under a pixel model, exact: nats and bits per dimension."""

import math
from typing import Protocol

import torch
from torch import Tensor

from models.pixel_heads import Head
from models.pixel_sites import Sites


class PixelNetwork(Protocol):
    """What every pixel network is: levels and labels -> its head's parameters of every site."""

    @property
    def sites(self) -> Sites: ...
    @property
    def classes(self) -> int: ...
    @property
    def head(self) -> Head: ...
    def __call__(self, levels: Tensor, labels: Tensor | None = None) -> Tensor: ...
    def features(self, levels: Tensor, labels: Tensor | None = None) -> list[Tensor]: ...


def nats(network: PixelNetwork, images: Tensor, labels: Tensor | None = None) -> Tensor:
    """-log p of whole pictures.

    Args:
        images: levels (N, C, H, W), integers.
    Returns:
        (N,), summed in float32 over the picture's values; differentiable.
    Raises:
        ValueError: a level that the network does not have, or another shape.
    """
    check_levels(images, network.sites)
    parameters = network(images, labels).float()
    return -network.head.log_likelihood(parameters, network.sites.of(images)).flatten(1).sum(1)


def bits_per_dimension(total_nats: Tensor, dimensions: int) -> Tensor:
    """nats of a picture -> bits a value: nats / (ln 2 . C . H . W)."""
    return total_nats / (math.log(2) * dimensions)


def check_levels(images: Tensor, sites: Sites) -> None:
    """Raises ValueError: values that are no levels of these sites."""
    if images.is_floating_point():
        raise ValueError(f"levels must be integers, got {images.dtype}")
    low, high = int(images.min()), int(images.max())
    if low < 0 or high >= sites.levels:
        raise ValueError(f"levels must be 0 to {sites.levels - 1}, got {low} to {high}")


def mean_nats(
    network: PixelNetwork, images: Tensor, labels: Tensor | None = None, *, batch_size: int = 64
) -> float:
    """Mean -log p over many pictures, nats a picture; batches of `batch_size`, no gradients."""
    if not len(images):
        raise ValueError("there is no picture to judge, wanted at least one")
    total = 0.0
    with torch.no_grad():
        for start in range(0, len(images), batch_size):
            part = slice(start, start + batch_size)
            chosen = None if labels is None else labels[part]
            total += float(nats(network, images[part], chosen).double().sum())
    return total / len(images)
