"""Features that need no weights: one layer of random filters of many sizes."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDES = (3, 5, 7, 11, 15, 23, 37, 55)
"""Sides of the filters, pixels, as published."""

_MOST_KEPT = 2**25  # complex values of transformed filters: 256 MiB
_DIRECT = 7  # a wider filter is cheaper by Fourier transform


class RandomFeatures(nn.Module):
    """Rectified responses to random filters, one layer a filter size: `scale3` ... `scale55`.

    Source: the multi-scale network of Ustyuzhaninov et al. 2017, "What does it take to generate
    natural textures?" (ICLR). Differs: each size is a layer with a Gram matrix of its own (theirs
    is one over all sizes), `width` filters each where they have 128, drawn from Glorot's uniform
    distribution. Good for regular textures; it knows no objects.

    Args:
        generator: that draws the filters; the same seed gives the same features.
        width: filters of each size.
        sides: odd sides of the filters, pixels.
    Raises:
        ValueError: no filters, or an even side.
    """

    def __init__(
        self,
        generator: torch.Generator,
        *,
        width: int = 32,
        sides: tuple[int, ...] = SIDES,
    ) -> None:
        super().__init__()
        if width < 1 or not sides or any(side < 1 or side % 2 == 0 for side in sides):
            raise ValueError(f"filters must be of odd sides, got {width} of each of {sides}")
        self.layers: tuple[str, ...] = tuple(f"scale{side}" for side in sides)
        self.minimum_side: int = 1
        self.filters = nn.ParameterList()
        for side in sides:
            bound = math.sqrt(6 / ((3 + width) * side * side))
            drawn = torch.rand(width, 3, side, side, generator=generator, device=generator.device)
            self.filters.append(nn.Parameter((2 * drawn - 1) * bound, requires_grad=False))
        self._kernels: tuple[tuple[int, ...], list[Tensor]] = (), []
        self.eval()

    def forward(self, rgb: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) in 0..1 -> {layer: (N, width, H, W)}; zeros beyond the edges.

        Raises:
            ValueError: it is no RGB.
        """
        if rgb.ndim != 4 or rgb.shape[1] != 3:
            raise ValueError(f"rgb must be (N, 3, H, W), got {tuple(rgb.shape)}")
        x = 4 * (rgb - 0.5)  # about the range of a normalised photograph
        wide = [f.shape[-1] for f in self.filters if f.shape[-1] > _DIRECT]
        # one transform of the picture serves all filters: they differ in how much is cut off
        size = tuple(_smooth(s + max(wide) - 1) for s in rgb.shape[-2:]) if wide else (1, 1)
        spectrum = torch.fft.rfft2(x, s=size) if wide else x
        kernels = iter(self._transformed(size))
        found = {}
        for name, weight in zip(self.layers, self.filters, strict=True):
            margin = weight.shape[-1] // 2
            if weight.shape[-1] <= _DIRECT:
                response = F.conv2d(x, weight, padding=margin)
            else:
                product = torch.einsum("nchw,kchw->nkhw", spectrum, next(kernels))
                whole = torch.fft.irfft2(product, s=size)
                height, width = (margin + side for side in rgb.shape[-2:])
                response = whole[..., margin:height, margin:width]
            found[name] = F.relu(response)
        return found

    def _transformed(self, size: tuple[int, ...]) -> list[Tensor]:
        """The wide filters' transforms; those of the last size are kept, if they are not large."""
        if self._kernels[0] == size:
            return self._kernels[1]
        wide = [weight for weight in self.filters if weight.shape[-1] > _DIRECT]
        made = [torch.fft.rfft2(weight.flip(-2, -1), s=size) for weight in wide]
        if sum(kernel.numel() for kernel in made) <= _MOST_KEPT:
            self._kernels = size, made
        return made


def _smooth(length: int) -> int:
    """The next length without prime factors above 5, for which transforms are fast."""
    while True:
        rest = length
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return length
        length += 1
