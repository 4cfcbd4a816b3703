"""Networks that enlarge luma, from the literature: ESPCN, FSRCNN, and a residual net whose
upsampling is a choice.

All of them add to bicubic enlargement, so that training begins where bicubic is and goes on fast;
the papers' ESPCN and FSRCNN compute the whole picture. All take luma - 0.5, so that the zeros
around a picture are gray, not black.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.resampling import bicubic_phases, bicubic_upscale, join_phases
from models.super_resolution import Scale, at_least_float32

Upsampling = Literal["bicubic", "unpool", "transposed", "pixelshuffle"]


def _check_scale(scale: int) -> None:
    if scale not in get_args(Scale):
        raise ValueError(f"scale must be 2, 3 or 4, got {scale}")


def _with_bicubic(luma: Tensor, detail: Tensor, scale: int) -> Tensor:
    phases = bicubic_phases(luma, scale) + detail
    return join_phases(phases, scale).permute(0, 3, 1, 2)


@dataclass(frozen=True, kw_only=True)
class EspcnConfig:
    """ESPCN as published, for one scale."""

    scale: Scale = 4

    def __post_init__(self) -> None:
        _check_scale(self.scale)


class Espcn(nn.Module):
    """shuffle(tanh(tanh(y * W1) * W2) * W3): 5x5x64, 3x3x32 and 3x3x(scale^2) convolutions.

    Source: Shi et al. 2016, arXiv:1609.05158. Differs: see the module.
    """

    def __init__(self, config: EspcnConfig) -> None:
        super().__init__()
        self.config = config
        self.extract = nn.Conv2d(1, 64, 5, padding=2)
        self.map = nn.Conv2d(64, 32, 3, padding=1)
        self.tail = nn.Conv2d(32, config.scale**2, 3, padding=1)

    def forward(self, luma: Tensor) -> Tensor:
        """(N, 1, H, W) in 0..1 -> (N, 1, scale*H, scale*W), float32, about 0..1."""
        return _with_bicubic(luma, self.detail(luma), self.config.scale)

    def detail(self, luma: Tensor) -> Tensor:
        """(N, 1, H, W) -> (N, scale^2, H, W): what this adds to the phases of bicubic."""
        x = torch.tanh(self.extract(luma - 0.5))
        return at_least_float32(self.tail(torch.tanh(self.map(x))))


@dataclass(frozen=True, kw_only=True)
class FsrcnnConfig:
    """FSRCNN(d, s, m): `width` d, `shrunk` s feature maps, `mappings` m 3x3 convolutions."""

    scale: Scale = 4
    width: int = 56
    shrunk: int = 12
    mappings: int = 4

    def __post_init__(self) -> None:
        _check_scale(self.scale)


class Fsrcnn(nn.Module):
    """Feature extraction 5x5, shrinking 1x1, mapping 3x3, expanding 1x1, deconvolution 9x9.

    Source: Dong et al. 2016, arXiv:1608.00367. Differs: see the module; and the transposed
    convolution lies as nearly as it can in the middle of the pixel that it enlarges.
    """

    def __init__(self, config: FsrcnnConfig) -> None:
        super().__init__()
        self.config = config
        d, s = config.width, config.shrunk
        self.extract = nn.Sequential(nn.Conv2d(1, d, 5, padding=2), nn.PReLU(d))
        self.shrink = nn.Sequential(nn.Conv2d(d, s, 1), nn.PReLU(s))
        self.map = nn.Sequential(
            *[
                nn.Sequential(nn.Conv2d(s, s, 3, padding=1), nn.PReLU(s))
                for _ in range(config.mappings)
            ]
        )
        self.expand = nn.Sequential(nn.Conv2d(s, d, 1), nn.PReLU(d))
        half, odd = divmod(config.scale - 1, 2)
        self.tail = nn.ConvTranspose2d(
            d, 1, 9, stride=config.scale, padding=4 - half, output_padding=odd
        )

    def forward(self, luma: Tensor) -> Tensor:
        """(N, 1, H, W) in 0..1 -> (N, 1, scale*H, scale*W), float32, about 0..1."""
        return _with_bicubic(luma, self.detail(luma), self.config.scale)

    def detail(self, luma: Tensor) -> Tensor:
        """(N, 1, H, W) -> (N, scale^2, H, W): what this adds to the phases of bicubic."""
        x = self.map(self.shrink(self.extract(luma - 0.5)))
        return at_least_float32(F.pixel_unshuffle(self.tail(self.expand(x)), self.config.scale))


@dataclass(frozen=True, kw_only=True)
class ResidualFcnConfig:
    """`blocks` residual blocks of `width` feature maps, and how they come to the full size."""

    scale: Scale = 4
    width: int = 32
    blocks: int = 4
    upsampling: Upsampling = "pixelshuffle"

    def __post_init__(self) -> None:
        _check_scale(self.scale)
        if self.upsampling not in get_args(Upsampling):
            known = ", ".join(get_args(Upsampling))
            raise ValueError(f"upsampling must be one of {known}, got {self.upsampling!r}")


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x))), 3x3 convolutions, no normalisation and no rectifier after the sum.

    Source: the block of Johnson et al. 2016, arXiv:1603.08155, after Gross & Wilber. Differs: no
    batch normalisation, which makes a tile depend on its batch, and costs PSNR (Lim et al. 2017,
    arXiv:1707.02921).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.conv2(F.relu(self.conv1(x)))
        return y


class UnpoolConv(nn.Module):
    """A 5x5 convolution of the zero-filled enlargement: a value, and zeros right of and below it.

    Source: the unpooling of Dosovitskiy et al. 2015, arXiv:1411.5928.
    """

    def __init__(self, width: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.conv = nn.Conv2d(width, width, 5, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, factor*H, factor*W)."""
        return self.conv(unpool(x, self.factor))  # type: ignore[no-any-return]


