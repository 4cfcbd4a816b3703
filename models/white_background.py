"""Cut an object out of a rendering on white: its mask, and both at a smaller size."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Pixels = NDArray[np.uint8]
Holes = Literal["object", "background"]

WHITE_FROM = 250
"""A pixel of which every channel has at least this level may be background."""


def background(pixels: Pixels, holes: Holes = "object") -> NDArray[np.bool_]:
    """(H, W): what is white and connected with the picture's border, by edges.

    Args:
        pixels: (H, W, 3) uint8.
        holes: what white areas are that the object encloses: a white part of it, or background
            that is seen through it. The picture does not tell.
    """
    white = np.asarray((pixels >= WHITE_FROM).all(2), np.bool_)
    if holes == "background":
        return white
    labels, _ = ndimage.label(white)
    edges = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    outside = np.zeros(int(labels.max()) + 1, np.bool_)
    outside[edges] = True
    outside[0] = False
    found: NDArray[np.bool_] = outside[labels]
    return found


def cut_out(pixels: Pixels, size: int, holes: Holes = "object") -> tuple[Pixels, Pixels]:
    """A picture on white, (size, size, 3), and its mask, (size, size), both uint8.

    The whole frame is kept: a picture that is not square gets white bars. The mask is the share of
    a pixel that the object covers, 0..255, and the picture is the object over white by that share.

    Args:
        pixels: (H, W, 3) uint8 on white; or (H, W, 4), where alpha is the mask as it stands.
    Raises:
        ValueError: another shape or type.
    """
    if pixels.ndim != 3 or pixels.shape[2] not in (3, 4) or pixels.dtype != np.uint8:
        raise ValueError(f"pixels must be (H, W, 3 or 4) uint8, got {pixels.shape} {pixels.dtype}")
    if pixels.shape[2] == 4:
        mask = pixels[:, :, 3]
        weight = mask[:, :, None].astype(np.uint32)
        over_white = pixels[:, :, :3] * weight + 255 * (255 - weight)
        color = ((over_white + 127) // 255).astype(np.uint8)
    else:
        outside = background(pixels, holes)
        mask = np.where(outside, 0, 255).astype(np.uint8)
        color = np.where(outside[:, :, None], np.uint8(255), pixels)
    return _reduced(_squared(color, 255), size), _reduced(_squared(mask, 0), size)


def _squared(pixels: Pixels, level: int) -> Pixels:
    height, width = pixels.shape[:2]
    missing = abs(height - width)
    if not missing:
        return pixels
    bars = (missing // 2, missing - missing // 2)
    rows, columns = (bars, (0, 0)) if height < width else ((0, 0), bars)
    around = [rows, columns] + [(0, 0)] * (pixels.ndim - 2)
    return np.pad(pixels, around, constant_values=level)


def _reduced(pixels: Pixels, size: int) -> Pixels:
    """The mean over each pixel's area; a smaller picture is enlarged bilinearly."""
    if len(pixels) == size:
        return pixels
    method = Image.Resampling.BOX if len(pixels) > size else Image.Resampling.BILINEAR
    resized: Pixels = np.asarray(Image.fromarray(pixels).resize((size, size), method))
    return resized
