"""What pixel models are worth: python -m tests.benchmarks.pixels sampling|coding ...

    sampling                    cached and naive, the shipped models and small published networks
    coding MODEL PICTURES [N]   real bytes against the model's bits, PNG, WebP and JPEG XL

PICTURES is a .npy of levels (N, C, H, W), uint8. One thread; CPU seconds. JPEG XL needs
`pillow-jxl-plugin`, which is no dependency: without it the column is empty.
"""

import io
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from models.pixel_coding import compress, decompress
from models.pixel_likelihood import PixelNetwork, nats
from models.pixel_sampling import draw_noise, sample
from models.pixelcnn import (
    GatedPixelCnn,
    GatedPixelCnnConfig,
    PixelCnn,
    PixelCnnConfig,
    pixelcnn_init_,
)
from tasks.pixel_models import load_pixel_model

_BITS = float(np.log(2))
_BOTH = ("digits (PixelCNN++)", "patches (PixelCNN++)")
"""Drawn in batches of 16, too; the naive sampler needs ten minutes for one of the others."""


def measured(work: Callable[[], Tensor]) -> tuple[Tensor, float]:
    """What it makes, and its CPU seconds."""
    began = time.thread_time()
    made = work()
    return made, time.thread_time() - began


def networks() -> dict[str, tuple[PixelNetwork, int]]:
    """Name -> network and side; the two without shipped weights have random ones."""
    built: dict[str, tuple[nn.Module, int]] = {
        "PixelCNN, 32 features, 6 blocks": (PixelCnn(PixelCnnConfig(width=32, blocks=6)), 32),
        "Gated PixelCNN, 32 features, 6 layers": (
            GatedPixelCnn(GatedPixelCnnConfig(width=32, layers=6)),
            32,
        ),
    }
    for network, _ in built.values():
        pixelcnn_init_(network, torch.Generator().manual_seed(0))
    shipped = {
        f"{name} (PixelCNN++)": (load_pixel_model(name, "").network, side)
        for name, side in (("digits", 28), ("patches", 32))
    }
    return {**shipped, **built}  # type: ignore[dict-item]


def sampling() -> None:
    """The table of docs/results.md."""
    print("| model | picture | batch | cached, s | naive, s | ratio | equal |")
    print("|---|---|---|---|---|---|---|")
    for name, (network, side) in networks().items():
        network.eval()  # type: ignore[attr-defined]
        channels = network.sites.channels
        for batch in (1, 16) if name in _BOTH else (1,):
            noise = draw_noise((batch, channels, side, side), torch.Generator().manual_seed(batch))
            sample(network, noise)  # compiles
            drawn, fast = measured(partial(sample, network, noise))
            naive, slow = measured(partial(sample, network, noise, sampler="naive"))
            equal = "yes" if torch.equal(drawn, naive) else "NO"
            picture = f"{side} x {side} x {channels}"
            print(
                f"| {name} | {picture} | {batch} | {fast:.3f} | {slow:.1f} | {slow / fast:.0f} |"
                f" {equal} |",
                flush=True,
            )


def coding(ref: str, path: Path, count: int) -> None:
    """Bytes of pictures in one container, and as files of other kinds, each and as one sheet."""
    network = load_pixel_model(ref, "").network
    images = torch.from_numpy(np.load(path)[:count])
    with torch.inference_mode():
        own = float(torch.cat([nats(network, part) for part in images.split(64)]).double().sum())
    began = time.thread_time()
    data = compress(network, images, digest=b"benchmark")
    middle = time.thread_time()
    exact = torch.equal(decompress(network, data, digest=b"benchmark"), images)
    end = time.thread_time()
    values = images.numel()
    print(f"{len(images)} pictures, exact: {exact}; {own / len(images):.3f} nats a picture")
    print(f"the model's own bits: {own / _BITS / values:.4f} a value")
    print(
        f"container: {len(data)} bytes, {len(data) * 8 / values:.4f} bits a value,"
        f" {100 * (len(data) * 8 * _BITS / own - 1):+.3f} % over the model's"
    )
    print(
        f"{len(images) / (middle - began):.1f} pictures encoded, {len(images) / (end - middle):.1f}"
        " decoded a CPU second"
    )
    for name, options in _FORMATS.items():
        if name == "JXL" and find_spec("pillow_jxl") is None:
            continue
        each = sum(_bytes(picture[None], name, options) for picture in images)
        sheet = _bytes(images, name, options)
        print(
            f"{name}: {each * 8 / values:.4f} bits a value each alone,"
            f" {sheet * 8 / values:.4f} as one sheet; {each} and {sheet} bytes"
        )


_FORMATS: dict[str, dict[str, object]] = {
    "PNG": {"optimize": True},
    "WEBP": {"lossless": True, "quality": 100, "method": 6},
    "JXL": {"lossless": True, "effort": 9},
}


def _bytes(images: Tensor, name: str, options: dict[str, object]) -> int:
    """(N, C, H, W) levels as one file, 25 pictures a row."""
    if name == "JXL":
        __import__("pillow_jxl")
    levels = images * (255 if int(images.max()) <= 1 else 1)
    rows = [torch.cat(list(part), 2) for part in levels.split(25)]
    widest = rows[0].shape[2]
    padded = [nn.functional.pad(row, (0, widest - row.shape[2])) for row in rows]
    pixels = torch.cat(padded, 1).permute(1, 2, 0).contiguous().numpy()
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    if images.shape[1] == 1 and int(images.max()) <= 1 and name == "PNG":
        image = image.convert("1")
    sink = io.BytesIO()
    image.save(sink, name, **options)
    return len(sink.getvalue())


def main() -> None:
    torch.set_num_threads(1)
    if sys.argv[1:2] == ["sampling"]:
        sampling()
    elif sys.argv[1:2] == ["coding"] and len(sys.argv) > 3:
        coding(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]) if len(sys.argv) > 4 else 1000)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
