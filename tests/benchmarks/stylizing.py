"""The bulk engine with a painter: python -m tests.benchmarks.stylizing PHOTOGRAPHS [IMAGES].

Photographs of mixed sizes on a real S3 server, through the job's shards without Prefect:
T_min / T_wall is the CPU seconds of decoding, painting and encoding over cores and wall time.
"""

import os
import sys
import time
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from tasks import storage
from tasks.painters import load_painter
from tasks.runs import RunProgress
from tasks.stylizing import StylizeRequest, open_job, plan, run_shard
from tasks.transform import processors
from tests import collections as c
from tests.s3_server import s3_server


def mixed(folder: Path, count: int) -> dict[str, bytes]:
    """JPEGs with longer sides of 160 to 480 pixels."""
    random, made = np.random.default_rng(0), {}
    paths = sorted(p for p in folder.rglob("*") if p.suffix in (".jpg", ".png"))
    for index in range(count):
        image = Image.open(paths[index % len(paths)]).convert("RGB")
        side = int(random.integers(160, 481))
        image.thumbnail((side, side))
        sink = BytesIO()
        image.save(sink, "JPEG", quality=92)
        made[f"{index:04d}.jpg"] = sink.getvalue()
    return made


def main() -> None:
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    painter = load_painter("painter")
    with s3_server() as server:
        os.environ.update(server.environment)
        source, target = (f"s3://{server.bucket}/{name}" for name in ("in", "out"))
        c.put(source, mixed(Path(sys.argv[1]), count))
        storage.disconnect()
        request = StylizeRequest(source=source, destination=target, styles=(painter.styles[0],))
        job, progress = open_job(request), RunProgress()
        began = time.perf_counter()
        for shard in plan(job, progress):
            run_shard(job, shard, progress)
        seconds = time.perf_counter() - began
    share = progress.cpu_s / processors() / seconds
    sys.stdout.write(
        f"{progress.ok} stylized, {progress.failed} failed, {seconds:.1f} s,"
        f" {progress.ok / seconds:.2f} images/s, {progress.output_pixels / seconds / 1e6:.2f} MP/s,"
        f" T_min/T_wall {share:.2f}\n"
    )


if __name__ == "__main__":
    main()
