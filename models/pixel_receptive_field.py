"""Which earlier pixels a pixel model sees: measured by gradients, not typed in."""

import copy
from typing import cast

import torch
from torch import Tensor, nn

from models.pixel_likelihood import PixelNetwork


def receptive_field(
    network: PixelNetwork, *, height: int, width: int, y: int, x: int, draws: int = 3
) -> Tensor:
    """Which pixels of a picture the prediction of pixel (y, x) depends on.

    A dependence is a gradient that is not 0 for one of a few random networks of this form: in one
    network a rectifier may be shut, and a trained weight may be 0.

    Args:
        network: any pixel network; it is not changed.
        draws: random networks that are looked at, each with its random picture.
    Returns:
        Booleans (height, width); a site of several pixels counts from its first on.
    Raises:
        ValueError: the pixel lies outside the picture.
    """
    if not (0 <= y < height and 0 <= x < width):
        raise ValueError(f"the pixel must lie in {width} x {height}, got ({x}, {y})")
    sites, generator = network.sites, torch.Generator().manual_seed(0)
    probe = copy.deepcopy(cast(nn.Module, network)).double().eval()
    seen = torch.zeros(height, width, dtype=torch.bool)
    labels = torch.zeros(1, dtype=torch.long) if network.classes else None
    for _ in range(draws):
        for weight in probe.parameters():
            noise = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
            fan = max(1, weight[0].numel())
            weight.data.copy_(noise / fan**0.5)
        levels = torch.rand(
            1, sites.channels, height, width, generator=generator, dtype=torch.float64
        )
        levels = (levels * (sites.levels - 1)).requires_grad_()
        made = probe(levels, labels)[0, :, y, x // sites.run]
        (gradient,) = torch.autograd.grad(made.sum(), levels)
        seen |= (gradient[0] != 0).any(0)
    return seen


def pixels_seen(seen: Tensor, *, y: int, x: int) -> tuple[int, int]:
    """(earlier pixels that are seen, earlier pixels that there are); the rest is blind.

    Raises:
        ValueError: a pixel is seen that does not come before (y, x): no causal network.
    """
    width = seen.shape[1]
    flat, place = seen.flatten(), y * width + x
    if flat[place + 1 :].any():
        raise ValueError(f"pixels after ({x}, {y}) are seen: the network is not causal")
    return int(flat[:place].sum()), place
