"""Mean and variance of each channel of a large map, put together from its parts."""

import torch
from torch import Tensor

_PART = 4096
"""Pixels that are summed in the map's own type; parts are put together in float64."""


class ChannelStatistics:
    """Grows by windows of a map, in any order; the same however it is cut, to within rounding.

    Source: the pairwise update of Chan, Golub & LeVeque 1979, over all parts at once.
    """

    def __init__(self) -> None:
        self._counts: list[int] = []
        self._means: list[Tensor] = []
        self._inverses: list[Tensor] = []

    def add(self, x: Tensor) -> None:
        """Take in (1, C, h, w); fastest with the channels of a pixel side by side."""
        x = x.contiguous(memory_format=torch.channels_last)
        rows = max(1, _PART // x.shape[3])
        for part in torch.split(x, rows, dim=2):
            # the one kernel that finds both in a pass; its epsilon of 0 gives 1/deviation, and 0
            # where that is not a number
            _, mean, inverse = torch.native_batch_norm(part, None, None, None, None, True, 0.0, 0.0)
            self._counts.append(part.shape[2] * part.shape[3])
            self._means.append(mean)
            self._inverses.append(inverse)

    def mean_and_variance(self) -> tuple[Tensor, Tensor]:
        """(C,) float64 each; the variance is the population's.

        Raises:
            ValueError: nothing was added.
        """
        if not self._counts:
            raise ValueError("statistics need at least one part, got none")
        means = torch.stack(self._means).double()
        inverses = torch.stack(self._inverses).double()
        variances = torch.where(inverses > 0, inverses.pow(-2), 0.0)
        share = torch.tensor(self._counts, dtype=torch.float64, device=means.device)[:, None]
        share = share / share.sum()
        mean = (share * means).sum(0)
        return mean, (share * (variances + (means - mean).square())).sum(0)
