"""Networks that enlarge the luma of an image: SRCNN and mill."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.resampling import bicubic_phases, bicubic_upscale, join_phases

Scale = Literal[2, 3, 4]


def at_least_float32(x: Tensor) -> Tensor:
    """x, widened if autocast made it narrower than float32."""
    return x if x.dtype == torch.float64 else x.float()


@dataclass(frozen=True, kw_only=True)
class SrcnnConfig:
    """SRCNN's three layers, f1-f2-f3 with n1 and n2 feature maps."""

    scale: Scale = 4
    kernels: tuple[int, int, int] = (9, 5, 5)
    widths: tuple[int, int] = (64, 32)


class Srcnn(nn.Module):
    """relu(relu(bicubic(y) * W1) * W2) * W3: patch extraction, non-linear mapping, reconstruction.

    Source: Dong et al. 2014, arXiv:1501.00092. Differs: zero padding inside, so that the output
    has the size of the enlarged input; the paper crops.
    """

    def __init__(self, config: SrcnnConfig) -> None:
        super().__init__()
        self.config = config
        (f1, f2, f3), (n1, n2) = config.kernels, config.widths
        self.extract = nn.Conv2d(1, n1, f1, padding=f1 // 2)
        self.map = nn.Conv2d(n1, n2, f2, padding=f2 // 2)
        self.reconstruct = nn.Conv2d(n2, 1, f3, padding=f3 // 2)

    def forward(self, luma: Tensor) -> Tensor:
        """(N, 1, H, W) in 0..1 -> (N, 1, scale*H, scale*W), float32, about 0..1."""
        x = bicubic_upscale(luma, self.config.scale)
        x = F.relu(self.extract(x))
        x = F.relu(self.map(x))
        return at_least_float32(self.reconstruct(x))

    def detail(self, luma: Tensor) -> Tensor:
        """(N, 1, H, W) -> (N, scale^2, H, W): what this adds to the phases of bicubic."""
        phases = F.pixel_unshuffle(self(luma), self.config.scale)
        return phases - bicubic_phases(luma, self.config.scale)


@dataclass(frozen=True, kw_only=True)
class MillConfig:
    """mill's size: `width` feature maps, `blocks` residual pairs of 3x3 convolutions."""

    scale: Scale = 4
    width: int = 32
    blocks: int = 4


class ResidualPair(nn.Module):
    """prelu(x + conv(prelu(conv(x)))), 3x3 convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.act1 = nn.PReLU(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.act2 = nn.PReLU(width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act2(x + self.conv2(self.act1(self.conv1(x))))
        return y


class Mill(nn.Module):
    """shuffle(bicubic(y) + tail(body(head(y)))): every convolution at the low resolution.

    Source: the low-resolution space and pixel shuffle of Shi et al. 2016 (arXiv:1609.05158), the
    residual over the enlarged input of Kim et al. 2016 (arXiv:1511.04587), residual pairs without
    normalisation of Lim et al. 2017 (arXiv:1707.02921). Sizes are our own.
    """

    def __init__(self, config: MillConfig) -> None:
        super().__init__()
        self.config = config
        self.head = nn.Conv2d(1, config.width, 3, padding=1)
        self.act = nn.PReLU(config.width)
        self.body = nn.Sequential(*[ResidualPair(config.width) for _ in range(config.blocks)])
        self.tail = nn.Conv2d(config.width, config.scale**2, 3, padding=1)

    def forward(self, luma: Tensor) -> Tensor:
        """(N, 1, H, W) in 0..1 -> (N, 1, scale*H, scale*W), float32, about 0..1."""
        phases = bicubic_phases(luma, self.config.scale) + self.detail(luma)
        return join_phases(phases, self.config.scale).permute(0, 3, 1, 2)

    def detail(self, luma: Tensor) -> Tensor:
        """(N, 1, H, W) -> (N, scale^2, H, W): what this adds to the phases of bicubic.

        Only this small residual is ever bfloat16 under autocast: the base keeps all its bits.
        """
        return at_least_float32(self.tail(self.body(self.act(self.head(luma - 0.5)))))

    @property
    def radius(self) -> int:
        """How far `detail` sees: a pixel for each convolution."""
        return 2 + 2 * self.config.blocks

    def detail_inside(self, luma: Tensor) -> Tensor:
        """`detail` without the `radius` pixels at its borders, for which it looks outside.

        (N, 1, H, W) -> (N, scale^2, H - 2 radius, W - 2 radius). Each convolution computes only
        what is seen by the next: of a tile with its margins, a tenth to a fifth less.
        """

        def valid(conv: nn.Conv2d, x: Tensor) -> Tensor:
            return F.conv2d(x, conv.weight, conv.bias)

        pairs: list[ResidualPair] = list(self.body)  # type: ignore[arg-type]
        x: Tensor = self.act(valid(self.head, luma - 0.5))
        for pair in pairs:
            y = valid(pair.conv2, pair.act1(valid(pair.conv1, x)))
            x = pair.act2(y.add_(x[..., 2:-2, 2:-2]))
        return at_least_float32(valid(self.tail, x))


def small_init_(network: Mill, generator: torch.Generator) -> None:
    """Draw small weights in place, so that training starts from bicubic and cannot blow up."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.in_channels * module.kernel_size[0] * module.kernel_size[1]
            nn.init.normal_(module.weight, std=0.7 * fan_in**-0.5, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    with torch.no_grad():
        network.tail.weight.mul_(0.1)


def srcnn_init_(network: Srcnn, generator: torch.Generator) -> None:
    """Draw weights in place so that training starts from bicubic: the first map hands it on.

    The rest is He's for rectifiers; the reconstruction's share is small.
    """
    with torch.no_grad():
        for conv in (network.extract, network.map, network.reconstruct):
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu", generator=generator)
            if conv is network.reconstruct:
                conv.weight.mul_(0.02)
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)
            middle = conv.kernel_size[0] // 2
            if conv is network.reconstruct:
                conv.weight[:, 0] = 0.0
            else:
                conv.weight[0] = 0.0
            conv.weight[0, 0, middle, middle] = 1.0
