"""The sheets of styles: python -m tests.benchmarks.style_pictures WHAT CONTENT STYLES [OUT].

WHAT is painter: photographs by the painter's styles, and a blend of two. Or it is
optimise: photographs by styles, style weights, own colours, a style for each half, with VGG16
through PIXELMILL_FEATURES. OUT is by default docs/images.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from models.picture_grid import GridRow, picture_grid
from models.pixels import Pixels
from models.style_feedforward import blend_weights
from models.style_optimisation import Style, StyleConfig, gatys_loss, stylize
from models.style_painting import paint
from tasks.features import load_features
from tasks.painters import load_painter
from tasks.style_transforms import levels, unit_range

_DOCS = Path(__file__).parents[2] / "docs" / "images"
_STYLES = ("starry_night", "the_scream", "wave", "composition_vii")
_SIDE, _ITERATIONS = 208, 60


def square(path: Path, side: int) -> Pixels:
    """The middle of a picture with a shorter side of so many pixels."""
    image = Image.open(path).convert("RGB")
    scale = side / min(image.size)
    image = image.resize(
        (max(side, round(image.width * scale)), max(side, round(image.height * scale))),
        Image.Resampling.BICUBIC,
    )
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return np.array(image.crop((left, top, left + side, top + side)))


def found(folder: Path, name: str) -> Path:
    """The picture of that name, whatever its format."""
    return next(folder.glob(f"{name}.*"))


def row(pictures: Sequence[Pixels], words: Sequence[str]) -> GridRow:
    """A row of the sheet."""
    return GridRow(crops=tuple(pictures), words=tuple(words))


def _save(rows: Sequence[GridRow], path: Path) -> None:
    """A sheet for a page: half the bytes of what `encode` keeps for collections."""
    Image.fromarray(picture_grid(rows).pixels).save(path, "JPEG", quality=82)


def painted(contents: Path, styles: Path, out: Path) -> None:
    """The painter's sheet."""
    painter = load_painter("painter")
    first = [np.full((256, 256, 3), 255, np.uint8)]
    rows = [row(first + [square(found(styles, s), 256) for s in _STYLES], ["", *_STYLES])]
    for name in ("tubingen", "astronaut", "chicago", "chelsea"):
        pixels = square(found(contents, name), 256)
        made = [
            paint(painter.network, pixels, blend_weights(painter.styles, [(s, 1.0)]))
            for s in _STYLES
        ]
        rows.append(row([pixels, *made], [name, *_STYLES]))
    pixels = square(found(contents, "golden_gate"), 256)
    strip, words = [], []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        wanted = [("starry_night", 1 - share), ("composition_vii", share)]
        strip.append(paint(painter.network, pixels, blend_weights(painter.styles, wanted)))
        words.append(f"{1 - share:g} starry_night, {share:g} composition_vii")
    rows.append(row(strip, words))
    _save(rows, out / "style-painter.jpg")


def optimised(contents: Path, styles: Path, out: Path) -> None:
    """The optimiser's sheet."""
    loss = gatys_loss("vgg16")
    features = load_features(None, kind="vgg16", layers=loss.layers, pooling="average")
    paintings = {name: unit_range(square(found(styles, name), _SIDE)) for name in _STYLES}

    def made(
        content: Pixels, wanted: Sequence[Style], weight: float = 5.0, *, own: bool = False
    ) -> Pixels:
        config = StyleConfig(
            loss=replace(loss, style_weight=weight),
            iterations=_ITERATIONS,
            original_colors="luminance" if own else "none",
        )
        generator = torch.Generator().manual_seed(0)
        return levels(stylize(unit_range(content), wanted, features, config, generator=generator))

    rows = []
    for name in ("tubingen", "chelsea"):
        content = square(found(contents, name), _SIDE)
        pictures = [made(content, [Style(pixels=paintings[s])]) for s in _STYLES]
        rows.append(row([content, *pictures], [name, *_STYLES]))
        print(f"{name} done", flush=True)
    content = square(found(contents, "golden_gate"), _SIDE)
    weights = (0.2, 1.0, 5.0, 25.0, 125.0)
    style = Style(pixels=paintings["starry_night"])
    strip = [made(content, [style], weight) for weight in weights]
    rows.append(row(strip, [f"style weight {weight:g}" for weight in weights]))
    print("weights done", flush=True)
    left = torch.zeros(1, 1, _SIDE, _SIDE)
    left[..., : _SIDE // 2] = 1
    halves = [
        Style(pixels=paintings["starry_night"], mask=left),
        Style(pixels=paintings["composition_vii"], mask=1 - left),
    ]
    both = [Style(pixels=paintings[name]) for name in ("starry_night", "composition_vii")]
    last = [content, made(content, [style], own=True), made(content, halves), made(content, both)]
    blank = np.full_like(content, 255)
    words = [
        "golden_gate",
        "own colours",
        "a style for each half",
        "both styles, half and half",
        "",
    ]
    rows.append(row([*last, blank], words))
    _save(rows, out / "style-optimise.jpg")


def main() -> None:
    what, contents, styles = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    out = Path(sys.argv[4]) if len(sys.argv) > 4 else _DOCS
    torch.set_num_threads(1)
    (painted if what == "painter" else optimised)(contents, styles, out)


if __name__ == "__main__":
    main()
