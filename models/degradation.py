"""From a high-resolution picture to the low-resolution one that a network learns to undo."""

import hashlib
import math
from dataclasses import dataclass
from io import BytesIO
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from models.pixels import Pixels
from models.resampling import bicubic_downscale

_STRIP = 128
_RESIZES: tuple[Literal["bicubic", "bilinear", "area"], ...] = ("bicubic", "bilinear", "area")


@dataclass(frozen=True, kw_only=True)
class DegradationConfig:
    """How a picture is made `scale` times smaller.

    Args:
        kind: bicubic is the published protocol and draws nothing; practical is what cameras and
            web sites do: blur, resize, noise, JPEG, each drawn anew for a picture.
        scale: 2 to 8.
        seed: of all that is drawn, see `image_generator`.
        blur_sigma: standard deviations of the blur along its two axes, in original pixels.
        isotropic_share: how often both axes have the same one.
        noise_sigma: standard deviation of the noise, in levels of 0..255.
        gray_noise_share: how often all channels have the same noise.
        jpeg_quality: lowest and highest, in Pillow's 1..95.

    Raises:
        ValueError: a value out of range.
    """

    kind: Literal["bicubic", "practical"] = "bicubic"
    scale: int = 4
    seed: int = 0
    blur_sigma: tuple[float, float] = (0.2, 3.0)
    isotropic_share: float = 0.5
    noise_sigma: tuple[float, float] = (1.0, 25.0)
    gray_noise_share: float = 0.4
    jpeg_quality: tuple[int, int] = (30, 95)

    def __post_init__(self) -> None:
        if self.kind not in ("bicubic", "practical"):
            raise ValueError(f"kind must be bicubic or practical, got {self.kind!r}")
        if not 2 <= self.scale <= 8:
            raise ValueError(f"scale must be 2 to 8, got {self.scale}")
        ranges = {"blur_sigma": (0.05, 20), "noise_sigma": (0, 255), "jpeg_quality": (1, 95)}
        for name, (lowest, highest) in ranges.items():
            low, high = getattr(self, name)
            if not lowest <= low <= high <= highest:
                raise ValueError(
                    f"{name} must rise within {lowest}..{highest}, got {low} to {high}"
                )
        for name in ("isotropic_share", "gray_noise_share"):
            share = getattr(self, name)
            if not 0 <= share <= 1:
                raise ValueError(f"{name} must be 0 to 1, got {share}")


