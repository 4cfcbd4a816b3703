"""Pictures as grids of sites: the order in which pixel models predict, and the unit they do it in.

A *site* is a horizontal run of `run` pixels; its *symbols* are the values of those pixels, from
left to right, and within a pixel R, G, B. A network looks at sites in raster order and predicts
all symbols of one site at once or one after the other, so that the order over a picture's values
is raster order whatever the run is. `run` is 1 in the papers; a longer one makes a binary picture
smaller for the network, as a colour pixel holds three values.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Sites:
    """What the values of a picture are: channels, levels 0..levels-1, pixels in a site."""

    channels: int = 3
    levels: int = 256
    run: int = 1

    def __post_init__(self) -> None:
        if self.channels < 1:
            raise ValueError(f"channels must be at least 1, got {self.channels}")
        if not 2 <= self.levels <= 256:
            raise ValueError(f"levels must be 2 to 256, got {self.levels}")
        if self.run < 1:
            raise ValueError(f"run must be at least 1, got {self.run}")

    @property
    def symbols(self) -> int:
        """Values in one site."""
        return self.channels * self.run

    def of(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, symbols, H, W/run).

        Raises:
            ValueError: another number of channels, or a width that is no multiple of the run.
        """
        if images.ndim != 4 or images.shape[1] != self.channels:
            shape = tuple(images.shape)
            raise ValueError(f"images must be (N, {self.channels}, H, W), got {shape}")
        n, c, h, w = images.shape
        if w % self.run:
            raise ValueError(f"the width must be a multiple of {self.run}, got {w}")
        if self.run == 1:
            return images
        cut = images.reshape(n, c, h, w // self.run, self.run)
        return cut.permute(0, 4, 1, 2, 3).reshape(n, self.symbols, h, w // self.run)

    def images(self, sites: Tensor) -> Tensor:
        """(N, symbols, H, W/run) -> (N, C, H, W), the inverse of `of`."""
        if self.run == 1:
            return sites
        n, _, h, w = sites.shape
        apart = sites.reshape(n, self.run, self.channels, h, w)
        return apart.permute(0, 2, 3, 4, 1).reshape(n, self.channels, h, w * self.run)

    def scaled(self, sites: Tensor, kind: torch.dtype = torch.float32) -> Tensor:
        """Levels -> -1..1 as float; differentiable."""
        return sites.to(kind) * (2 / (self.levels - 1)) - 1
