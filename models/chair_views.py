"""How a generator of chairs is told a view and a transformation, and how pictures are transformed.

After Dosovitskiy, Springenberg, Tatarchenko and Brox, "Learning to Generate Chairs, Tables and
Cars with Convolutional Networks" (2017, arXiv:1411.5928): the view is the sine and cosine of both
angles, so that 359 and 0 degrees are neighbors; eight transformations are applied to the target
and told to the network. Their ranges here are ours.
"""

import math
from dataclasses import astuple, dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Transformation:
    """One transformation; the defaults change nothing. A row of parameters has these, in order.

    rotation: degrees in the picture's plane, counterclockwise about its middle.
    shift_x, shift_y: to the right and down, as shares of the picture's side.
    zoom: 2 is twice as large, about the middle.
    stretch: width over height, at the same area.
    hue: degrees round the color wheel, red to yellow to green.
    saturation, brightness: factors of HSV's saturation and value; the background stays white.

    Raises:
        ValueError: a factor that is not positive (saturation: negative), or no number.
    """

    rotation: float = 0.0
    shift_x: float = 0.0
    shift_y: float = 0.0
    zoom: float = 1.0
    stretch: float = 1.0
    hue: float = 0.0
    saturation: float = 1.0
    brightness: float = 1.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not math.isfinite(value):
                raise ValueError(f"{field.name} must be a number, got {value}")
            if field.name in ("zoom", "stretch", "brightness") and value <= 0:
                raise ValueError(f"{field.name} must be positive, got {value}")
        if self.saturation < 0:
            raise ValueError(f"saturation must be at least 0, got {self.saturation}")

    def parameters(self) -> Tensor:
        """(1, 8) float32."""
        return torch.tensor([astuple(self)], dtype=torch.float32)


PARAMETERS = tuple(field.name for field in fields(Transformation))
"""The order of the eight columns."""


@dataclass(frozen=True, kw_only=True)
class TransformationRanges:
    """How far `draw` goes to either side of the identity, in the units of `Transformation`.

    Factors are drawn evenly in their logarithm: 1.25 means 1 / 1.25 to 1.25.

    Raises:
        ValueError: a negative reach, or a factor below 1.
    """

    rotation: float = 12.0
    shift_x: float = 0.08
    shift_y: float = 0.08
    zoom: float = 1.2
    stretch: float = 1.2
    hue: float = 30.0
    saturation: float = 1.4
    brightness: float = 1.3

    def __post_init__(self) -> None:
        for name, factor in zip(PARAMETERS, _IS_FACTOR, strict=True):
            least, value = float(factor), getattr(self, name)
            if not least <= value < math.inf:
                raise ValueError(f"{name} must be at least {least}, got {value}")


_IS_FACTOR = (False, False, False, True, True, False, True, True)


def _reach(ranges: TransformationRanges) -> Tensor:
    """(8,): the largest distance from the identity; of factors, their logarithm's."""
    pairs = zip(astuple(ranges), _IS_FACTOR, strict=True)
    return torch.tensor([math.log(r) if factor else r for r, factor in pairs])


_LEAST_FACTOR = math.exp(-4.0)  # saturation may be 0, which has no logarithm


def view_vector(azimuth: Tensor, elevation: Tensor) -> Tensor:
    """(N,) degrees each -> (N, 4): sin azimuth, cos azimuth, sin elevation, cos elevation."""
    a, e = torch.deg2rad(azimuth), torch.deg2rad(elevation)
    return torch.stack([a.sin(), a.cos(), e.sin(), e.cos()], 1)


def identity(n: int) -> Tensor:
    """(n, 8) parameters that change nothing."""
    return Transformation().parameters().expand(n, -1).clone()


def draw(n: int, generator: torch.Generator, ranges: TransformationRanges | None = None) -> Tensor:
    """(n, 8) parameters drawn evenly from the ranges, each alone; generator of the CPU."""
    reach = _reach(ranges or TransformationRanges())
    offsets = (torch.rand(n, len(PARAMETERS), generator=generator) * 2 - 1) * reach
    return torch.where(torch.tensor(_IS_FACTOR), offsets.exp(), offsets)


