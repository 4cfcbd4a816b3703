"""What a picture of a chair costs: drawing it, building the chair, encoding it, all of a dataset.

    python -m tests.benchmarks.chairs_rendering [CHAIRS]

Pictures of 128 pixels, 3 x 3 samples, with masks, 62 views a chair; per second of CPU.
"""

import sys
import tempfile
import time

from models.chair_shapes import chair_mesh, chair_parameters
from models.rendering import render
from tasks import chairs_dataset, runs
from tasks.chairs_parts import png
from tasks.runs import RunProgress

VIEWS = [(k * 360 / 31, elevation) for elevation in (20.0, 30.0) for k in range(31)]


def drawing(chairs: int) -> None:
    """One thread: the parts of the work by themselves."""
    render(chair_mesh(chair_parameters(0, 0)), azimuth=0, elevation=20)  # compiles
    seconds = dict.fromkeys(("building", "rendering", "encoding"), 0.0)
    size = 0
    for number in range(chairs):
        began = time.process_time()
        mesh = chair_mesh(chair_parameters(number, 0))
        built = time.process_time()
        pictures = [render(mesh, azimuth=a, elevation=e) for a, e in VIEWS]
        rendered = time.process_time()
        size += sum(len(png(rgb)) + len(png(mask)) for rgb, mask in pictures)
        seconds["building"] += built - began
        seconds["rendering"] += rendered - built
        seconds["encoding"] += time.process_time() - rendered
    count = chairs * len(VIEWS)
    for what, spent in seconds.items():
        print(f"{what}: {1000 * spent / count:.3f} ms a picture")
    both = seconds["building"] + seconds["rendering"]
    print(f"rendering alone: {count / seconds['rendering']:.0f} images per CPU second")
    print(f"with the building of chairs: {count / both:.0f} images per CPU second")
    print(f"{size / count:.0f} bytes a picture and its mask")


def dataset(chairs: int) -> None:
    """All of the job but Prefect, by as many threads as there are processors."""
    with tempfile.TemporaryDirectory() as folder:
        request = chairs_dataset.ChairsRequest(destination=f"{folder}/chairs", chairs=chairs)
        job, progress = chairs_dataset.open_job(request), RunProgress()
        began, busy = time.monotonic(), time.process_time()
        with runs.recorded(job.run, progress):
            chairs_dataset.begin(job)
            for shard in chairs_dataset.plan(job, progress):
                chairs_dataset.run_shard(job, shard, progress)
            chairs_dataset.finish(job, progress)
        spent, busy = time.monotonic() - began, time.process_time() - busy
        whole = 809 * len(VIEWS) / progress.ok
        print(f"dataset: {progress.ok / spent:.0f} images/s, {progress.ok / busy:.0f} per CPU s")
        print(f"809 chairs: {whole * spent:.0f} s, {whole * busy:.0f} s of CPU")


if __name__ == "__main__":
    chosen = int(sys.argv[1]) if len(sys.argv) > 1 else 48
    drawing(chosen)
    dataset(chosen)