def unpool(x: Tensor, factor: int) -> Tensor:
    """(N, C, H, W) -> (N, C, factor*H, factor*W): values top left in their cells, zeros beside."""
    n, c, h, w = x.shape
    wide = x.new_zeros((n, c, h, factor, w, factor))
    wide[:, :, :, 0, :, 0] = x
    return wide.view(n, c, h * factor, w * factor)


def _upsampling_layer(upsampling: Upsampling, width: int, factor: int) -> nn.Module:
    if upsampling == "unpool":
        return UnpoolConv(width, factor)
    if upsampling == "transposed":
        kernel = factor + 2
        return nn.ConvTranspose2d(width, width, kernel, stride=factor, padding=1)
    conv = nn.Conv2d(width, width * factor**2, 3, padding=1)
    return nn.Sequential(conv, nn.PixelShuffle(factor))


class ResidualFcn(nn.Module):
    """bicubic(y) + tail(upsample(blocks(head(y)))): one residual net, four ways to the full size.

    - bicubic: the input is enlarged first, and every convolution works at the full size.
    - unpool: zero-filled unpooling, then a 5x5 convolution.
    - transposed: a transposed convolution, 4x4 for a step of 2, 5x5 for one of 3.
    - pixelshuffle: a 3x3 convolution to step^2 times the maps, folded into pixels.

    The last three work at the low resolution, and enlarge 4 times in two steps of 2, a rectifier
    after each.

    Source: the image transformation network for super-resolution of Johnson et al. 2016,
    arXiv:1603.08155. Differs: luma alone, 3x3 instead of 9x9 at both ends, no normalisation, the
    upsampling, and see the module.
    """

    def __init__(self, config: ResidualFcnConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.head = nn.Conv2d(1, width, 3, padding=1)
        self.body = nn.Sequential(*[ResidualBlock(width) for _ in range(config.blocks)])
        steps = {2: (2,), 3: (3,), 4: (2, 2)}[config.scale]
        layers: list[nn.Module] = []
        if config.upsampling != "bicubic":
            for factor in steps:
                layers += [_upsampling_layer(config.upsampling, width, factor), nn.ReLU()]
        self.upsample = nn.Sequential(*layers)
        self.tail = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, luma: Tensor) -> Tensor:
        """(N, 1, H, W) in 0..1 -> (N, 1, scale*H, scale*W), float32, about 0..1."""
        return _with_bicubic(luma, self.detail(luma), self.config.scale)

    def detail(self, luma: Tensor) -> Tensor:
        """(N, 1, H, W) -> (N, scale^2, H, W): what this adds to the phases of bicubic."""
        x = luma - 0.5
        if self.config.upsampling == "bicubic":
            x = bicubic_upscale(x, self.config.scale)
        x = self.upsample(self.body(F.relu(self.head(x))))
        return at_least_float32(F.pixel_unshuffle(self.tail(x), self.config.scale))


ClassicUpscaler: TypeAlias = Espcn | Fsrcnn | ResidualFcn


def classic_init_(network: ClassicUpscaler, generator: torch.Generator) -> None:
    """Draw weights in place: He's for rectifiers, but small at the end and in residual branches.

    So training starts close to bicubic. A kernel that meets zeros between the pixels is as much
    stronger as there are fewer of these.
    """
    for module in network.modules():
        if isinstance(module, nn.PReLU):
            nn.init.constant_(module.weight, 0.25)
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            window = module.kernel_size[0] * module.kernel_size[1]
            fan_in = (
                module.in_channels * window / module.stride[0] ** 2
                if isinstance(module, nn.ConvTranspose2d)
                else module.in_channels * window
            )
            nn.init.normal_(module.weight, std=(2 / fan_in) ** 0.5, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, ResidualBlock):
                module.conv2.weight.mul_(0.3)
            if isinstance(module, UnpoolConv):
                module.conv.weight.mul_(module.factor)
        network.tail.weight.mul_(0.03)
