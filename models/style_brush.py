"""A painter with one blend of styles fixed, its layers laid out for speed.

The same function as `Painter.forward` to within rounding, with
- the styles' parameters mixed once, and what can be multiplied into the weights in them; a norm's
  statistics taken part by part, and one product and sum for each value;
- nearest-neighbour enlargement and its 3x3 convolution as one 2x2 convolution to the four phases
  of the output: the window that a phase sees covers 2x2 pixels of the small map, and taps that
  fall on the same pixel add up. Reflecting the enlarged map by one pixel is repeating the small
  one's border, so that this holds at the border, too;
- the last 9x9 convolution computing 2x2 blocks of pixels: three channels leave most lanes idle.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from models.channel_statistics import ChannelStatistics
from models.pixels import Pixels
from models.style_feedforward import NormedLayer, Painter, ScaledLayer, check_styles

EPSILON = 1e-5

Padding = tuple[int, int, int, int]
"""Left, right, top, bottom, as torch's."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Norm:
    """A norm's parameters for one blend of styles, (C,) each."""

    gain: Tensor
    shift: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Stroke:
    """One convolution for one blend of styles.

    weight: where `enlarge`, (4C, C', 2, 2), the four phases first, row by row.
    bias: (C,) or (4C,) as the weight; None where a norm follows.
    """

    weight: Tensor
    bias: Tensor | None
    border: int
    stride: int = 1
    enlarge: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Brush:
    """A painter ready to paint with one blend of styles.

    last: (12, C, 10, 10), stride 2: colour and place in a block of 2x2, as pixel_shuffle wants it.
    skip: what of the picture itself is added.
    """

    down: tuple[Stroke, ...]
    norms: tuple[Norm, ...]
    """Of each of `down`."""
    body: tuple[Stroke, ...]
    up: tuple[Stroke, ...]
    last: Tensor
    last_bias: Tensor
    skip: Tensor


def brush_of(painter: Painter, weights: Tensor) -> Brush:
    """The painter's layers with the styles' weights (1, S) mixed in, where the painter is.

    Raises:
        ValueError: weights of another shape.
    """
    check_styles(weights, len(painter.config.styles))
    if len(weights) != 1:
        raise ValueError(f"a brush has one blend of styles, got {len(weights)}")
    with torch.inference_mode():
        styles = weights.to(painter.skip)
        down: list[NormedLayer] = list(painter.down)  # type: ignore[arg-type]
        body, up = (
            tuple(_scaled(layer, styles) for layer in layers)  # type: ignore[arg-type]
            for layers in (painter.body, painter.up)
        )
        return Brush(
            down=tuple(_normed(layer) for layer in down),
            norms=tuple(
                Norm(gain=(styles @ layer.norm.gain)[0], shift=(styles @ layer.norm.shift)[0])
                for layer in down
            ),
            body=body,
            up=up,
            last=_in_blocks(painter.last.weight),
            last_bias=painter.last.bias.repeat_interleave(4),  # type: ignore[union-attr]
            skip=styles[0] @ painter.skip,
        )


def _normed(layer: NormedLayer) -> Stroke:
    return Stroke(
        weight=layer.conv.weight.contiguous(memory_format=torch.channels_last),
        bias=None,
        border=layer.border,
        stride=layer.conv.stride[0],
    )


def _scaled(layer: ScaledLayer, styles: Tensor) -> Stroke:
    gain, shift = ((styles @ rows)[0] for rows in (layer.scale.gain, layer.scale.shift))
    weight = layer.unit_weight() * gain[:, None, None, None]
    if layer.enlarge > 1:
        weight, shift = _in_phases(weight), shift.repeat(4)
    return Stroke(
        weight=weight.contiguous(memory_format=torch.channels_last),
        bias=shift,
        border=layer.border,
        enlarge=layer.enlarge > 1,
    )


def _in_phases(weight: Tensor) -> Tensor:
    """(C, C', 3, 3) on a map enlarged twice -> (4C, C', 2, 2) on the small map."""
    # rows of the small map that the taps -1, 0, 1 of an even and of an odd row fall on
    fold = weight.new_tensor([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]])
    phases = torch.einsum("axi,byj,ocij->abocxy", fold, fold, weight)
    return phases.flatten(0, 2)


def _in_blocks(weight: Tensor) -> Tensor:
    """(3, C, 9, 9) -> (12, C, 10, 10): the four pixels of a 2x2 block from one window."""
    blocks = weight.new_zeros(3, 2, 2, weight.shape[1], 10, 10)
    for y in (0, 1):
        for x in (0, 1):
            blocks[:, y, x, :, y : y + 9, x : x + 9] = weight
    return blocks.flatten(0, 2).contiguous(memory_format=torch.channels_last)


def convolved(stroke: Stroke, x: Tensor, padding: Padding) -> Tensor:
    """What a stroke makes of (1, C', h, w), continued by `padding`: (1, C, H, W)."""
    if any(padding):
        x = F.pad(x, padding, mode="replicate" if stroke.enlarge else "reflect")
    y = F.conv2d(x, stroke.weight, stroke.bias, stride=stroke.stride)
    return _interleaved(y) if stroke.enlarge else y


def _interleaved(phases: Tensor) -> Tensor:
    """(1, 4C, h+1, w+1), each phase from its own corner on -> (1, C, 2h, 2w)."""
    height, width, channels = phases.shape[2] - 1, phases.shape[3] - 1, phases.shape[1] // 4
    y = phases.permute(0, 2, 3, 1)
    out = y.new_empty(1, 2 * height, 2 * width, channels)
    for number, (top, left) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        own = slice(number * channels, (number + 1) * channels)
        out[:, top::2, left::2] = y[:, top : top + height, left : left + width, own]
    return out.permute(0, 3, 1, 2)


def full_padding(stroke: Stroke) -> Padding:
    """What continues a whole map; of a stride of two only the first border is ever seen."""
    border = stroke.border
    after = 0 if stroke.stride > 1 else border
    return border, after, border, after


def scale_and_shift(norm: Norm, statistics: ChannelStatistics) -> tuple[Tensor, Tensor]:
    """(1, C, 1, 1) each: the norm is scale * x + shift."""
    mean, variance = statistics.mean_and_variance()
    scale = norm.gain.double() * (variance + EPSILON).rsqrt()
    shift = norm.shift.double() - mean * scale
    one, other = (v.to(norm.gain)[None, :, None, None] for v in (scale, shift))
    return one, other


def last_layer(brush: Brush, x: Tensor, picture: Tensor) -> Tensor:
    """The picture that comes out, around 0: x (1, C, H+8, W+8) and (1, 3, H, W) of the source."""
    blocks = F.conv2d(x, brush.last, brush.last_bias, stride=2)
    return torch.addcmul(F.pixel_shuffle(blocks, 2), picture, brush.skip)


def around_zero(brush: Brush, source: Tensor) -> Tensor:
    """(1, 3, H, W) in 0..255 -> -0.5..0.5, of the brush's type and on its device."""
    return source.to(brush.skip).div_(255).sub_(0.5)


def to_pixels(painted: Tensor) -> Pixels:
    """(1, 3, H, W) around 0 -> (H, W, 3) uint8."""
    levels = painted.add_(0.5).mul_(255).round_().clamp_(0, 255)
    pixels: Pixels = levels.to(torch.uint8)[0].permute(1, 2, 0).contiguous().cpu().numpy()
    return pixels
