"""Laws of animations."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageSequence

from models.animations import AnimationFormat, animation
from models.pixels import Pixels

FRAMES = [np.full((12, 10, 3), (k * 60, 200 - k * 40, 90), np.uint8) for k in range(4)]


def shown(data: bytes) -> list[Pixels]:
    image = Image.open(BytesIO(data))
    return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_an_animation_shows_every_frame_in_order(kind: AnimationFormat) -> None:
    data = animation(FRAMES, kind, frame_ms=100)
    assert Image.open(BytesIO(data)).format == kind.upper()
    assert Image.open(BytesIO(data)).info["loop"] == 0
    for own, frame in zip(shown(data), FRAMES, strict=True):
        assert np.abs(own.astype(int) - frame).max() <= (0 if kind == "webp" else 3)
    assert animation(FRAMES, kind, frame_ms=100) == data


def test_there_and_back_repeats_neither_end() -> None:
    back = shown(animation(FRAMES, "webp", there_and_back=True))
    assert [int(frame[0, 0, 0]) for frame in back] == [0, 60, 120, 180, 120, 60]


@pytest.mark.parametrize("frames", [[], [FRAMES[0], FRAMES[0][:5]]])
def test_frames_must_have_one_shape(frames: list[Pixels]) -> None:
    with pytest.raises(ValueError, match="frames must have one shape"):
        animation(frames, "gif")
