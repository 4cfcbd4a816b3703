"""Style transfer in one pass: a network with many styles, each a set of gains and shifts.

Source: the network of Johnson et al. 2016 (arXiv:1603.08155) with the conditional instance norm of
Dumoulin et al. 2017 (arXiv:1610.07629). Differs:
- instance norms stand at the entrance alone, where they make contrast and exposure equal. Deeper
  in, a network sacrifices a place of the picture to them: it blows up one even area, and so sets
  the deviation that all others are divided by; the area comes out as a blot (the droplets of
  Karras et al. 2020, arXiv:1912.04958, section 2). There, weights are of unit length instead;
- 24 channels at full size where Johnson has 32; enlarged by nearest neighbour and convolution
  instead of transposed convolutions; reflected borders everywhere;
- the picture itself is added to the output with a learned gain, so that training starts from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MULTIPLE = 4
"""The network works at a quarter of the picture's side."""


@dataclass(frozen=True, kw_only=True)
class PainterConfig:
    """Sizes, and the styles' names in the order of the parameters' rows.

    Args:
        width: channels at full size; twice as many at half, four times at a quarter.
        blocks: residual blocks at a quarter.
    """

    styles: tuple[str, ...]
    width: int = 24
    blocks: int = 5

    def __post_init__(self) -> None:
        object.__setattr__(self, "styles", tuple(self.styles))  # a card's JSON has lists
        if not self.styles or len(set(self.styles)) != len(self.styles):
            raise ValueError(f"styles must be distinct names, at least one, got {self.styles}")
        for name in ("width", "blocks"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


class ConditionalInstanceNorm(nn.Module):
    """gain(s) * (x - mean) / sqrt(variance + 1e-5) + shift(s), statistics of each picture.

    Both are linear in s, the weights of the styles: a blend of styles is a blend of parameters.
    """

    def __init__(self, channels: int, styles: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(styles, channels))
        self.shift = nn.Parameter(torch.zeros(styles, channels))

    def forward(self, x: Tensor, styles: Tensor) -> Tensor:
        """x: (N, C, H, W); styles: (N, S), rows that sum to 1."""
        variance, mean = torch.var_mean(x, dim=(2, 3), correction=0, keepdim=True)
        gain = (styles @ self.gain)[..., None, None] * (variance + 1e-5).rsqrt()
        shift = (styles @ self.shift)[..., None, None] - mean * gain
        return torch.addcmul(shift, x, gain)


class ConditionalScale(nn.Module):
    """gain(s) * x + shift(s), both linear in s, the weights of the styles."""

    def __init__(self, channels: int, styles: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(styles, channels))
        self.shift = nn.Parameter(torch.zeros(styles, channels))

    def forward(self, x: Tensor, styles: Tensor) -> Tensor:
        """x: (N, C, H, W); styles: (N, S), rows that sum to 1."""
        gain, shift = ((styles @ rows)[..., None, None] for rows in (self.gain, self.shift))
        return torch.addcmul(shift, x, gain)


class NormedLayer(nn.Module):
    """Reflected border, convolution, conditional instance norm."""

    def __init__(self, into: int, out: int, window: int, styles: int, *, stride: int = 1) -> None:
        super().__init__()
        self.border = window // 2
        self.conv = nn.Conv2d(into, out, window, stride=stride, bias=False)
        self.norm = ConditionalInstanceNorm(out, styles)

    def forward(self, x: Tensor, styles: Tensor) -> Tensor:
        normed: Tensor = self.norm(self.convolved(x), styles)
        return normed

    def convolved(self, x: Tensor) -> Tensor:
        """What the norm is given."""
        y: Tensor = self.conv(F.pad(x, [self.border] * 4, mode="reflect"))
        return y


class ScaledLayer(nn.Module):
    """Reflected border, 3x3 convolution by weights of unit length, conditional scale and shift.

    The input is enlarged by nearest neighbour before, where asked.
    """

    def __init__(self, into: int, out: int, styles: int, *, enlarge: int = 1) -> None:
        super().__init__()
        self.enlarge, self.border = enlarge, 1
        self.conv = nn.Conv2d(into, out, 3, bias=False)
        self.scale = ConditionalScale(out, styles)

    def forward(self, x: Tensor, styles: Tensor) -> Tensor:
        scaled: Tensor = self.scale(self.convolved(x), styles)
        return scaled

    def unit_weight(self) -> Tensor:
        """(C, C', 3, 3), each output channel's of length 1."""
        weight = self.conv.weight
        return weight * (weight.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-12).rsqrt()

    def convolved(self, x: Tensor) -> Tensor:
        """What the scale is given."""
        if self.enlarge > 1:
            x = F.interpolate(x, scale_factor=self.enlarge, mode="nearest")
        return F.conv2d(F.pad(x, [self.border] * 4, mode="reflect"), self.unit_weight())


class Painter(nn.Module):
    """RGB (N, 3, H, W) in 0..1 and style weights (N, S) -> RGB, not clamped to 0..1.

    H and W are multiples of 4 and at least 16.
    """

    def __init__(self, config: PainterConfig) -> None:
        super().__init__()
        self.config = config
        w, count = config.width, len(config.styles)
        self.down = nn.ModuleList(
            [
                NormedLayer(3, w, 9, count),
                NormedLayer(w, 2 * w, 3, count, stride=2),
                NormedLayer(2 * w, 4 * w, 3, count, stride=2),
            ]
        )
        self.body = nn.ModuleList(
            [ScaledLayer(4 * w, 4 * w, count) for _ in range(2 * config.blocks)]
        )
        self.up = nn.ModuleList(
            [ScaledLayer(4 * w, 2 * w, count, enlarge=2), ScaledLayer(2 * w, w, count, enlarge=2)]
        )
        self.last = nn.Conv2d(w, 3, 9)
        self.skip = nn.Parameter(torch.ones(count))

    def forward(self, rgb: Tensor, styles: Tensor) -> Tensor:
        check_styles(styles, len(self.config.styles))
        if rgb.ndim != 4 or rgb.shape[1] != 3 or any(s % MULTIPLE for s in rgb.shape[2:]):
            raise ValueError(f"rgb must be (N, 3, H, W), H and W multiples of 4, got {rgb.shape}")
        x = rgb - 0.5
        for layer in self.down:
            x = F.relu(layer(x, styles))
        for first, second in zip(self.body[::2], self.body[1::2], strict=True):
            x = x + second(F.relu(first(x, styles)), styles)
        for layer in self.up:
            x = F.relu(layer(x, styles))
        painted: Tensor = self.last(F.pad(x, [4] * 4, mode="reflect"))
        return painted + 0.5 + (rgb - 0.5) * (styles @ self.skip)[:, None, None, None]


def check_styles(styles: Tensor, count: int) -> None:
    """Raises ValueError unless styles are (N, count)."""
    if styles.ndim != 2 or styles.shape[1] != count:
        raise ValueError(f"styles must be (N, {count}), got {tuple(styles.shape)}")


def painter_init_(network: nn.Module, generator: torch.Generator) -> None:
    """He's normal weights, the last layer's near 0: the untrained network returns its input.

    Source: He et al. 2015, arXiv:1502.01852.
    """
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            gain = 0.05 if name == "last" else 2**0.5
            with torch.no_grad():
                module.weight.normal_(0, gain / fan_in**0.5, generator=generator)
                if module.bias is not None:
                    module.bias.zero_()


def blend_weights(names: Sequence[str], wanted: Sequence[tuple[str, float]]) -> Tensor:
    """(1, S) weights that sum to 1, out of (style, weight) pairs.

    Raises:
        ValueError: an unknown style, a negative weight, or weights that sum to 0.
    """
    weights = torch.zeros(1, len(names))
    for name, weight in wanted:
        if name not in names:
            raise ValueError(f"style must be one of {', '.join(names)}, got {name!r}")
        if not weight >= 0:
            raise ValueError(f"a style's weight must be at least 0, got {name}={weight:g}")
        weights[0, list(names).index(name)] += weight
    total = float(weights.sum())
    if not 0 < total < float("inf"):
        raise ValueError(f"the styles' weights must have a sum above 0, got {total:g}")
    return weights / total
