"""Convolutions that see only what comes before, in raster order and in the order of symbols."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MaskType = Literal["A", "B"]


def symbol_of_features(features: int, symbols: int, *, halves: int = 1) -> Tensor:
    """The symbol that each feature belongs to: equal parts in order, in each of the halves.

    Raises:
        ValueError: there are fewer features in a half than symbols.
    """
    width = features // halves
    if width < symbols:
        raise ValueError(f"{symbols} symbols need at least as many features, got {width}")
    return (torch.arange(features) % width) * symbols // width


class MaskedConv2d(nn.Conv2d):
    """A convolution over a raster neighborhood: the rows above, and in its own row what is left.

    The kernel reaches `above` rows up, `before` columns to the left and `after` to the right (of
    the rows above only). At the center a feature of symbol s sees the features of symbols < s
    (mask "A": the first layer) or <= s (mask "B"); with one symbol nothing or all.
    Shape preserved, zero padding. Equals the masked k x k convolution of van den Oord et al. 2016
    (arXiv:1601.06759) for above = before = after = (k - 1)/2, without the rows that are all mask.

    Args:
        halves: outputs are so many equal parts, each in the order of symbols (2 before a gate).
    """

    mask: Tensor

    def __init__(
        self,
        into: int,
        out: int,
        *,
        mask_type: MaskType,
        symbols: int = 1,
        above: int = 0,
        before: int = 0,
        after: int = 0,
        halves: int = 1,
    ) -> None:
        if mask_type not in ("A", "B"):
            raise ValueError(f"mask_type must be A or B, got {mask_type!r}")
        if above and before != after:
            raise ValueError(f"above a row both sides must be equal, got {before} and {after}")
        height, width = above + 1, before + (after if above else 0) + 1
        super().__init__(into, out, (height, width), padding=(above, before))
        mask = torch.ones(out, into, height, width)
        mask[:, :, above, before + 1 :] = 0
        sees = symbol_of_features(into, symbols)[None, :]
        own = symbol_of_features(out, symbols, halves=halves)[:, None]
        mask[:, :, above, before] = (sees < own if mask_type == "A" else sees <= own).float()
        self.register_buffer("mask", mask, persistent=False)
        self._whole = bool(mask.all())

    @property
    def masked_weight(self) -> Tensor:
        """(out, into, above + 1, before + 1 + after) with zeros where nothing may be seen."""
        return self.weight if self._whole else self.weight * self.mask

    def forward(self, x: Tensor) -> Tensor:
        y = F.conv2d(x, self.masked_weight, self.bias, padding=self.padding)
        return y[:, :, : x.shape[2], : x.shape[3]]


class RowsAboveConv2d(nn.Conv2d):
    """A convolution over `rows` rows and `columns` columns, odd, centered on the column.

    The lowest row seen is the own one, or with `exclusive` the one above. Zero padding.
    """

    def __init__(
        self, into: int, out: int, *, rows: int, columns: int, exclusive: bool = False
    ) -> None:
        if rows < 1 or columns % 2 != 1:
            raise ValueError(f"rows and odd columns wanted, got {rows} x {columns}")
        self.exclusive = exclusive
        super().__init__(
            into, out, (rows, columns), padding=(rows - 1 + int(exclusive), columns // 2)
        )

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[:, :, : x.shape[2]]
