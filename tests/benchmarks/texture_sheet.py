"""Every texture by every method: python -m tests.benchmarks.texture_sheet TEXTURES WORK [SHEET].

WORK keeps what is done, so that a killed run goes on; SHEET is docs/images/textures.jpg. The
weights of VGG16 are found through PIXELMILL_FEATURES. One thread; prints CPU seconds.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from models.images import Picture, decode, encode
from models.picture_grid import GridRow, picture_grid
from models.pixels import Pixels
from models.texture import CopyingConfig, Exemplars, alike, colour_and_mask, copy_texture
from models.texture_gram import GramConfig, gram_texture
from models.texture_objective import texture_layers
from tasks.features import load_features

_DEFAULT = Path(__file__).parents[2] / "docs" / "images" / "textures.jpg"
_SHORTER, _CROP, _OUTPUT = 208, 128, (256, 256)
_CAPTION = {"gatys_pebbles": 240}  # rows above the caption
_ITERATIONS = 150


def exemplar(path: Path) -> Pixels:
    """The texture with a shorter side of 208 pixels, and of that the middle 128."""
    image = Image.fromarray(np.squeeze(decode(path.read_bytes()).pixels))
    image = image.crop((0, 0, image.width, _CAPTION.get(path.stem, image.height)))
    scale = min(1.0, _SHORTER / min(image.size))
    image = image.resize(
        (round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS
    )
    left, top = (image.width - _CROP) // 2, (image.height - _CROP) // 2
    pixels = np.asarray(image.crop((left, top, left + _CROP, top + _CROP)))
    return pixels if pixels.ndim == 3 else pixels[..., None]


def copied(method: str, k: int = 4) -> Callable[[Pixels], Pixels]:
    """A method that copies pixels."""
    config = CopyingConfig(method=method, k=k)  # type: ignore[arg-type]

    def make(pixels: Pixels) -> Pixels:
        random = np.random.default_rng(0)
        return copy_texture(pixels, _OUTPUT, config, Exemplars(), generator=random)

    return make


def by_statistics(pixels: Pixels) -> Pixels:
    """VGG16's Gram matrices, few iterations."""
    layers = texture_layers("vgg16")
    features = load_features(None, kind="vgg16", layers=layers, pooling="average")
    colour, usable = colour_and_mask(pixels)
    made = gram_texture(
        alike(colour, 3),
        _OUTPUT,
        features,
        GramConfig(iterations=_ITERATIONS),
        generator=torch.Generator().manual_seed(0),
        valid=usable,
    )
    return alike(made, colour.shape[2])


METHODS: dict[str, Callable[[Pixels], Pixels]] = {
    "efros-leung": copied("efros-leung"),
    "wei-levoy": copied("wei-levoy"),
    "coherence k=1": copied("coherence", k=1),
    "coherence": copied("coherence"),
    f"gram, {_ITERATIONS} iterations": by_statistics,
}


def main() -> None:
    textures, work = Path(sys.argv[1]), Path(sys.argv[2])
    sheet = Path(sys.argv[3]) if len(sys.argv) > 3 else _DEFAULT
    work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    rows = []
    for path in sorted(textures.iterdir()):
        pixels = exemplar(path)
        crops, words = [alike(colour_and_mask(pixels)[0], 3)], [path.stem]
        for name, make in METHODS.items():
            kept = work / f"{path.stem}-{name.replace(' ', '-')}.png"
            if not kept.exists():
                began = time.process_time()
                made = make(pixels)
                print(f"{path.stem} {name}: {time.process_time() - began:.2f} CPU s", flush=True)
                kept.write_bytes(encode(Picture(pixels=made), "png"))
            crops.append(alike(decode(kept.read_bytes()).pixels, 3))
            words.append(name)
        rows.append(GridRow(crops=tuple(crops), words=tuple(words)))
    sheet.write_bytes(encode(picture_grid(rows), "jpeg"))


if __name__ == "__main__":
    main()
