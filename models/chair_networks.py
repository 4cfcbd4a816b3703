"""A generator of chairs: class, view and transformation in, a picture and its mask out.

After Dosovitskiy, Springenberg, Tatarchenko and Brox, "Learning to Generate Chairs, Tables and
Cars with Convolutional Networks" (2017, arXiv:1411.5928): three inputs of two layers each, two
shared layers, 8 x 8 cells, then up-convolutions that double the side until the picture is there.
Where we differ: the softmax of two mask channels is the logistic function of one; unpooling and the
convolution after it are computed as one; color is what the mask cuts out, so that a whole picture
is color x mask over white; and a view may be told by more sines and cosines.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.chair_views import PARAMETERS

Upsampling = Literal["unpool", "transposed", "resize"]

_CELLS = 8
_SLOPE = 0.2
_VIEW = 4


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig:
    """The sizes of a generator; the defaults are the published 1s-S.

    Args:
        classes: chairs that it can be told.
        size: side of the picture, pixels.
        streams: 2 draws the mask by layers of its own, of a quarter of the width.
        mask: what the mask's channel is: softmax a logit, squared the coverage itself.
        deep: a 3x3 convolution before the first and after every up-convolution but the last.
        upsampling: unpool puts a value into the upper left of 2x2 cells, zeros elsewhere, and
            convolves 5x5; resize repeats it in all four, and convolves 5x5; transposed is a
            transposed convolution of 4x4.
        harmonics: the azimuth a is told as sin and cos of a, 2 a, ... so many; the paper has one.
            More are learned in fewer steps: thin parts come and go quickly as a chair turns. Above
            half the training views round a chair they would say nothing on what lies between.
        inputs, trunk: width of each input's layers and of the shared ones.
        cells: channels of the 8 x 8 cells.
        widths: channels after each up-convolution but the last; None is the published ones, from
            behind: 256, 92, 48 for 128 pixels, 92, 48 for 64.
    """

    classes: int = 809
    size: Literal[32, 64, 128] = 128
    streams: Literal[1, 2] = 1
    mask: Literal["squared", "softmax"] = "softmax"
    deep: bool = False
    upsampling: Upsampling = "unpool"
    harmonics: int = 1
    inputs: int = 512
    trunk: int = 1024
    cells: int = 256
    widths: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.size not in (32, 64, 128):
            raise ValueError(f"size must be 32, 64 or 128, got {self.size}")
        for name in ("classes", "harmonics", "inputs", "trunk", "cells"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        wanted = self.doublings - 1
        if self.widths is not None and (len(self.widths) != wanted or min(self.widths) < 1):
            raise ValueError(
                f"widths must be {wanted} positive numbers for {self.size} pixels,"
                f" got {list(self.widths)}"
            )

    @property
    def doublings(self) -> int:
        """How many up-convolutions."""
        return int(math.log2(self.size // _CELLS))

    @property
    def channels(self) -> tuple[int, ...]:
        """From the cells to before the last up-convolution."""
        published = (256, 92, 48)[-(self.doublings - 1) :]
        return (self.cells, *(self.widths or published))


PUBLISHED: dict[str, GeneratorConfig] = {
    "2s-E": GeneratorConfig(streams=2, mask="squared"),
    "1s-S": GeneratorConfig(cells=192, widths=(192, 92, 48)),
    "1s-S-wide": GeneratorConfig(),
    "1s-S-deep": GeneratorConfig(cells=192, widths=(192, 92, 48), deep=True),
}
"""By the paper's names. It gives the sizes of 2s-E; those of the narrower two, and of 2s-E's mask,
are chosen so that the parameters come to what it says: 27.3, 18, 23 and 19 million."""


class ChairGenerator(nn.Module):
    """(chair, view, transformation) -> color and mask; see the module.

    Args of forward:
        chair: (N, classes), a one-hot row, or a blend of several.
        view: (N, 4) of `chair_views.view_vector`.
        transformation: (N, 8) of `chair_views.transformation_vector`; 0 changes nothing.
    Returns:
        color (N, 3, size, size), about 0..1, and the mask's channel (N, 1, size, size), both as
        they are trained; `draw` makes pictures of them.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.chair = _branch(config.classes, config.inputs)
        self.view = _branch(_VIEW + 2 * (config.harmonics - 1), config.inputs)
        self.transformation = _branch(len(PARAMETERS), config.inputs)
        self.trunk = nn.Sequential(
            nn.Linear(3 * config.inputs, config.trunk),
            nn.LeakyReLU(_SLOPE),
            nn.Linear(config.trunk, config.trunk),
            nn.LeakyReLU(_SLOPE),
        )
        both = config.streams == 1
        self.picture = _Stream(config, config.channels, outputs=4 if both else 3)
        quarter = tuple(max(1, width // 4) for width in config.channels)
        self.silhouette = None if both else _Stream(config, quarter, outputs=1)

    def forward(self, chair: Tensor, view: Tensor, transformation: Tensor) -> tuple[Tensor, Tensor]:
        angles = _harmonics(view, self.config.harmonics)
        told = [self.chair(chair), self.view(angles), self.transformation(transformation)]
        shared = self.trunk(torch.cat(told, 1))
        drawn = self.picture(shared)
        if self.silhouette is not None:
            return drawn, self.silhouette(shared)
        return drawn[:, :3], drawn[:, 3:]

    def draw(self, chair: Tensor, view: Tensor, transformation: Tensor) -> tuple[Tensor, Tensor]:
        """Arguments as of forward -> color and coverage, both 0..1; see `over_white`."""
        color, mask = self(chair, view, transformation)
        return color.clamp(0, 1), self.coverage(mask)

    def coverage(self, mask: Tensor) -> Tensor:
        """The mask's channel -> the share of each pixel that is chair, 0..1."""
        return mask.sigmoid() if self.config.mask == "softmax" else mask.clamp(0, 1)


def over_white(color: Tensor, mask: Tensor) -> Tensor:
    """(N, 3, H, W) color and (N, 1, H, W) mask of 0..1 -> the picture on white."""
    return color * mask + (1 - mask)


def _harmonics(view: Tensor, count: int) -> Tensor:
    """(N, 4) -> (N, 4 + 2 (count - 1)): sine and cosine of multiples of the azimuth beside."""
    sine, cosine = view[:, :1], view[:, 1:2]
    found, s, c = [view], sine, cosine
    for _ in range(count - 1):
        s, c = s * cosine + c * sine, c * cosine - s * sine
        found += [s, c]
    return torch.cat(found, 1)


def _branch(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, width),
        nn.LeakyReLU(_SLOPE),
        nn.Linear(width, width),
        nn.LeakyReLU(_SLOPE),
    )


class _Stream(nn.Module):
    """(N, trunk) -> (N, outputs, size, size)."""

    def __init__(self, config: GeneratorConfig, channels: tuple[int, ...], *, outputs: int) -> None:
        super().__init__()
        self.cells = nn.Linear(config.trunk, channels[0] * _CELLS**2)
        layers: list[nn.Module] = [nn.LeakyReLU(_SLOPE)]
        for before, after in zip(channels, (*channels[1:], None), strict=True):
            if config.deep:
                layers += [nn.Conv2d(before, before, 3, padding=1), nn.LeakyReLU(_SLOPE)]
            layers.append(UpConvolution(before, after or outputs, config.upsampling))
            if after is not None:
                layers.append(nn.LeakyReLU(_SLOPE))
        self.layers = nn.Sequential(*layers)

    def forward(self, shared: Tensor) -> Tensor:
        cells = self.cells(shared).unflatten(1, (-1, _CELLS, _CELLS))
        drawn: Tensor = self.layers(cells.contiguous(memory_format=torch.channels_last))
        return drawn


class UpConvolution(nn.Module):
    """(N, in, H, W) -> (N, out, 2H, 2W): up-sampling and the convolution that follows, at once.

    Whichever way a pixel becomes 2x2 pixels, each of those four then is a sum over 3x3 of the
    input's pixels: so it is one 3x3 convolution to 4 x out channels, of which every four are
    shuffled into place. For a kernel k x k, weight W: W_ab = M_a W M_b^T, with M_a (3, k) saying
    which taps of W meet which input pixel in output pixels of row a and column b.
    """

    taps: Tensor

    def __init__(self, inputs: int, outputs: int, upsampling: Upsampling) -> None:
        super().__init__()
        taps = _taps(upsampling)
        kernel = taps.shape[2]
        self.weight = nn.Parameter(torch.zeros(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("taps", taps, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        shuffled = torch.einsum("ayk,oikl,bxl->oabiyx", self.taps, self.weight, self.taps)
        kernel = shuffled.flatten(0, 2).contiguous(memory_format=torch.channels_last)
        return F.pixel_shuffle(F.conv2d(x, kernel, self.bias.repeat_interleave(4), padding=1), 2)


def _taps(upsampling: Upsampling) -> Tensor:
    """(2, 3, k): for the first and second of two output pixels, input pixel -1, 0, 1, tap."""
    met: dict[Upsampling, tuple[dict[int, int], dict[int, int]]] = {
        # tap: input pixel, as far from the one that the output pixels come from
        "unpool": ({0: -1, 2: 0, 4: 1}, {1: 0, 3: 1}),
        "resize": ({0: -1, 1: -1, 2: 0, 3: 0, 4: 1}, {0: -1, 1: 0, 2: 0, 3: 1, 4: 1}),
        "transposed": ({3: -1, 1: 0}, {2: 0, 0: 1}),
    }
    if upsampling not in met:
        raise ValueError(f"upsampling must be one of {', '.join(met)}, got {upsampling!r}")
    taps = torch.zeros(2, 3, 4 if upsampling == "transposed" else 5)
    for place, met_by in enumerate(met[upsampling]):
        for tap, pixel in met_by.items():
            taps[place, pixel + 1, tap] = 1
    return taps


def chair_init_(network: ChairGenerator, generator: torch.Generator) -> None:
    """Orthogonal weights, as published, so scaled that a layer's output is as large as its input.

    Of a class vector's numbers only one is not 0, and of an unpooled map one in four, which is made
    up for. The picture begins as a flat gray.
    """
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Linear | nn.Conv2d | UpConvolution):
                nn.init.orthogonal_(module.weight, _GAIN * _rise(module), generator=generator)
                if module.bias is not None:
                    module.bias.zero_()
        network.chair[0].get_parameter("weight").mul_(math.sqrt(network.config.classes))
        for stream in (network.picture, network.silhouette):
            if stream is not None:
                stream.layers[-1].get_parameter("weight").mul_(_FIRST_CONTRAST)
        network.picture.layers[-1].get_parameter("bias")[:3].fill_(0.45)


_GAIN = math.sqrt(2 / (1 + _SLOPE**2))
_FIRST_CONTRAST = 0.2


def _rise(module: nn.Linear | nn.Conv2d | UpConvolution) -> float:
    """What an orthogonal weight is multiplied by to keep the size of a vector's numbers."""
    weight = module.weight
    wide = math.sqrt(max(1.0, weight.shape[0] / weight[0].numel()))
    if isinstance(module, UpConvolution):
        # of k taps along a side so many, on average, meet a pixel that is not 0
        return wide * weight.shape[2] / (float(module.taps.sum()) / 2)
    return wide
