"""Pictures one after the other as one file that moves."""

from collections.abc import Sequence
from io import BytesIO
from typing import Literal

import numpy as np
from PIL import Image

from models.pixels import Pixels

AnimationFormat = Literal["gif", "webp"]


def animation(
    frames: Sequence[Pixels],
    format: AnimationFormat,  # noqa: A002 - the field's own name for it
    *,
    frame_ms: int = 80,
    there_and_back: bool = False,
) -> bytes:
    """A file that shows (H, W, 3) uint8 frames over and over, the same for the same frames.

    A GIF has 256 colors for all of its frames; WebP is lossless.

    Args:
        there_and_back: show them backwards too, so that the last is followed by its neighbor.
    Raises:
        ValueError: no frame, or frames of several shapes.
    """
    shapes = {frame.shape for frame in frames}
    if len(shapes) != 1:
        raise ValueError(f"frames must have one shape, got {sorted(shapes)}")
    shown = [*frames, *frames[-2:0:-1]] if there_and_back else list(frames)
    images = [Image.fromarray(np.ascontiguousarray(frame)) for frame in shown]
    if format == "gif":
        strip = Image.fromarray(np.concatenate(frames, 1))
        palette = strip.quantize(256, method=Image.Quantize.MEDIANCUT)
        images = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    sink = BytesIO()
    first, *rest = images
    options = {"lossless": True} if format == "webp" else {"optimize": False, "disposal": 1}
    first.save(
        sink, format, save_all=True, append_images=rest, duration=frame_ms, loop=0, **options
    )
    return sink.getvalue()
