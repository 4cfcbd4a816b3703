"""Small datasets for pixel models."""

import io
from typing import Any

import numpy as np

from models.pixels import Pixels
from tasks import pixels_dataset, runs, storage
from tasks.pixels_card import PixelsSummary
from tasks.pixels_request import PixelsRequest
from tasks.runs import RunProgress


def built(source: str, destination: str, **options: Any) -> PixelsSummary:
    """The flow without Prefect."""
    request = PixelsRequest(source=source, destination=destination, **options)
    job, progress = pixels_dataset.open_job(request), RunProgress()
    with runs.recorded(job.run, progress):
        pixels_dataset.begin(job)
        for shard in pixels_dataset.plan(job, progress):
            pixels_dataset.run_shard(job, shard, progress)
        return pixels_dataset.finish(job, progress)


def npz(**arrays: Any) -> bytes:
    """The bytes of an .npz file."""
    sink = io.BytesIO()
    np.savez(sink, **arrays)
    return sink.getvalue()


def strokes(count: int, side: int = 8, seed: int = 0) -> Pixels:
    """(N, side, side) of 0 and 1: a bar each, down or across."""
    generator = np.random.default_rng(seed)
    made = np.zeros((count, side, side), np.uint8)
    for picture in made:
        place = generator.integers(side)
        if generator.random() < 0.5:
            picture[place] = 1
        else:
            picture[:, place] = 1
    return made


def packed(pictures: Pixels) -> Pixels:
    """(N, H, W) of 0 and 1 -> (N, bytes) of bits."""
    return np.packbits(pictures.reshape(len(pictures), -1), axis=1)


def strokes_dataset_at(folder: str) -> str:
    """Black-and-white pictures of 8 x 8, with their labels: 40, 12 and 12 of them."""
    source = storage.join(folder, "strokes.npz")
    arrays = {
        name: strokes(count, seed=seed)
        for seed, (name, count) in enumerate({"train": 40, "valid": 12, "test": 12}.items())
    }
    labels = {f"y_{name}": (p[:, 0].sum(1) != 1).astype(np.uint8) for name, p in arrays.items()}
    storage.write(source, npz(**{n: packed(p) for n, p in arrays.items()}, **labels))
    built(source, storage.join(folder, "strokes"), shard_size=16)
    return storage.join(folder, "strokes")
