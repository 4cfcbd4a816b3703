"""PixelRNN: Row LSTM and Diagonal BiLSTM (van den Oord et al. 2016, arXiv:1601.06759).

    [o, f, i, g] = K_is * x + K_ss * h,  c' = sigma(f) c + sigma(i) tanh(g),  h' = sigma(o) tanh(c')

around a trunk of 2h features: a 7 x 7 masked convolution, LSTM layers with residual connections,
two 1 x 1 layers behind ReLUs. Levels in, the head's parameters out, as in `models.pixelcnn`.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.masked_convolution import MaskedConv2d
from models.pixel_heads import Head, JointHead, SoftmaxHead
from models.pixel_sites import Sites
from models.pixelcnn import check_labels, scaled_sites

Recurrence = Literal["row", "diagonal"]


@dataclass(frozen=True, kw_only=True)
class PixelRnnConfig:
    """PixelRNN's sizes; the defaults are the paper's for CIFAR-10.

    Args:
        recurrence: row (kernel x 1 over the row above) or diagonal (two directions).
        width: h, features of a state; the trunk has 2h.
        kernel: k of the Row LSTM's convolutions, odd.
        head_width: features of the two 1x1 layers at the end (1024; 32 for MNIST).
    """

    channels: int = 3
    levels: int = 256
    run: int = 1
    head: Literal["softmax", "joint"] = "softmax"
    recurrence: Recurrence = "diagonal"
    width: int = 128
    layers: int = 12
    first: int = 7
    kernel: int = 3
    head_width: int = 1024

    def __post_init__(self) -> None:
        for name in ("width", "layers", "head_width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.first % 2 != 1 or self.kernel % 2 != 1:
            raise ValueError(f"kernels must be odd, got {self.first} and {self.kernel}")
        if self.recurrence not in ("row", "diagonal"):
            raise ValueError(f"recurrence must be row or diagonal, got {self.recurrence!r}")
        self.make_head()

    @property
    def sites(self) -> Sites:
        return Sites(channels=self.channels, levels=self.levels, run=self.run)

    def make_head(self) -> SoftmaxHead | JointHead:
        """The head that the config names."""
        if self.head not in ("softmax", "joint"):
            raise ValueError(f"head must be softmax or joint, got {self.head!r}")
        return (
            SoftmaxHead(sites=self.sites) if self.head == "softmax" else JointHead(sites=self.sites)
        )


def _stepped(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """(h', c') of one step; gates are (N, 4h, ...), the cell (N, h, ...)."""
    o, f, i, g = gates.chunk(4, 1)
    cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(cell), cell


class RowLstm(nn.Module):
    """A Row LSTM: (N, 2h, H, W) -> (N, h, H, W), row after row, a triangle above each site."""

    def __init__(self, width: int, kernel: int, symbols: int) -> None:
        super().__init__()
        self.width = width
        self.input = MaskedConv2d(
            2 * width, 4 * width, mask_type="B", symbols=symbols, before=kernel // 2, halves=4
        )
        self.state = nn.Conv1d(width, 4 * width, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        n, _, height, width = x.shape
        given = self.input(x)
        h = cell = x.new_zeros(n, self.width, width)
        rows = []
        for y in range(height):
            h, cell = _stepped(given[:, :, y] + self.state(h), cell)
            rows.append(h)
        return torch.stack(rows, 2)


class DiagonalLstm(nn.Module):
    """One direction of a Diagonal BiLSTM: from the left and above, (N, 2h, H, W) -> (N, h, H, W).

    On skewed maps a step sees the last column at its own row (the site to the left) and one row
    up (the site above).
    """

    def __init__(self, width: int, symbols: int) -> None:
        super().__init__()
        self.width = width
        self.input = MaskedConv2d(2 * width, 4 * width, mask_type="B", symbols=symbols, halves=4)
        self.state = nn.Conv1d(width, 4 * width, 2, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        height = x.shape[2]
        given = skew(self.input(x))
        h = cell = x.new_zeros(len(x), self.width, height)
        columns = []
        for k in range(given.shape[3]):
            h, cell = _stepped(given[..., k] + self.state(h)[..., :height], cell)
            # what lies outside the picture on this diagonal is no state
            inside = skewed_inside(height, x.shape[3], k, x.device)
            h, cell = h * inside, cell * inside
            columns.append(h)
        return unskew(torch.stack(columns, 3))


def skew(x: Tensor) -> Tensor:
    """(..., H, W) -> (..., H, W + H - 1): row y is shifted y to the right; zeros around."""
    height, width = x.shape[-2:]
    wide = F.pad(x, (0, height))
    flat = wide.flatten(-2)[..., : height * (width + height - 1)]
    return flat.reshape(*flat.shape[:-1], height, width + height - 1)


def unskew(x: Tensor) -> Tensor:
    """The inverse of `skew`."""
    height, wide = x.shape[-2:]
    flat = F.pad(x.flatten(-2), (0, height))
    return flat.reshape(*flat.shape[:-1], height, wide + 1)[..., : wide - height + 1]


def skewed_inside(height: int, width: int, column: int, device: torch.device) -> Tensor:
    """(H,) 1 where a skewed column lies inside the picture, else 0."""
    x = column - torch.arange(height, device=device)
    return ((x >= 0) & (x < width)).float()


class DiagonalBiLstm(nn.Module):
    """Both directions; the right one's output, which saw its whole row, goes a row down."""

    def __init__(self, width: int, symbols: int) -> None:
        super().__init__()
        self.left = DiagonalLstm(width, symbols)
        self.right = DiagonalLstm(width, symbols)

    def forward(self, x: Tensor) -> Tensor:
        back = self.right(x.flip(3)).flip(3)
        made: Tensor = self.left(x) + F.pad(back, (0, 0, 1, 0))[:, :, :-1]
        return made


