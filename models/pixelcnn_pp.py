"""PixelCNN++ (Salimans et al. 2017, arXiv:1701.05517): two streams, three scales, short cuts.

Differs from the authors' code: no weight normalisation and no initialisation by data; transposed
convolutions are 2 x 2 in both streams (theirs 2 x 3 above); a class conditions every block through
an embedding. Sizes, the activation and the head are the config's; the paper's are the defaults.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.masked_convolution import RowsAboveConv2d
from models.pixel_heads import Head, JointHead, MixtureHead
from models.pixel_sites import Sites
from models.pixelcnn import check_labels, scaled_sites

Activation = Literal["concat_elu", "elu"]


@dataclass(frozen=True, kw_only=True)
class PixelCnnPpConfig:
    """PixelCNN++'s sizes.

    Args:
        head: mixture is the discretised logistic mixture; joint a softmax over all values of a
            site, for sites of few values (binary pictures).
        filters: features of a stream at each scale, finest first.
        blocks: gated residual blocks at each scale on the way down, and on the way up.
        entry_shortcuts: what enters a scale is a short cut too, to one more block on the way up
            at every scale but the coarsest: the paper's network.
        classes: labels that condition it; 0 is none.
        activation: concat_elu(x) = elu([x, -x]) doubles what a convolution reads; elu does not.
    """

    channels: int = 3
    levels: int = 256
    run: int = 1
    head: Literal["mixture", "joint"] = "mixture"
    mixtures: int = 10
    filters: tuple[int, ...] = (160, 160, 160)
    blocks: tuple[int, ...] = (5, 5, 5)
    entry_shortcuts: bool = True
    classes: int = 0
    activation: Activation = "concat_elu"
    dropout: float = 0.5

    def __post_init__(self) -> None:
        # TOML and JSON have lists
        object.__setattr__(self, "filters", tuple(self.filters))
        object.__setattr__(self, "blocks", tuple(self.blocks))
        if not self.filters or len(self.filters) != len(self.blocks):
            raise ValueError(
                f"as many filters as blocks wanted, got {self.filters} and {self.blocks}"
            )
        if min(self.filters) < 1 or min(self.blocks) < 1:
            raise ValueError(
                f"filters and blocks must be at least 1, got {self.filters} and {self.blocks}"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be 0 to below 1, got {self.dropout}")
        if self.activation not in ("concat_elu", "elu"):
            raise ValueError(f"activation must be concat_elu or elu, got {self.activation!r}")
        if self.classes < 0:
            raise ValueError(f"classes must be at least 0, got {self.classes}")
        self.make_head()

    @property
    def sites(self) -> Sites:
        return Sites(channels=self.channels, levels=self.levels, run=self.run)

    def make_head(self) -> MixtureHead | JointHead:
        """The head that the config names."""
        if self.head not in ("mixture", "joint"):
            raise ValueError(f"head must be mixture or joint, got {self.head!r}")
        if self.head == "joint":
            return JointHead(sites=self.sites)
        return MixtureHead(sites=self.sites, mixtures=self.mixtures)


def activate(x: Tensor, kind: Activation) -> Tensor:
    """elu(x), or elu of x and -x side by side."""
    return F.elu(torch.cat([x, -x], 1) if kind == "concat_elu" else x)


class LeftAboveConv2d(nn.Conv2d):
    """A 2 x 2 convolution over the own row and the one above, the own column and the one left."""

    def __init__(self, into: int, out: int, *, stride: int = 1) -> None:
        super().__init__(into, out, (2, 2), stride=stride, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        step = self.stride[0]
        return super().forward(x)[:, :, : x.shape[2] // step, : x.shape[3] // step]


class DownConv2d(nn.Conv2d):
    """A 2 x 3 convolution over the own row and the one above, at every second row and column."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__(into, out, (2, 3), stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[:, :, : x.shape[2] // 2]


class GatedBlock(nn.Module):
    """x + a sigma(b), (a, b) = conv(drop(act(conv(act(x)) + 1x1 act(short cut)))) + class."""

    def __init__(
        self,
        width: int,
        convolution: Callable[[int, int], nn.Module],
        config: PixelCnnPpConfig,
        *,
        beside: int = 0,
    ) -> None:
        super().__init__()
        times = 2 if config.activation == "concat_elu" else 1
        self.activation: Activation = config.activation
        self.first = convolution(times * width, width)
        self.beside = nn.Conv2d(times * beside, width, 1) if beside else None
        self.second = convolution(times * width, 2 * width)
        self.dropout = nn.Dropout(config.dropout)
        self.label = nn.Embedding(config.classes, 2 * width) if config.classes else None

    def forward(self, x: Tensor, beside: Tensor | None, labels: Tensor | None) -> Tensor:
        inner = self.first(activate(x, self.activation))
        if self.beside is not None and beside is not None:
            inner = inner + self.beside(activate(beside, self.activation))
        both = self.second(self.dropout(activate(inner, self.activation)))
        if self.label is not None:
            both = both + self.label(labels)[:, :, None, None]
        a, b = both.chunk(2, 1)
        made: Tensor = x + a * torch.sigmoid(b)
        return made


def _rows_above(into: int, out: int) -> nn.Module:
    return RowsAboveConv2d(into, out, rows=2, columns=3)


def _left_above(into: int, out: int) -> nn.Module:
    return LeftAboveConv2d(into, out)