def image_generator(seed: int, source_digest: str) -> torch.Generator:
    """The generator of one picture: the same in whatever order, run or process it is degraded."""
    salted = hashlib.sha256(f"degrade {seed} {source_digest}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(salted[:8], "big"))


def crop_to_multiple(pixels: Pixels, scale: int) -> Pixels:
    """(H, W, C) without the last rows and columns that are no multiple of scale, C-contiguous."""
    height, width = (side // scale * scale for side in pixels.shape[:2])
    return np.ascontiguousarray(pixels[:height, :width])


def degrade(pixels: Pixels, config: DegradationConfig, generator: torch.Generator) -> Pixels:
    """A picture made `config.scale` times smaller, and worse.

    practical is first-order, y = JPEG(resize(blur(x)) + noise), after Zhang et al. 2021,
    "Designing a Practical Degradation Model for Deep Blind Image Super-Resolution"
    (arXiv:2103.14006), and Wang et al. 2021, "Real-ESRGAN" (arXiv:2107.10833). Unlike theirs the
    order is fixed, there is one round, all noise is Gaussian, the blur is always a Gaussian, and
    bicubic and bilinear resizing are antialiased, as image software does it.

    Args:
        pixels: (H, W, C) uint8, C 1 gray or 3 RGB; H and W multiples of scale, at least one.
        generator: what is drawn comes from here, of the CPU; bicubic draws nothing.
    Returns:
        (H/scale, W/scale, C) uint8.
    Raises:
        ValueError: pixels of another shape or type.
    """
    _check(pixels, config.scale)
    planes = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None]
    if config.kind == "bicubic":
        return _levels(bicubic_downscale(planes, config.scale))
    return _degrade_practically(planes.float(), config, generator)


def _check(pixels: Pixels, scale: int) -> None:
    height, width, channels = pixels.shape if pixels.ndim == 3 else (0, 0, 0)
    if pixels.dtype != np.uint8 or channels not in (1, 3):
        raise ValueError(f"pixels must be (H, W, 1 or 3) uint8, got {pixels.shape} {pixels.dtype}")
    if not height or not width or height % scale or width % scale:
        raise ValueError(f"size must be a multiple of {scale}, got {width}x{height}")


def _degrade_practically(
    planes: Tensor, config: DegradationConfig, generator: torch.Generator
) -> Pixels:
    """(1, C, H, W) in 0..255 -> (H/scale, W/scale, C) uint8."""

    def drawn(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    isotropic = drawn(0, 1) < config.isotropic_share
    sigma_x, sigma_y = drawn(*config.blur_sigma), drawn(*config.blur_sigma)
    kernel = gaussian_kernel(sigma_x, sigma_x if isotropic else sigma_y, angle=drawn(0, math.pi))
    resize = _RESIZES[int(torch.randint(len(_RESIZES), (), generator=generator))]
    sigma = drawn(*config.noise_sigma)
    gray_noise = drawn(0, 1) < config.gray_noise_share
    quality = round(drawn(*config.jpeg_quality))

    small = _resized(_blurred(planes, kernel), config.scale, resize)
    shape = (1, 1, *small.shape[-2:]) if gray_noise else tuple(small.shape)
    noisy = small + sigma * torch.randn(shape, generator=generator)
    return _through_jpeg(_levels(noisy), quality)


def gaussian_kernel(sigma_x: float, sigma_y: float, *, angle: float) -> Tensor:
    """A Gaussian turned by `angle` radians: (K, K) float32 that sums to 1, K odd, 3 sigma wide.

    Raises:
        ValueError: a sigma is not positive.
    """
    if min(sigma_x, sigma_y) <= 0:
        raise ValueError(f"both sigmas must be positive, got {sigma_x} and {sigma_y}")
    radius = max(1, math.ceil(3 * max(sigma_x, sigma_y)))
    at = torch.arange(-radius, radius + 1, dtype=torch.float64)
    y, x = torch.meshgrid(at, at, indexing="ij")
    along = math.cos(angle) * x + math.sin(angle) * y
    across = math.cos(angle) * y - math.sin(angle) * x
    weights = torch.exp(-0.5 * ((along / sigma_x) ** 2 + (across / sigma_y) ** 2))
    return (weights / weights.sum()).float()


def _blurred(planes: Tensor, kernel: Tensor) -> Tensor:
    """Each plane of (1, C, H, W) convolved; edges repeat the outermost pixel."""
    padded = F.pad(planes, [kernel.shape[-1] // 2] * 4, mode="replicate")
    channels, height = planes.shape[1:3]
    each = kernel.expand(channels, 1, *kernel.shape)
    blurred = torch.empty_like(planes)
    # in strips: a convolution takes many times the memory of what it is given
    for top in range(0, height, _STRIP):
        rows = padded[:, :, top : top + _STRIP + kernel.shape[0] - 1]
        blurred[:, :, top : top + _STRIP] = F.conv2d(rows, each, groups=channels)
    return blurred


def _resized(planes: Tensor, scale: int, how: Literal["bicubic", "bilinear", "area"]) -> Tensor:
    size = (planes.shape[-2] // scale, planes.shape[-1] // scale)
    if how == "area":
        return F.interpolate(planes, size=size, mode="area")
    return F.interpolate(planes, size=size, mode=how, antialias=True, align_corners=False)


def _levels(planes: Tensor) -> Pixels:
    """(1, C, H, W) -> (H, W, C) uint8, rounded and clamped to 0..255."""
    levels = planes[0].round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0)
    return np.ascontiguousarray(levels.numpy())


def _through_jpeg(pixels: Pixels, quality: int) -> Pixels:
    """(H, W, C) as a JPEG file of that quality (4:2:0) would show it."""
    gray = pixels.shape[2] == 1
    buffer = BytesIO()
    Image.fromarray(pixels[:, :, 0] if gray else pixels).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as image:
        shown = np.array(image)
    return shown[:, :, None] if gray else shown