class PixelRnn(nn.Module):
    """PixelRNN: sees all that comes before; slow, as its steps follow one another."""

    def __init__(self, config: PixelRnnConfig) -> None:
        super().__init__()
        self.config = config
        self.head: Head = config.make_head()
        symbols = config.sites.symbols if self.head.sequential else 1
        width, reach = config.width, config.first // 2
        self.first = MaskedConv2d(
            config.sites.symbols,
            2 * width,
            mask_type="A",
            symbols=symbols,
            above=reach,
            before=reach,
            after=reach,
        )
        self.layers = nn.ModuleList(
            RowLstm(width, config.kernel, symbols)
            if config.recurrence == "row"
            else DiagonalBiLstm(width, symbols)
            for _ in range(config.layers)
        )
        self.wider = nn.ModuleList(
            MaskedConv2d(width, 2 * width, mask_type="B", symbols=symbols)
            for _ in range(config.layers)
        )
        self.head_in = MaskedConv2d(2 * width, config.head_width, mask_type="B", symbols=symbols)
        self.head_mid = MaskedConv2d(
            config.head_width, config.head_width, mask_type="B", symbols=symbols
        )
        self.head_out = MaskedConv2d(
            config.head_width, self.head.parameters, mask_type="B", symbols=symbols
        )

    @property
    def sites(self) -> Sites:
        return self.config.sites

    @property
    def classes(self) -> int:
        return 0

    def forward(self, levels: Tensor, labels: Tensor | None = None) -> Tensor:
        made: Tensor = self.head_out(F.relu(self.features(levels, labels)[-1]))
        return made

    def features(self, levels: Tensor, labels: Tensor | None = None) -> list[Tensor]:
        """The trunk before and behind each layer, (N, 2h, H, W/run), and the head's layers."""
        check_labels(labels, 0)
        x = self.first(scaled_sites(self.sites, levels, self.head_out.weight.dtype))
        kept = [x]
        for layer, wider in zip(self.layers, self.wider, strict=True):
            x = x + wider(layer(x))
            kept.append(x)
        one = self.head_in(F.relu(x))
        return [*kept, one, self.head_mid(F.relu(one))]
