"""Small pictures for pixel models, cut out of larger ones: whole and reduced, or random patches."""

import hashlib
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Bytes: TypeAlias = NDArray[np.uint8]
Fit = Literal["crop", "stretch"]

HALF = 128
"""The first gray level that is 1 of a binary picture."""


@dataclass(frozen=True, kw_only=True)
class CutConfig:
    """How a picture is cut.

    Args:
        size: pixels on a side; None leaves a picture as it is, without patches.
        patches: so many patches at the picture's own scale; 0 is one picture, reduced.
        fit: crop reduces the square in the middle, stretch the whole picture.
        gray: one channel; binary: that, and each pixel 0 or 255.
        seed: of the patches' places.
    """

    size: int | None = 32
    patches: int = 0
    fit: Fit = "crop"
    gray: bool = False
    binary: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.size is not None and self.size < 1:
            raise ValueError(f"size must be at least 1, got {self.size}")
        if self.patches < 0:
            raise ValueError(f"patches must be at least 0, got {self.patches}")
        if self.patches and self.size is None:
            raise ValueError("patches need a size, got none")
        if self.fit not in get_args(Fit):
            raise ValueError(f"fit must be crop or stretch, got {self.fit!r}")


class TooSmallError(ValueError):
    """A picture that nothing can be cut out of."""


def content_digest(pixels: Bytes) -> str:
    """SHA-256 of a picture's size and pixels: the same for any lossless file of it."""
    told = hashlib.sha256(str(pixels.shape).encode())
    told.update(np.ascontiguousarray(pixels).data)
    return told.hexdigest()


def cut_pictures(pixels: Bytes, digest: str, config: CutConfig) -> list[Bytes]:
    """What a picture gives: one, reduced, or its patches, fewer where it has not as many places.

    Args:
        pixels: (H, W, 1 or 3).
        digest: its content's, which with the seed decides where patches lie.
    Returns:
        (size, size, C) each.
    Raises:
        TooSmallError: a side is shorter than the size.
    """
    height, width = pixels.shape[:2]
    if config.size is None:
        made = [pixels]
    elif min(height, width) < config.size:
        raise TooSmallError(
            f"too small: {width}x{height} pixels, want at least {config.size} on a side"
        )
    elif config.patches:
        made = _patches(pixels, digest, config.size, config)
    else:
        made = [_reduced(pixels, config.size, config.fit)]
    return [_toned(picture, config) for picture in made]


def _patches(pixels: Bytes, digest: str, size: int, config: CutConfig) -> list[Bytes]:
    rows, columns = (n - size + 1 for n in pixels.shape[:2])
    seed = hashlib.sha256(f"patches {config.seed} {digest}".encode()).digest()
    generator = np.random.default_rng(int.from_bytes(seed[:16], "big"))
    count = min(config.patches, rows * columns)
    places = generator.choice(rows * columns, count, replace=False)
    corners = (divmod(int(place), columns) for place in places)
    return [pixels[top : top + size, left : left + size] for top, left in corners]


def _reduced(pixels: Bytes, size: int, fit: Fit) -> Bytes:
    """Each new pixel is the mean of the area that it covers."""
    height, width = pixels.shape[:2]
    if (height, width) == (size, size):
        return pixels
    box = (0, 0, width, height)
    if fit == "crop":
        side = min(height, width)
        left, top = (width - side) // 2, (height - side) // 2
        box = (left, top, left + side, top + side)
    made = np.asarray(_image(pixels).resize((size, size), Image.Resampling.BOX, box=box))
    return made if made.ndim == 3 else made[:, :, None]


def _toned(pixels: Bytes, config: CutConfig) -> Bytes:
    if (config.gray or config.binary) and pixels.shape[2] == 3:
        pixels = np.asarray(_image(pixels).convert("L"))[:, :, None]
    if config.binary:
        pixels = np.where(pixels >= HALF, 255, 0).astype(np.uint8)
    return pixels


def _image(pixels: Bytes) -> Image.Image:
    contiguous = np.ascontiguousarray(pixels)
    return Image.fromarray(contiguous[:, :, 0] if pixels.shape[2] == 1 else contiguous)


def levels_of(pictures: Bytes, levels: int) -> Bytes:
    """Stored gray values -> a pixel model's levels: 0 and 1 of a binary picture, else the same."""
    return (pictures >= HALF).astype(np.uint8) if levels == 2 else pictures


def shown(pictures: Bytes, levels: int) -> Bytes:
    """A pixel model's levels 0..levels - 1 -> gray values 0..255 to look at."""
    if levels == 256:
        return pictures
    return (pictures.astype(np.uint16) * 255 // (levels - 1)).astype(np.uint8)


def spread(count: int, wanted: int) -> NDArray[np.int64]:
    """`wanted` of the numbers 0..count - 1, evenly spread, both ends among them; all if fewer."""
    if wanted >= count:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, wanted).round().astype(np.int64))


def middle_square(pictures: Bytes, side: int) -> Bytes:
    """The square of `side` pixels in the middle of each of (N, C, H, W)."""
    top, left = ((n - side) // 2 for n in pictures.shape[2:])
    return pictures[:, :, top : top + side, left : left + side]


def sheet(pictures: Bytes, *, columns: int, times: int = 2, gap: int = 2) -> Bytes:
    """Gray values (N, C, H, W) side by side on white: (H', W', C), each so many times larger."""
    large = pictures.repeat(times, axis=2).repeat(times, axis=3).transpose(0, 2, 3, 1)
    count, height, width, channels = large.shape
    rows = -(-count // columns)
    across, down = columns * (width + gap) + gap, rows * (height + gap) + gap
    made = np.full((down, across, channels), 255, np.uint8)
    for number, picture in enumerate(large):
        row, column = divmod(number, columns)
        top, left = gap + row * (height + gap), gap + column * (width + gap)
        made[top : top + height, left : left + width] = picture
    return made
