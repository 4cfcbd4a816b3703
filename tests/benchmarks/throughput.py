"""The bulk engine against the loop that one writes first: 100 images of 384x384, PNG out."""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from tasks.registry import load_model
from tasks.runs import RunProgress
from tasks.transform import processors
from tasks.upscaling import UpscaleRequest, open_job, plan, run_shard
from tests.corpus import saved, smooth_noise

_SIDE = 384


def photographs(count: int) -> dict[str, bytes]:
    """Pictures of natural statistics with the grain that keeps PNG from being idle."""
    made = {}
    for index in range(count):
        rng = np.random.default_rng(index)
        levels = smooth_noise(index % 10, _SIDE, _SIDE).astype(np.int16)
        levels = np.roll(levels, index * 7, axis=0) + rng.integers(-3, 4, levels.shape)
        picture = Image.fromarray(levels.clip(0, 255).astype(np.uint8))
        made[f"{index:04d}.jpg"] = saved(picture, "JPEG", quality=92)
    return made


def naive_loop(source: Path, destination: Path) -> None:
    """Pillow open, float tensor, eager fp32 whole image on all cores, Pillow save with defaults."""
    network = load_model("mill-x4", 4, "fp32").upscaler.network
    if network is None:
        raise RuntimeError("mill-x4 has no network")
    network.to(memory_format=torch.contiguous_format)
    for path in sorted(source.iterdir()):
        with Image.open(path) as opened:
            ycbcr = np.asarray(opened.convert("YCbCr"), dtype=np.float32)
            colour = opened.convert("YCbCr").resize(
                (4 * _SIDE, 4 * _SIDE), Image.Resampling.BICUBIC
            )
        luma = torch.from_numpy(ycbcr[..., 0])[None, None] * (219 / 255) + 16
        with torch.inference_mode():
            enlarged = network(luma / 255)
        levels = ((enlarged[0, 0] * 255 - 16) * (255 / 219)).round().clamp(0, 255)
        _, blue, red = colour.split()
        luma_out = Image.fromarray(levels.to(torch.uint8).numpy())
        whole = Image.merge("YCbCr", (luma_out, blue, red)).convert("RGB")
        whole.save(destination / f"{path.stem}.png")
    network.to(memory_format=torch.channels_last)


def engine(source: Path, destination: Path) -> RunProgress:
    """The same collection through pixelmill's shards; what it did."""
    job = open_job(UpscaleRequest(source=str(source), destination=str(destination), scale=4))
    progress = RunProgress()
    for shard in plan(job, progress):
        run_shard(job, shard, progress)
    return progress


def _seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def main() -> None:
    """Both in turn, several times in one process, medians and the ratio pair by pair."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    cores, loops, engines, efficiencies = processors(), [], [], []
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "in")
        source.mkdir()
        for name, data in photographs(arguments.images).items():
            (source / name).write_bytes(data)
        load_model("mill-x4", 4, "auto")
        for index in range(arguments.rounds):
            out = Path(folder, f"naive-{index}")
            out.mkdir()
            torch.set_num_threads(cores)
            loops.append(_seconds(lambda out=out: naive_loop(source, out)))  # type: ignore[misc]
            began = time.perf_counter()
            progress = engine(source, Path(folder, f"engine-{index}"))
            engines.append(time.perf_counter() - began)
            efficiencies.append(progress.cpu_s / cores / engines[-1])
    ratios = [a / b for a, b in zip(loops, engines, strict=True)]
    loop, ours = statistics.median(loops), statistics.median(engines)
    n, write = arguments.images, sys.stdout.write
    write(f"{n} images of {_SIDE}x{_SIDE}, x4, {cores} cores, {arguments.rounds} rounds, medians\n")
    write(f"naive loop   {loop:6.2f} s {n / loop:6.2f} images/s\n")
    write(f"engine       {ours:6.2f} s {n / ours:6.2f} images/s\n")
    write(f"ratio        {statistics.median(ratios):6.2f}   {[round(r, 2) for r in ratios]}\n")
    write(f"T_min/T_wall {statistics.median(efficiencies):6.2f}   CPU seconds of stages / cores\n")


if __name__ == "__main__":
    main()
