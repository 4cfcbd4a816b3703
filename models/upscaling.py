"""Enlarge batches of pixels by a network: colour, gray, alpha, 8 and 16 bits alike."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.pixels import Pixels
from models.receptive_field import receptive_radius
from models.resampling import BICUBIC_RADIUS, bicubic_phases, join_phases
from models.super_resolution import Mill

Precision = Literal["fp32", "bf16"]

RADIUS_LIMIT = 48
"""Largest tile margin. Our networks see less; a foreign one that sees further is cut here, where
its far influence is below what 8 bits show."""

ALPHA_RADIUS = 2
"""Source pixels that colour spreads into what is transparent: as far as bicubic reads."""

_SMALL_PIXELS = 160 * 160
"""Below this, torch gives a lone picture to other convolution code than a batch, with other last
bits: it is then run twice, so that no byte depends on the company that a tile had."""


class LumaNetwork(Protocol):
    """What a network of inputs="luma" has besides its forward."""

    def detail(self, luma: Tensor, /) -> Tensor:
        """(N, 1, H, W) studio luma / 255 -> (N, scale^2, H, W) to add to bicubic's phases."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Upscaler:
    """An enlargement by `scale`: by a network, or plainly bicubic where there is none.

    `radius` is how far the network sees; `radius_for` adds what alpha needs.
    `inputs` says what the network takes: "luma", (N, 1, H, W) studio-swing luma / 255, its detail
    then being added to bicubic colour; or "rgb" and "gray", (N, 3 or 1, H, W) in 0..1.
    `multiple` and `minimum` are what the network demands of its input's sides.
    """

    name: str
    scale: int
    radius: int
    network: nn.Module | None = None
    inputs: Literal["luma", "rgb", "gray"] = "luma"
    multiple: int = 1
    minimum: int = 1
    square: bool = False
    precision: Precision = "fp32"
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def radius_for(self, channels: int) -> int:
        """Source pixels around a tile that its result depends on, a multiple of `multiple`."""
        spread = -(-ALPHA_RADIUS // self.multiple) * self.multiple
        return self.radius if channels in (1, 3) else self.radius + spread

    def __call__(self, tiles: Pixels) -> Pixels:
        """Windows (N, H, W, C) -> (N, scale*H, scale*W, C), the same dtype; see `upscale_pixels`.

        The `radius_for` pixels at their borders are margins: what comes out there is of no use.

        Raises:
            MemoryError: the batch does not fit the device, whatever the device calls that.
        """
        try:
            return upscale_pixels(self, tiles, margins=True)
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise MemoryError(f"{self.device} has no room for {tiles.shape}") from error
        except RuntimeError as error:
            if "can't allocate memory" not in str(error):
                raise
            raise MemoryError(f"no room for tiles of {tiles.shape}") from error


def bicubic_upscaler(scale: int) -> Upscaler:
    """Plain bicubic enlargement.

    Raises:
        ValueError: scale is not in 2..8.
    """
    if not 2 <= scale <= 8:
        raise ValueError(f"scale must be 2 to 8 for bicubic, got {scale}")
    return Upscaler(name="bicubic", scale=scale, radius=BICUBIC_RADIUS)


def luma_upscaler(name: str, network: nn.Module, *, scale: int) -> Upscaler:
    """An upscaler around a network that enlarges luma; measures how far the network sees."""
    network = network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
    radius = receptive_radius(network, channels=1, scale=scale, limit=RADIUS_LIMIT)
    return Upscaler(
        name=name, scale=scale, radius=max(radius, BICUBIC_RADIUS), network=network, inputs="luma"
    )


def _padded(network: Upscaler, x: Tensor) -> Tensor:
    """Repeat the right and bottom pixels until the sides are what the network demands."""
    height, width = x.shape[-2:]
    sides = [
        max(-(-s // network.multiple) * network.multiple, network.minimum) for s in (height, width)
    ]
    if network.square:
        sides = [max(sides)] * 2
    if sides == [height, width]:
        return x
    return F.pad(x, (0, sides[1] - width, 0, sides[0] - height), mode="replicate")


def _run_network(upscaler: Upscaler, network: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """x through a network in the upscaler's precision, float32, with x's own sides times any."""
    height, width = x.shape[-2:]
    padded = _padded(upscaler, x).contiguous(memory_format=torch.channels_last)
    if len(x) == 1 and height * width < _SMALL_PIXELS:
        padded = padded.expand(2, -1, -1, -1)
    with torch.autocast(x.device.type, torch.bfloat16, enabled=upscaler.precision == "bf16"):
        y = network(padded)
    grown = y.shape[-1] // padded.shape[-1]
    return y[: len(x), :, : height * grown, : width * grown].float()


def _detail_inside(upscaler: Upscaler, network: Mill, luma: Tensor) -> Tensor:
    """`Mill.detail_inside` in the upscaler's precision, float32."""
    height, width = (side - 2 * network.radius for side in luma.shape[-2:])
    x = luma.contiguous(memory_format=torch.channels_last)
    if len(x) == 1 and height * width < _SMALL_PIXELS:
        x = x.expand(2, -1, -1, -1)
    with torch.autocast(x.device.type, torch.bfloat16, enabled=upscaler.precision == "bf16"):
        return network.detail_inside(x)[: len(luma)].float()


def _bicubic_with_detail(upscaler: Upscaler, colour: Tensor, *, margins: bool) -> Tensor:
    """(N, 1 or 3, H, W) in 0..1 -> its scale^2 phases, bicubic and the network's detail of luma.

    With margins these are bicubic alone, where the network need not work on them.
    """
    phases = bicubic_phases(colour, upscaler.scale)
    network = upscaler.network
    if network is None:
        return phases
    channels = colour.shape[1]
    swing = colour.new_tensor([65.481, 128.553, 24.966]).view(1, 3, 1, 1) / 255
    scaled = (colour * swing).sum(1, keepdim=True) if channels == 3 else colour * swing.sum()
    luma, inner = scaled + 16 / 255, phases
    if margins and isinstance(network, Mill):
        detail = _detail_inside(upscaler, network, luma)
        inner = phases[..., network.radius : -network.radius, network.radius : -network.radius]
    else:
        detail = _run_network(upscaler, cast(LumaNetwork, network).detail, luma)
    # Adding d to R, G and B adds d * 219/255 to studio luma and leaves the chroma as it is.
    spread = detail.permute(0, 2, 3, 1).repeat_interleave(channels, -1).permute(0, 3, 1, 2)
    inner.add_(spread, alpha=255 / 219)
    return phases


def _enlarge(upscaler: Upscaler, colour: Tensor, peak: float, *, margins: bool) -> Tensor:
    """(N, 1 or 3, H, W) in 0..1 -> (N, scale*H, scale*W, C) in whole levels of 0..peak."""
    channels, network = colour.shape[1], upscaler.network
    if network is None or upscaler.inputs == "luma":
        levels = _to_levels(_bicubic_with_detail(upscaler, colour, margins=margins), peak)
        return join_phases(levels, upscaler.scale)
    if upscaler.inputs == "rgb":
        rgb = _run_network(upscaler, network, colour.expand(-1, 3, -1, -1))
        enlarged = rgb if channels == 3 else rgb.mean(1, keepdim=True)
    else:
        planes = _run_network(upscaler, network, colour.reshape(-1, 1, *colour.shape[-2:]))
        enlarged = planes.reshape(-1, channels, *planes.shape[-2:])
    return _to_levels(enlarged, peak).permute(0, 2, 3, 1)


def _enlarge_alpha(upscaler: Upscaler, alpha: Tensor, peak: float, *, margins: bool) -> Tensor:
    """(N, 1, H, W) in 0..1 -> (N, scale*H, scale*W, 1) in whole levels of 0..peak.

    Where alpha is the same all around it stays what it is: a network that is a level off in flat
    places must not make what is opaque shine through.
    """
    enlarged = _enlarge(upscaler, alpha, peak, margins=margins)
    side = 2 * ALPHA_RADIUS + 1
    around = F.pad(alpha, [ALPHA_RADIUS] * 4, mode="replicate")
    flat = F.max_pool2d(around, side, stride=1) == -F.max_pool2d(-around, side, stride=1)
    same = alpha.mul(peak).round().to(enlarged.dtype)
    scale = upscaler.scale
    wide = [
        F.interpolate(x.float(), scale_factor=float(scale), mode="nearest").permute(0, 2, 3, 1)
        for x in (flat, same)
    ]
    return torch.where(wide[0] > 0, wide[1].to(enlarged.dtype), enlarged)


def _to_levels(values: Tensor, peak: float) -> Tensor:
    """0..1 -> whole levels, in bytes as soon as they fit: moving bytes is a quarter of the work."""
    levels = values.mul_(peak).round_().clamp_(0, peak)
    return levels.to(torch.uint8) if peak == 255 else levels


def _with_hidden_colour_filled(colour: Tensor, alpha: Tensor) -> Tensor:
    """Give transparent pixels the mean colour of what is visible within 2 pixels, if anything is.

    The mean is of premultiplied colour over alpha, so that what is hidden never shows.

    Args:
        colour: (N, 1 or 3, H, W) in 0..1, straight.
        alpha: (N, 1, H, W) in 0..1.
    """
    side = 2 * ALPHA_RADIUS + 1
    both = F.pad(torch.cat([colour * alpha, alpha], 1), [ALPHA_RADIUS] * 4, mode="replicate")
    mean = F.avg_pool2d(both, side, stride=1)
    near = mean[:, :-1] / mean[:, -1:].clamp(min=1e-6)
    visible = (alpha * 16).clamp(max=1)
    return visible * colour + (1 - visible) * near


@torch.inference_mode()
def upscale_pixels(upscaler: Upscaler, tiles: Pixels, *, margins: bool = False) -> Pixels:
    """Enlarge a batch of pixels.

    With alpha, colour first spreads into what is transparent, weighted by alpha, so that neither
    hidden colour nor black gets into what is visible; colour and alpha are then enlarged apart.

    Args:
        tiles: (N, H, W, C) uint8 or uint16; C is 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA.
        margins: `radius_for(C)` pixels at each border are only there to be seen: what comes out
            of them is of no use.
    Returns:
        (N, scale*H, scale*W, C), the same dtype.
    Raises:
        ValueError: C is not 1 to 4.
    """
    channels = tiles.shape[-1]
    if not 1 <= channels <= 4:
        raise ValueError(f"pixels must have 1 to 4 channels, got {channels}")
    peak = float(np.iinfo(tiles.dtype).max)
    # torch knows no arithmetic on uint16; both widths are exact in float32
    source = tiles if tiles.dtype == np.uint8 else tiles.astype(np.float32)
    x = torch.from_numpy(source).to(upscaler.device).permute(0, 3, 1, 2).float() / peak
    if channels in (1, 3):
        levels = _enlarge(upscaler, x, peak, margins=margins)
    else:
        colour, alpha = x[:, :-1], x[:, -1:]
        filled = _with_hidden_colour_filled(colour, alpha)
        enlarged = _enlarge(upscaler, filled, peak, margins=margins)
        levels = torch.cat(
            [enlarged, _enlarge_alpha(upscaler, alpha, peak, margins=margins)], dim=-1
        )
    pixels: Pixels = levels.contiguous().cpu().numpy().astype(tiles.dtype, copy=False)
    return pixels
