"""Pictures -> what a pixel model knows, exactly or as near as it gets, and back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from models.image_modes import reduce_to_8_bits
from models.images import ImageError, Picture
from models.pixel_pictures import HALF, Bytes, CutConfig, TooSmallError, cut_pictures, shown
from models.pixels import Pixels

Side = Literal["top", "bottom", "left", "right"]
Mask = NDArray[np.bool_]

MOST_CODED, MOST_SEEN = 2**22, 2**18
"""Pixels of a picture that is coded site by site; and of one that a network sees as a whole, all of
whose activations are in memory at once."""

_LONGEST = 2**16 - 1
"""Pixels on a side: what a container can say."""

_LOSSY = ("reduced to", "converted to", "stretched to")
"""Words of a picture's remarks that say that its pixels are not the file's."""


@dataclass(frozen=True, kw_only=True)
class PixelFormat:
    """The pictures that a pixel model knows.

    Args:
        run: pixels in a site.
        multiple: what heights, and widths in sites, must be multiples of.
    """

    channels: int
    levels: int
    run: int = 1
    multiple: int = 1

    def check_size(self, height: int, width: int, most: int = MOST_SEEN) -> None:
        """Raises ImageError: sides that the network has no sites for, or too many pixels."""
        if max(height, width) > _LONGEST or height * width > most:
            raise ImageError(
                "too_large",
                f"{width}x{height} are {height * width} pixels, a pixel model takes at most {most}"
                f" here and {_LONGEST} on a side; --size cuts pictures",
            )
        across = self.run * self.multiple
        if height % self.multiple or width % across:
            raise ImageError(
                "unsuitable",
                f"the model wants a width that is a multiple of {across} and a height that is one"
                f" of {self.multiple}, got {width}x{height} pixels; --size cuts pictures",
            )


def exact_levels(picture: Picture, wanted: PixelFormat) -> Bytes:
    """A picture's levels, from which `restored` gives back the very same pixels.

    Returns:
        (H, W, C), C the model's; gray is three equal channels to a colour model, and the reverse.
    Raises:
        ImageError: not_lossless, if the model cannot hold the picture; unsuitable, its size.
    """
    pixels = picture.pixels
    lossy = [r for r in picture.remarks if any(word in r for word in _LOSSY)]
    if pixels.dtype != np.uint8 or lossy:
        what = lossy[0] if lossy else "16-bit gray"
        raise _not_lossless(f"the model has 8 bits, this is another picture ({what})")
    if pixels.shape[2] in (2, 4):
        raise _not_lossless("the model has no alpha, the picture has")
    wanted.check_size(pixels.shape[0], pixels.shape[1], MOST_CODED)
    own = _in_channels(np.asarray(pixels, np.uint8), wanted.channels)
    levels = _to_levels(own, wanted.levels)
    if not np.array_equal(shown(levels, wanted.levels), own):
        step = 255 // (wanted.levels - 1)
        values = "0 and 255" if wanted.levels == 2 else f"multiples of {step}"
        raise _not_lossless(f"the model knows the values {values} alone, the picture has others")
    return levels


def _not_lossless(sentence: str) -> ImageError:
    return ImageError("not_lossless", sentence)


def _in_channels(pixels: Bytes, channels: int) -> Bytes:
    if pixels.shape[2] == channels:
        return pixels
    if channels == 3:
        return pixels.repeat(3, axis=2)
    if not (pixels == pixels[:, :, :1]).all():
        raise _not_lossless("the model is gray, the picture has colours")
    return np.ascontiguousarray(pixels[:, :, :1])


def restored(levels: Bytes, wanted: PixelFormat, channels: int) -> Picture:
    """The picture of levels (H, W, C), with as many channels as its source had."""
    pixels = shown(levels, wanted.levels)
    if channels == 3 and pixels.shape[2] == 1:
        pixels = pixels.repeat(3, axis=2)
    return Picture(pixels=np.ascontiguousarray(pixels[:, :, :channels]))


def near_levels(picture: Picture, wanted: PixelFormat, size: int | None) -> Bytes:
    """A picture as the model can see it: over white, in 8 bits, gray or binary as the model is.

    Args:
        size: the square in the middle, reduced to so many pixels; None leaves it as it is.
    Returns:
        (H, W, C), C the model's.
    Raises:
        ImageError: too_small; unsuitable or too_large, its size.
    """
    pixels = _opaque(reduce_to_8_bits(picture.pixels))
    config = CutConfig(size=size, gray=wanted.channels == 1, binary=wanted.levels == 2)
    try:
        (cut,) = cut_pictures(pixels, "", config)
    except TooSmallError as error:
        raise ImageError("too_small", str(error)) from error
    wanted.check_size(*cut.shape[:2])
    return _to_levels(_in_channels(cut, wanted.channels), wanted.levels)


def _opaque(pixels: Bytes) -> Bytes:
    if pixels.shape[2] not in (2, 4):
        return pixels
    alpha = pixels[:, :, -1:].astype(np.uint32)
    over = (pixels[:, :, :-1] * alpha + 255 * (255 - alpha) + 127) // 255
    return over.astype(np.uint8)


def _to_levels(pixels: Bytes, levels: int) -> Bytes:
    """0..255 -> the nearest of levels 0..levels - 1."""
    if levels == 256:
        return pixels
    return ((pixels.astype(np.uint32) * (levels - 1) * 2 + 255) // 510).astype(np.uint8)


@dataclass(frozen=True, kw_only=True)
class Hiding:
    """What of a picture is taken away: `pixels` of it at a side, or a share."""

    side: Side
    pixels: int | None = None
    share: float = 0.5

    def mask(self, height: int, width: int) -> Mask:
        """(H, W), true where it is missing; at least one row or column, and not all.

        Raises:
            ImageError: so many pixels are all there are.
        """
        length = height if self.side in ("top", "bottom") else width
        count = self.pixels if self.pixels is not None else max(1, round(self.share * length))
        if not 0 < count < length:
            raise ImageError(
                "unsuitable", f"{count} of {length} pixels cannot be hidden, some must be left"
            )
        missing = np.zeros((height, width), np.bool_)
        gone = slice(-count, None) if self.side in ("bottom", "right") else slice(count)
        missing[(gone,) if self.side in ("top", "bottom") else (slice(None), gone)] = True
        return missing


def parse_hiding(text: str, share: float) -> Hiding:
    """ "bottom" -> that share of it; "right:16" -> 16 pixels.

    Raises:
        ValueError: no such side, or no number above 0.
    """
    side, colon, count = text.partition(":")
    if side not in get_args(Side) or (colon and not (count.isdigit() and int(count))):
        raise ValueError(
            "what to hide must be top, bottom, left or right, with pixels like right:16,"
            f" got {text!r}"
        )
    if not 0 < share < 1:
        raise ValueError(f"the share to hide must lie between 0 and 1, got {share}")
    return Hiding(side=cast(Side, side), pixels=int(count) if colon else None, share=share)


def with_gap(levels: Bytes, missing: Mask, depth: int) -> Pixels:
    """A picture to look at, RGB, with what is missing in blue. depth: levels a value."""
    pixels = shown(levels, depth)
    rgb = pixels.repeat(3, axis=2) if pixels.shape[2] == 1 else pixels.copy()
    rgb[missing] = (70, 110, 190)
    return rgb


def as_rgb(levels: Bytes, depth: int) -> Pixels:
    """A picture to look at, RGB."""
    return with_gap(levels, np.zeros(levels.shape[:2], np.bool_), depth)


def in_lines(cells: Sequence[Pixels], columns: int) -> list[list[Pixels]]:
    """Cells of a sheet by row, the last one filled up with white."""
    filled = [*cells, *[np.full_like(cells[0], 255)] * (-len(cells) % columns)]
    return [filled[k : k + columns] for k in range(0, len(filled), columns)]


def mask_of(picture: Picture) -> Mask:
    """(H, W), true where a picture is lighter than half, over white.

    Raises:
        ImageError: nowhere, or everywhere.
    """
    pixels = _opaque(reduce_to_8_bits(picture.pixels))
    missing: Mask = pixels.astype(np.float32).mean(axis=2) >= HALF
    if missing.all() or not missing.any():
        what = "all" if missing.all() else "no"
        raise ImageError("unsuitable", f"{what} pixels are white, wanted some: those to be hidden")
    return missing
