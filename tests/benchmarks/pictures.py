"""Make docs/images/upscale-x4.png: ground truth, bicubic and mill side by side."""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from models.images import decode
from models.metrics import score_against_reference
from models.pixels import Pixels
from models.resampling import bicubic_downscale
from models.tiling import place, tile_grid, window
from models.upscaling import Upscaler
from tasks.registry import load_model

SCALE = 4
_IMAGES = Path(__file__).parents[1] / "images"
_OUTPUT = Path(__file__).parents[2] / "docs" / "images" / "upscale-x4.png"
_CROPS = {"astronaut.png": (60, 20), "chelsea.jpg": (70, 40), "coffee.jpg": (20, 20)}
_SIDE, _ZOOM, _LINE = 128, 2, 22


def enlarged(upscaler: Upscaler, small: Pixels) -> Pixels:
    """A whole picture through an upscaler, as one tile."""
    height, width, channels = small.shape
    radius = upscaler.radius_for(channels)
    grid = tile_grid(height, width, tile=max(height, width) + 16, radius=radius)
    output = np.empty((height * SCALE, width * SCALE, channels), small.dtype)
    place(output, upscaler(window(small, grid, 0)[None])[0], grid, 0, SCALE)
    return output


def shrunk(truth: Pixels) -> Pixels:
    """The published degradation: bicubic, antialiased, rounded."""
    planes = torch.from_numpy(truth.astype(np.float32)).permute(2, 0, 1)[None]
    small = bicubic_downscale(planes, SCALE)[0].permute(1, 2, 0)
    return small.to(torch.uint8).numpy()


def _row(name: str, corner: tuple[int, int]) -> tuple[list[Pixels], list[str]]:
    truth = decode((_IMAGES / name).read_bytes()).pixels
    truth = truth[: truth.shape[0] // SCALE * SCALE, : truth.shape[1] // SCALE * SCALE].copy()
    small = shrunk(truth)
    pictures, words = [truth], ["ground truth"]
    for model in ("bicubic", f"mill-x{SCALE}"):
        picture = enlarged(load_model(model, SCALE, "fp32").upscaler, small)
        decibels, _ = score_against_reference(picture, truth, border=SCALE)
        pictures.append(picture)
        words.append(f"{model}  {decibels:.2f} dB")
    x, y = corner
    return [p[y : y + _SIDE, x : x + _SIDE] for p in pictures], words


def main() -> None:
    """Crops of 128 px, shown at twice their size."""
    cell = _SIDE * _ZOOM
    sheet = Image.new("RGB", (3 * cell, len(_CROPS) * (cell + _LINE)), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (name, corner) in enumerate(_CROPS.items()):
        top = row * (cell + _LINE)
        for column, (crop, words) in enumerate(zip(*_row(name, corner), strict=True)):
            shown = Image.fromarray(crop).resize((cell, cell), Image.Resampling.NEAREST)
            sheet.paste(shown, (column * cell, top + _LINE))
            draw.text((column * cell + 4, top + 5), words, fill="black")
    _OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(_OUTPUT, optimize=True)
    sys.stdout.write(f"{_OUTPUT.relative_to(Path.cwd())}: {_OUTPUT.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
