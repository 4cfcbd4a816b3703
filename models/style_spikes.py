"""What holds a painter off spikes: single places whose values drown a channel's statistics.

An instance norm hides how strong a signal is, and a network gets around it: it blows up one place
of a map, mostly in the largest even area, and so sets the deviation that all others are divided by.
In the picture that place is a blot. A training pays for it:

    spikes = sum over the norms of mean(max(0, |x - mean| / deviation - 5)^2)

Source: the droplets of Karras et al. 2020, arXiv:1912.04958, section 2. Differs: they leave the
statistics out; a painter needs them to be even-handed with contrast, so that we price the spike.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from models.style_feedforward import ConditionalInstanceNorm

_FREE = 5.0
"""Deviations that cost nothing: edges and highlights of photographs reach them."""


def spikes(x: Tensor) -> Tensor:
    """mean(max(0, |x - mean| / deviation - 5)^2) of each picture: (N, C, H, W) -> (N,)."""
    variance, mean = torch.var_mean(x, dim=(2, 3), correction=0, keepdim=True)
    deviations = (x - mean).abs() * (variance + 1e-5).rsqrt()
    return (deviations - _FREE).clamp_min(0).square().mean(dim=(1, 2, 3))


@contextmanager
def counted_spikes(network: nn.Module) -> Iterator[list[Tensor]]:
    """A list that grows, while the network is called, by `spikes` of what each norm is given."""
    seen: list[Tensor] = []

    def look(_norm: nn.Module, given: tuple[Tensor, ...], _made: Tensor) -> None:
        seen.append(spikes(given[0]))

    norms = [m for m in network.modules() if isinstance(m, ConditionalInstanceNorm)]
    handles = [norm.register_forward_hook(look) for norm in norms]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
