"""How far a network sees, measured from the network itself."""

import copy

import torch
from torch import Tensor, nn


def receptive_radius(network: nn.Module, *, channels: int, scale: int, limit: int) -> int:
    """Source pixels on each side that an output pixel depends on, measured from the network.

    All weights are made positive in a copy, so that no path cancels another, and the gradient of
    the middle output pixels is followed back to the input in float64.

    Args:
        channels: of the network's input.
        scale: output pixels per source pixel.
        limit: the largest radius looked for; a network that sees further gets this.
    """
    probe = copy.deepcopy(network).double().eval()
    with torch.no_grad():
        for parameter in probe.parameters():
            parameter.abs_().add_(1e-3)
            if parameter.ndim > 1:  # a sum of about 1 a map, or tanh and its like would saturate
                parameter.mul_(len(parameter) / parameter.sum())
    side = 2 * limit + 1
    x = torch.ones((1, channels, side, side), dtype=torch.float64, requires_grad=True)
    y: Tensor = probe(x)
    middle = limit * scale
    y[..., middle : middle + scale, middle : middle + scale].sum().backward()  # type: ignore[no-untyped-call]
    if x.grad is None:
        raise ValueError("the network's output does not depend on its input")
    seen = x.grad.abs().sum((0, 1)) > 0
    rows, columns = seen.any(1).nonzero(), seen.any(0).nonzero()
    reach = torch.cat([rows, columns]) - limit
    return int(reach.abs().max())
