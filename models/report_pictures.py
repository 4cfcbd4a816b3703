"""Pictures as a report shows them: small, on a checkerboard's gray where transparent, encoded."""

from dataclasses import dataclass
from io import BytesIO
from typing import Literal

import numpy as np
from PIL import Image

from models.image_modes import reduce_to_8_bits
from models.picture_grid import crop, most_detailed_window
from models.pixels import Pixels

_UNDER_ALPHA = 160.0
_SAME_ASPECT = 0.03
_WINDOW_SEARCH = 1024
"""Where to look closest is searched in a picture of at most so many pixels a side."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BeforeAndAfter:
    """A source and its output as shown: whole, and the same window of both; WebP.

    `aligned`: both show the same thing at the same place, so that one can be laid over the other.
    """

    whole: tuple[bytes, bytes]
    detail: tuple[bytes, bytes] | None
    aligned: bool


def colours(pixels: Pixels) -> Pixels:
    """(H, W, 1..4) of 8 or 16 bits -> (H, W, 3) uint8 over a middle gray."""
    narrow = reduce_to_8_bits(pixels)
    alpha = narrow[..., -1:].astype(np.float32) / 255 if narrow.shape[2] in (2, 4) else None
    colour = narrow[..., : 1 if narrow.shape[2] < 3 else 3]
    if colour.shape[2] == 1:
        colour = colour.repeat(3, axis=2)
    if alpha is None:
        return np.ascontiguousarray(colour)
    return np.rint(colour * alpha + _UNDER_ALPHA * (1 - alpha)).astype(np.uint8)


def encoded(pixels: Pixels, kind: Literal["webp", "jpeg", "png"], quality: int = 82) -> bytes:
    """(H, W, 3) uint8 as the bytes of a picture; JPEG without any loss of colour's resolution."""
    sink = BytesIO()
    image = Image.fromarray(pixels)
    if kind == "jpeg":
        image.save(sink, "JPEG", quality=quality, subsampling=0, optimize=True)
    else:
        image.save(sink, kind, quality=quality)
    return sink.getvalue()


def fitted(pixels: Pixels, side: int) -> Pixels:
    """No side longer than `side`; what is smaller stays as it is."""
    longest = max(pixels.shape[:2])
    if longest <= side:
        return pixels
    height, width = (max(1, round(n * side / longest)) for n in pixels.shape[:2])
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))


def window(pixels: Pixels, side: int) -> tuple[int, int]:
    """Top and left of the side x side window with most to see in it."""
    small = fitted(pixels, _WINDOW_SEARCH)
    ratio = small.shape[0] / pixels.shape[0]
    top, left = most_detailed_window(small, max(1, round(side * ratio)))
    height, width = pixels.shape[:2]
    at = (round(top / ratio), round(left / ratio))
    return max(0, min(at[0], height - side)), max(0, min(at[1], width - side))


def before_and_after(source: Pixels, output: Pixels, *, side: int, detail: int) -> BeforeAndAfter:
    """A source beside its output.

    Args:
        source, output: (H, W, 3) uint8.
        side: the longest side of the whole pictures. detail: of a window, in the output's pixels.
    """
    height, width = output.shape[:2]
    aspect = (source.shape[1] / source.shape[0]) / (width / height)
    aligned = abs(aspect - 1) <= _SAME_ASPECT
    whole = fitted(output, side)
    first = fitted(source, side)
    return BeforeAndAfter(
        whole=(encoded(first, "webp"), encoded(whole, "webp")),
        detail=_windows(source, output, min(detail, height, width)) if aligned else None,
        aligned=aligned,
    )


def _windows(source: Pixels, output: Pixels, side: int) -> tuple[bytes, bytes]:
    """The same window of both, each in its own pixels."""
    top, left = window(output, side)
    ratio = source.shape[0] / output.shape[0]
    own = max(1, round(side * ratio))
    at = (round(top * ratio), round(left * ratio))
    # a window that began between two of the source's pixels would seem to move under the slider
    top, left = round(at[0] / ratio), round(at[1] / ratio)
    before, after = crop(source, at, own), crop(output, (top, left), side)
    return encoded(before, "webp", 92), encoded(after, "webp", 88)
