"""What a network costs: its parameters, and the multiplications it makes of a picture."""

import math

import torch
from torch import Tensor, nn


def parameters(network: nn.Module) -> int:
    """How many numbers are learned: weights, biases and slopes of activations."""
    return sum(p.numel() for p in network.parameters())


def macs(network: nn.Module, height: int, width: int, *, channels: int = 1) -> int:
    """Multiply-accumulates for one picture, counted in a forward pass over zeros.

    Those of convolutions and linear layers, as the literature counts; biases, activations, the
    fixed bicubic enlargement and products of two activations (attention) are left out. A
    transposed convolution counts at its input, where it multiplies; tables that have 4.6 G for
    FSRCNN (x4, 1280x720) count its 81 taps at every output pixel instead, of which most meet zeros.

    Args:
        height, width: of the low-resolution picture.
        channels: of the network's input.
    Raises:
        ValueError: a side or the channels are below 1.
    """
    if min(height, width, channels) < 1:
        raise ValueError(f"a picture must be at least 1x1x1, got {width}x{height}x{channels}")
    counted = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal counted
        counted += _macs_of(module, inputs[0], output)

    layers = [m for m in network.modules() if isinstance(m, _COUNTED)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    first = next(network.parameters())
    modes = [(module, module.training) for module in network.modules()]
    network.eval()  # a batch normalisation would learn from the zeros
    try:
        with torch.inference_mode():
            network(torch.zeros((1, channels, height, width), device=first.device).to(first.dtype))
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes:
            module.training = mode
    return counted


_COUNTED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def _macs_of(module: nn.Module, given: Tensor, output: Tensor) -> int:
    if isinstance(module, nn.ConvTranspose2d):
        taps = math.prod(module.kernel_size) * module.out_channels // module.groups
        return given.numel() * taps
    if isinstance(module, nn.Conv2d):
        taps = math.prod(module.kernel_size) * module.in_channels // module.groups
        return output.numel() * taps
    if isinstance(module, nn.Linear):
        return output.numel() * module.in_features
    raise TypeError(f"{type(module).__name__} is not counted")