def transformation_vector(parameters: Tensor) -> Tensor:
    """(N, 8) parameters -> (N, 8) for a network: the identity is 0, the default ranges -1..1.

    Raises:
        ValueError: another shape.
    """
    _check_parameters(parameters)
    factor = torch.tensor(_IS_FACTOR, device=parameters.device)
    offsets = torch.where(factor, parameters.clamp_min(_LEAST_FACTOR).log(), parameters)
    return offsets / _reach(TransformationRanges()).to(parameters)


def transform(rgb: Tensor, mask: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
    """Pictures and their masks, both transformed alike; what comes in from outside is background.

    The pictures are an object over white by the mask: the object's part is moved and recolored,
    and laid over white again, so that edges stay clean and the background white.

    Args:
        rgb: (N, 3, H, W), 0..1, white where mask is 0. mask: (N, 1, H, W), 0..1.
        parameters: (N, 8), the columns of `Transformation`.
    Returns:
        The same shapes and range; new tensors.
    Raises:
        ValueError: other shapes.
    """
    _check_parameters(parameters)
    n, _, height, width = rgb.shape if rgb.ndim == 4 else (0, 0, 0, 0)
    if rgb.shape != (n, 3, height, width) or mask.shape != (n, 1, height, width):
        raise ValueError(
            f"rgb and mask must be (N, 3, H, W) and (N, 1, H, W),"
            f" got {tuple(rgb.shape)} and {tuple(mask.shape)}"
        )
    if len(parameters) != n:
        raise ValueError(f"got {len(parameters)} rows of parameters for {n} pictures")
    parameters = parameters.to(rgb)
    object_part = torch.cat([rgb - (1 - mask), mask], 1)
    moved = _move(object_part, parameters)
    mask = moved[:, 3:].clamp(0, 1)
    color = _recolor(moved[:, :3].clamp_min(0), mask, parameters)
    return (color + 1 - mask).clamp(0, 1), mask


def _check_parameters(parameters: Tensor) -> None:
    if parameters.ndim != 2 or parameters.shape[1] != len(PARAMETERS):
        raise ValueError(f"parameters must be (N, 8), got {tuple(parameters.shape)}")


def _move(planes: Tensor, parameters: Tensor) -> Tensor:
    """Stretch and zoom, then rotate, then shift; 0 comes in. Bilinear."""
    rotation, shift_x, shift_y, zoom, stretch = parameters[:, :5].unbind(1)
    angle, root = torch.deg2rad(rotation), stretch.sqrt()
    height, width = planes.shape[2:]
    # output -> input, in pixels about the middle: diag(1/a, 1/b) R(-angle) (p - shift), y downwards
    a, b = 1 / (zoom * root), root / zoom
    cos, sin = angle.cos(), angle.sin()
    matrix = torch.stack([a * cos, -a * sin, b * sin, b * cos], 1).view(-1, 2, 2)
    shift = torch.stack([shift_x * width, shift_y * height], 1)
    sides = torch.tensor([width, height], dtype=planes.dtype, device=planes.device) / 2
    offset = -(matrix @ shift[..., None])[..., 0] / sides
    scaled = matrix * sides[None, None, :] / sides[None, :, None]
    theta = torch.cat([scaled, offset[..., None]], 2)
    grid = F.affine_grid(theta, list(planes.shape), align_corners=False)
    return F.grid_sample(planes, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _recolor(color: Tensor, mask: Tensor, parameters: Tensor) -> Tensor:
    """HSV of a color that is weighted by its mask: hue and saturation do not feel the weight.

    With value v = max and chroma k = v - min, each channel is v - k w(hue), w in 0..1; then
    hue moves, k becomes k times the saturation's factor, at most v, and both are brightened.
    """
    hue, saturation, brightness = (p.view(-1, 1, 1) for p in parameters[:, 5:].unbind(1))
    value, least = color.amax(1), color.amin(1)
    chroma = value - least
    red, green, blue = color.unbind(1)
    safe = torch.where(chroma > 0, chroma, torch.ones_like(chroma))
    sector = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    sector = sector + hue / 60
    chroma = torch.minimum(chroma * saturation, value)
    brighter = torch.minimum(value * brightness, mask[:, 0])
    chroma = chroma * torch.where(value > 0, brighter / value.clamp_min(1e-9), value)
    channels = []
    for start in (5.0, 3.0, 1.0):
        k = torch.remainder(start + sector, 6)
        channels.append(brighter - chroma * torch.minimum(k, 4 - k).clamp(0, 1))
    return torch.stack(channels, 1)
