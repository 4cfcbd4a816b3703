"""Peaks of normalised activations: what makes a painter leave a blot in every picture.

Instance norm divides by a map's deviation, and a network can learn to steer that by one huge value
somewhere: a droplet that shows in the output. Source: seen and explained by Karras et al. 2020,
arXiv:1912.04958, who change the norm; here such values cost something in training instead.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

HIGHEST = 6.0
"""Deviations from the mean that a value may have; of a million normal ones, none has more."""


def peak_excess(maps: Tensor, highest: float = HIGHEST) -> Tensor:
    """How far the farthest value of each map is beyond `highest` deviations, on average: a scalar.

    mean over maps of relu(max |x - mean| / sqrt(variance + 1e-5) - highest)

    Args:
        maps: (N, C, H, W), as the norm is given them.
    """
    variance, mean = torch.var_mean(maps, dim=(2, 3), correction=0, keepdim=True)
    deviations = ((maps - mean) * (variance + 1e-5).rsqrt()).abs().amax(dim=(2, 3))
    return torch.relu(deviations - highest).mean()


@contextmanager
def watched_peaks(modules: Iterable[nn.Module]) -> Iterator[list[Tensor]]:
    """The peak excess of every output that the modules compute within the body, in order."""
    found: list[Tensor] = []

    def watch(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        found.append(peak_excess(output))

    hooks = [module.register_forward_hook(watch) for module in modules]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
