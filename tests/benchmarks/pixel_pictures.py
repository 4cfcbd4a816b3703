"""The pictures of docs/images: python -m tests.benchmarks.pixel_pictures DIGITS PATCHES [FOLDER].

DIGITS and PATCHES are .npy of held-out levels (N, C, H, W), uint8. Makes pixel-samples.png,
pixel-completions.png and pixel-receptive-fields.png.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

from models.pixel_completion import complete
from models.pixel_likelihood import PixelNetwork
from models.pixel_receptive_field import pixels_seen, receptive_field
from models.pixel_sampling import draw_noise, sample
from models.pixelcnn import GatedPixelCnn, GatedPixelCnnConfig, PixelCnn, PixelCnnConfig
from models.pixelrnn import PixelRnn, PixelRnnConfig
from tasks.pixel_models import load_pixel_model

_DEFAULT = Path(__file__).parents[2] / "docs" / "images"
_GAP, _WORDS = 4, 18


def shown(levels: Tensor, times: int) -> Image.Image:
    """(C, H, W) levels as a picture, every pixel `times` large."""
    scaled = levels * (255 if levels.shape[0] == 1 and int(levels.max()) <= 1 else 1)
    rgb = scaled.expand(3, -1, -1).permute(1, 2, 0).to(torch.uint8).numpy()
    image = Image.fromarray(np.ascontiguousarray(rgb))
    return image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)


def sheet(rows: list[list[Image.Image]], words: list[str]) -> Image.Image:
    """Rows of equal cells, each below its words."""
    width, height = rows[0][0].size
    columns = max(map(len, rows))
    step = height + _WORDS + _GAP
    canvas = Image.new("RGB", (columns * (width + _GAP) + _GAP, len(rows) * step + _GAP), "white")
    draw = ImageDraw.Draw(canvas)
    for y, (row, said) in enumerate(zip(rows, words, strict=True)):
        draw.text((_GAP, y * step + _GAP), said, fill="black")
        for x, cell in enumerate(row):
            canvas.paste(cell, (_GAP + x * (width + _GAP), y * step + _WORDS))
    return canvas


def samples(network: PixelNetwork, side: int, times: int, temperature: float) -> list[Image.Image]:
    """Twelve drawn pictures."""
    shape = (12, network.sites.channels, side, side)
    noise = draw_noise(shape, torch.Generator().manual_seed(7))
    drawn = sample(network, noise, temperature=temperature)
    return [shown(picture, times) for picture in drawn]


def completions(
    network: PixelNetwork, images: Tensor, missing: Tensor, times: int
) -> list[list[Image.Image]]:
    """Each picture, what was given of it, and six completions."""
    generator = torch.Generator().manual_seed(3)
    made = complete(network, images, missing, generator, completions=6)
    rows = []
    for image, drawn in zip(images, made.images, strict=True):
        given = shown(torch.where(missing, 0, image), times)
        veil = Image.fromarray((missing.numpy() * 255).astype(np.uint8)).resize(given.size)
        given.paste((130, 140, 170), mask=veil)
        rows.append([shown(image, times), given, *(shown(one, times) for one in drawn)])
    return rows


def fields(side: int = 21) -> Image.Image:
    """Which earlier pixels the middle pixel sees: a published network each."""
    nets: dict[str, nn.Module] = {
        "PixelCNN, 7x7 and 7 blocks": PixelCnn(PixelCnnConfig(width=4, blocks=7, head_width=8)),
        "Gated PixelCNN, 5 layers": GatedPixelCnn(GatedPixelCnnConfig(width=4, layers=5)),
        "Row LSTM, 2 layers": PixelRnn(PixelRnnConfig(recurrence="row", width=4, layers=2)),
        "Diagonal BiLSTM, 1 layer": PixelRnn(
            PixelRnnConfig(recurrence="diagonal", width=4, layers=1)
        ),
    }
    cells, words, y, x = [], [], side // 2, side // 2
    for name, network in nets.items():
        seen = receptive_field(network, height=side, width=side, y=y, x=x)  # type: ignore[arg-type]
        many, of = pixels_seen(seen, y=y, x=x)
        earlier = torch.arange(side * side).view(side, side) < y * side + x
        rgb = torch.full((3, side, side), 235)
        rgb[:, earlier] = torch.tensor([225, 150, 140])[:, None]
        rgb[:, seen & earlier] = torch.tensor([70, 120, 180])[:, None]
        rgb[:, y, x] = 0
        cells.append([shown(rgb, 8)])
        words.append(f"{name}: sees {many} of {of}")
    width, height = cells[0][0].size
    wide = max(width, 240)
    canvas = Image.new("RGB", (4 * (wide + _GAP) + _GAP, height + _WORDS + _GAP), "white")
    draw = ImageDraw.Draw(canvas)
    for n, (cell, said) in enumerate(zip(cells, words, strict=True)):
        draw.text((_GAP + n * (wide + _GAP), 3), said, fill="black")
        canvas.paste(cell[0], (_GAP + n * (wide + _GAP), _WORDS))
    return canvas


def main() -> None:
    torch.set_num_threads(1)
    digits, patches = (torch.from_numpy(np.load(path)) for path in sys.argv[1:3])
    folder = Path(sys.argv[3]) if len(sys.argv) > 3 else _DEFAULT
    fields().save(folder / "pixel-receptive-fields.png", optimize=True)
    small, colour = (load_pixel_model(name, "").network for name in ("digits", "patches"))
    sheet(
        [samples(small, 28, 3, 1.0), samples(colour, 32, 3, 1.0)],
        ["digits, 28 x 28 binary", "patches, 32 x 32 colour"],
    ).save(folder / "pixel-samples.png", optimize=True)
    lower, strip = torch.zeros(28, 28, dtype=torch.bool), torch.zeros(32, 32, dtype=torch.bool)
    lower[14:], strip[16:] = True, True
    right = torch.zeros(28, 28, dtype=torch.bool)
    right[:, 14:] = True
    kinds = [
        ("digits, lower half: exact draws", small, digits[:3], lower),
        ("digits, right half: not exact", small, digits[3:5], right),
        ("patches, lower half: exact draws", colour, patches[:3], strip),
    ]
    rows, words = [], []
    for said, network, images, missing in kinds:
        made = completions(network, images, missing, 3)
        made = [[cell.resize((96, 96), Image.Resampling.NEAREST) for cell in row] for row in made]
        rows += made
        words += [f"{said}: picture, given, six completions"] + [""] * (len(made) - 1)
    sheet(rows, words).save(folder / "pixel-completions.png", optimize=True)


if __name__ == "__main__":
    main()
