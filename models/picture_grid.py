"""One sheet of crops: a row a picture, a column a method, each with its name and score."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from models.images import Picture
from models.metrics import studio_luma
from models.pixels import Pixels

Plane = NDArray[np.float64]

_CELL = 256
_LINE = 14
_GAP = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class GridRow:
    """Crops of one picture, equal in size, (H, W, 1 or 3) uint8, and the words above each."""

    crops: tuple[Pixels, ...]
    words: tuple[str, ...]


def most_detailed_window(pixels: Pixels, side: int) -> tuple[int, int]:
    """Top and left of the side x side window of the highest luma variance; the first of equals.

    Args:
        pixels: (H, W, 1 or 3) uint8.
        side: pixels; where the picture is smaller, the window is all of that side.
    Raises:
        ValueError: side is below 1.
    """
    if side < 1:
        raise ValueError(f"side must be at least 1, got {side}")
    height, width = pixels.shape[:2]
    h, w = min(side, height), min(side, width)
    luma = _luma(pixels) - 128  # sums of squares stay small enough to be exact
    mean, square = (_window_sums(x, h, w) / (h * w) for x in (luma, luma * luma))
    variance = np.round(square - mean * mean, 6)
    top, left = np.unravel_index(int(variance.argmax()), variance.shape)
    return int(top), int(left)


def _luma(pixels: Pixels) -> Plane:
    if pixels.shape[2] == 1:
        return pixels[..., 0].astype(np.float64)
    rgb = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].double()
    luma: Plane = studio_luma(rgb)[0, 0].numpy()
    return luma


def _window_sums(plane: Plane, height: int, width: int) -> Plane:
    """Sum over each height x width window, (H - height + 1, W - width + 1)."""
    total = np.pad(plane, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    rows: Plane = total[height:] - total[:-height]
    sums: Plane = rows[:, width:] - rows[:, :-width]
    return sums


def crop(pixels: Pixels, corner: tuple[int, int], side: int) -> Pixels:
    """The side x side window at a (top, left) corner, or what of it lies in the picture."""
    top, left = corner
    return pixels[top : top + side, left : left + side]


def picture_grid(rows: Sequence[GridRow]) -> Picture:
    """The sheet: RGB on white; each crop as many whole times larger as fits a cell of 256 pixels.

    Args:
        rows: at least one, all with the same number of crops, at most 256 pixels a side. Words
            that do not fit above a cell lose their middle.
    Raises:
        ValueError: no row, rows of different lengths, not one word a crop, or a larger crop.
    """
    if not rows:
        raise ValueError("a grid needs at least one row, got none")
    columns = {len(row.crops) for row in rows} | {len(row.words) for row in rows}
    if len(columns) != 1:
        raise ValueError(f"rows must all have as many crops and words, got {sorted(columns)}")
    largest = max(side for row in rows for crop in row.crops for side in crop.shape[:2])
    if largest > _CELL:
        raise ValueError(f"crops must be at most {_CELL} pixels a side, got {largest}")
    shown = [[_enlarged(crop) for crop in row.crops] for row in rows]
    heights = [max(image.height for image in images) + _LINE + _GAP for images in shown]
    sheet = Image.new("RGB", (columns.pop() * (_CELL + _GAP) + _GAP, sum(heights) + _GAP), "white")
    draw, font, top = ImageDraw.Draw(sheet), ImageFont.load_default(11), _GAP
    for row, images, height in zip(rows, shown, heights, strict=True):
        for column, (image, words) in enumerate(zip(images, row.words, strict=True)):
            left = _GAP + column * (_CELL + _GAP)
            draw.text((left, top), _fitted(words, draw, font), fill="black", font=font)
            sheet.paste(image, (left, top + _LINE))
        top += height
    return Picture(pixels=np.asarray(sheet).copy())


def _enlarged(pixels: Pixels) -> Image.Image:
    colour = pixels.repeat(3, axis=2) if pixels.shape[2] == 1 else pixels
    image = Image.fromarray(np.ascontiguousarray(colour))
    times = max(1, _CELL // max(image.size))
    return image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)


def _fitted(
    words: str, draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> str:
    """The words, without as much of their middle as makes them fit a cell."""
    kept = len(words)
    text = words
    while draw.textlength(text, font) > _CELL and kept > 2:
        kept -= 1
        text = f"{words[: kept // 2]}..{words[len(words) - (kept - kept // 2) :]}"
    return text
