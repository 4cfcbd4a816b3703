"""Image quality, one metric a function, computed as the super-resolution literature does."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.pixels import Pixels


def studio_luma(rgb: Tensor) -> Tensor:
    """BT.601 studio-swing luma, `16 + 65.481 R + 128.553 G + 24.966 B` of R, G, B in 0..1.

    Args:
        rgb: (N, 3, H, W) in 0..255.
    Returns:
        (N, 1, H, W) in 16..235, not rounded.
    """
    weights = torch.tensor([65.481, 128.553, 24.966], dtype=rgb.dtype, device=rgb.device) / 255
    return 16 + (rgb * weights.view(1, 3, 1, 1)).sum(1, keepdim=True)


def psnr(a: Tensor, b: Tensor, *, peak: float = 255.0) -> float:
    """10 log10(peak^2 / mean (a - b)^2), in dB; infinite for equal images.

    Args:
        a, b: the same shape, in 0..peak.
    Raises:
        ValueError: the shapes differ.
    """
    if a.shape != b.shape:
        raise ValueError(f"shapes must be equal, got {tuple(a.shape)} and {tuple(b.shape)}")
    mse = (a.double() - b.double()).square().mean()
    return float("inf") if mse == 0 else float(10 * torch.log10(peak**2 / mse))


def ssim(a: Tensor, b: Tensor, *, peak: float = 255.0) -> float:
    """Structural similarity, Gaussian 11x11 window of sigma 1.5, mean over the valid positions.

    Args:
        a, b: (N, C, H, W), the same shape, in 0..peak, at least 11x11.
    Returns:
        At most 1, which only equal images reach.
    Raises:
        ValueError: the shapes differ, or are smaller than the window.
    Source: Wang et al. 2004, "Image quality assessment: from error visibility to structural
        similarity"; K1 = 0.01, K2 = 0.03.
    """
    if a.shape != b.shape:
        raise ValueError(f"shapes must be equal, got {tuple(a.shape)} and {tuple(b.shape)}")
    if min(a.shape[-2:]) < 11:
        raise ValueError(f"images must be at least 11x11, got {a.shape[-1]}x{a.shape[-2]}")
    t = torch.arange(-5, 6, dtype=torch.float64)
    g = torch.exp(-(t**2) / (2 * 1.5**2))
    g = g / g.sum()

    def blur(x: Tensor) -> Tensor:
        planes = x.reshape(-1, 1, *x.shape[-2:])
        return F.conv2d(F.conv2d(planes, g.view(1, 1, -1, 1)), g.view(1, 1, 1, -1))

    x, y = a.double(), b.double()
    mx, my = blur(x), blur(y)
    vx, vy, cov = blur(x * x) - mx * mx, blur(y * y) - my * my, blur(x * y) - mx * my
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    score = ((2 * mx * my + c1) * (2 * cov + c2)) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    return float(score.mean())


def luma_for_scoring(pixels: Tensor, *, border: int) -> Tensor:
    """What PSNR-Y and SSIM-Y are measured on: rounded luma without its border.

    Args:
        pixels: (N, 3, H, W) or (N, 1, H, W) in 0..255; gray is scored as it is.
        border: pixels cut on each side, by the protocol the scale.
    """
    luma = studio_luma(pixels.double()).round() if pixels.shape[1] == 3 else pixels.double()
    if border:
        luma = luma[..., border:-border, border:-border]
    return luma


def score_against_reference(
    output: Pixels, reference: Pixels, *, border: int
) -> tuple[float, float | None]:
    """PSNR-Y and SSIM-Y of an enlarged picture, by the super-resolution protocol.

    Args:
        output: (H, W, C), C as in `images.Picture`; alpha is not compared.
        reference: (H', W', C'); up to border - 1 rows and columns more than the output are cut.
        border: pixels left out on each side, the scale.
    Returns:
        PSNR in dB; SSIM, or None where a side is under 11 pixels.
    Raises:
        ValueError: the sizes differ by more than that.
    """
    height, width = output.shape[:2]
    extra = (reference.shape[0] - height, reference.shape[1] - width)
    if not all(0 <= e < max(border, 1) for e in extra):
        raise ValueError(
            f"the reference must be {width}x{height}, got {reference.shape[1]}x{reference.shape[0]}"
        )
    a, b = (_scored(p, border) for p in (output, reference[:height, :width]))
    return psnr(a, b), ssim(a, b) if min(a.shape[-2:]) >= 11 else None


def _scored(pixels: Pixels, border: int) -> Tensor:
    levels = torch.from_numpy(pixels.astype(np.float32)) * (255 / float(np.iinfo(pixels.dtype).max))
    colour = levels[..., : 1 if pixels.shape[-1] < 3 else 3]
    return luma_for_scoring(colour.permute(2, 0, 1)[None], border=border)