class Scale(nn.Module):
    """The blocks of both streams at one scale, on the way down or up."""

    def __init__(self, width: int, blocks: int, config: PixelCnnPpConfig, *, up: bool) -> None:
        super().__init__()
        short = width if up else 0
        self.above = nn.ModuleList(
            GatedBlock(width, _rows_above, config, beside=short) for _ in range(blocks)
        )
        self.left = nn.ModuleList(
            GatedBlock(width, _left_above, config, beside=width + short) for _ in range(blocks)
        )

    def pairs(self) -> Iterator[tuple[nn.Module, nn.Module]]:
        """The blocks of both streams, side by side."""
        return zip(self.above, self.left, strict=True)


Streams = tuple[Tensor, Tensor]


class PixelCnnPp(nn.Module):
    """PixelCNN++: streams "above" (all rows above) and "left" (those and the own row's left).

    A coarser scale takes every second row and column; short cuts lead from each block on the way
    down to its mirror image on the way up. Sides must be multiples of 2^(scales - 1).
    """

    def __init__(self, config: PixelCnnPpConfig) -> None:
        super().__init__()
        self.config = config
        self.head: Head = config.make_head()
        symbols, widths = config.sites.symbols, config.filters
        pairs = list(pairwise(widths))
        self.first_above = RowsAboveConv2d(symbols, widths[0], rows=2, columns=3, exclusive=True)
        self.first_row_above = RowsAboveConv2d(
            symbols, widths[0], rows=1, columns=3, exclusive=True
        )
        self.first_left = LeftOnlyConv2d(symbols, widths[0])
        scales = list(zip(widths, config.blocks, strict=True))
        self.down = nn.ModuleList(Scale(w, b, config, up=False) for w, b in scales)
        more = [int(config.entry_shortcuts)] * len(pairs) + [0]
        self.up = nn.ModuleList(
            Scale(w, b + extra, config, up=True) for (w, b), extra in zip(scales, more, strict=True)
        )
        self.coarser_above = nn.ModuleList(DownConv2d(a, b) for a, b in pairs)
        self.coarser_left = nn.ModuleList(LeftAboveConv2d(a, b, stride=2) for a, b in pairs)
        self.finer_above = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, 2) for a, b in pairs)
        self.finer_left = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, 2) for a, b in pairs)
        self.head_out = nn.Conv2d(widths[0], self.head.parameters, 1)

    @property
    def sites(self) -> Sites:
        return self.config.sites

    @property
    def classes(self) -> int:
        return self.config.classes

    def forward(self, levels: Tensor, labels: Tensor | None = None) -> Tensor:
        made: Tensor = self.head_out(F.elu(self.features(levels, labels)[-1]))
        return made

    def features(self, levels: Tensor, labels: Tensor | None = None) -> list[Tensor]:
        """The stream "left" at each short cut's begin and end, in order: (N, width, H', W')."""
        check_labels(labels, self.classes)
        x = scaled_sites(self.sites, levels, self.head_out.weight.dtype)
        self._check_size(x)
        above = self.first_above(x)
        left = self.first_row_above(x) + self.first_left(x)
        passed: list[Streams] = []
        for n, scale in enumerate(self.down):
            if n:
                above = self.coarser_above[n - 1](above)
                left = self.coarser_left[n - 1](left)
            if self.config.entry_shortcuts:
                passed.append((above, left))
            for up, side in scale.pairs():  # type: ignore[operator]
                above = up(above, None, labels)
                left = side(left, above, labels)
                passed.append((above, left))
        return self._up(passed, labels)

    def _up(self, passed: list[Streams], labels: Tensor | None) -> list[Tensor]:
        kept, shorts = [left for _, left in passed], list(passed)
        above, left = shorts.pop() if self.config.entry_shortcuts else shorts[-1]
        for n in reversed(range(len(self.up))):
            for up, side in self.up[n].pairs():  # type: ignore[operator]
                short_above, short_left = shorts.pop()
                above = up(above, short_above, labels)
                left = side(left, torch.cat([above, short_left], 1), labels)
                kept.append(left)
            if n:
                above = self.finer_above[n - 1](above)
                left = self.finer_left[n - 1](left)
        return kept

    def _check_size(self, sites: Tensor) -> None:
        step = 2 ** (len(self.down) - 1)
        if sites.shape[2] % step or sites.shape[3] % step:
            h, w = sites.shape[2:]
            raise ValueError(f"a picture's sites must be multiples of {step}, got {w} x {h}")


class LeftOnlyConv2d(nn.Conv2d):
    """A 2 x 1 convolution over the own row and the one above, of the column to the left."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__(into, out, (2, 1), padding=(1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[:, :, : x.shape[2], : x.shape[3]]


def pixelcnn_pp_init_(network: nn.Module, generator: torch.Generator) -> None:
    """Normal with variance 1/fan-in; the second convolution of a block a tenth of it.

    The last layer begins at nothing: every site the same distribution.
    """
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            upward = isinstance(module, nn.ConvTranspose2d)
            fan = module.in_channels if upward else module.weight[0].numel()
            gain = 0.1 if name.endswith(".second") else 1.0
            drawn = torch.randn(module.weight.shape, generator=generator)
            module.weight.data.copy_(drawn * (gain / fan**0.5))
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.data.zero_()
    last = network.get_submodule("head_out")
    last.weight.data.zero_()  # type: ignore[operator]
    head = getattr(network, "head", None)
    if isinstance(head, MixtureHead):
        _spread_(last.bias.data, head)  # type: ignore[arg-type]


def _spread_(bias: Tensor, head: MixtureHead) -> None:
    """Means all over -1..1 and scales to match, so that components differ from the start."""
    count, symbols = head.mixtures, head.sites.symbols
    means = torch.linspace(-1, 1, count + 2)[1:-1]
    rest = bias[count:].view(count, -1)
    rest[:, :symbols] = means[:, None]
    rest[:, symbols : 2 * symbols] = torch.tensor(1 / count).log()
