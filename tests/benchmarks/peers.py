"""pixelmill beside the same job in Daft and in Ray Data: images/s, memory, bad images, kill -9.

`pip install --target DAFT daft`, then `PYTHONPATH=DAFT python -m tests.benchmarks.peers`; without
Daft its column is left out. All take part in each round, one after the other, on one S3 server.
"""

import argparse
import os
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO

import botocore.session
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tasks import storage
from tasks.manifest_parts import current
from tests import collections as c
from tests.corpus import bad_images, saved, smooth_noise

BAD = 20
_SIZES = ((384, 384), (256, 192), (160, 240), (320, 240))
_SAMPLE_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One run: wall seconds from the process's start to its end, peak bytes of its whole tree."""

    code: int
    seconds: float
    first_output_s: float
    peak_bytes: int
    outputs: int


@dataclass(frozen=True, kw_only=True)
class AfterKill:
    """A run killed half way and run again: what that cost, and what is there in the end."""

    there: int
    redone: int
    outputs: int
    rows: int
    duplicates: int


def pictures(count: int) -> dict[str, bytes]:
    """`count` mixed pictures, 20 of them broken: JPEG, PNG and RGBA PNG of four sizes."""
    made: dict[str, bytes] = {}
    for index in range(count - BAD):
        width, height = _SIZES[index % len(_SIZES)]
        channels = 4 if index % 20 == 7 else 3
        rng = np.random.default_rng(index)
        levels = smooth_noise(index % 12, height, width, channels).astype(np.int16)
        levels = levels + rng.integers(-3, 4, levels.shape)
        image = Image.fromarray(levels.clip(0, 255).astype(np.uint8))
        if index % 2 and channels == 3:
            made[f"good-{index:04d}.jpg"] = saved(image, "JPEG", quality=92)
        else:
            made[f"good-{index:04d}.png"] = saved(image, "PNG", compress_level=1)
    bad = [(name, data) for name, (data, good) in bad_images().items() if not good]
    chosen = bad[:: len(bad) // BAD][:BAD]
    return made | {f"bad-{name}": data for name, data in chosen}


def command(engine: str, source: str, output: str) -> list[str]:
    """How an engine is started."""
    if engine == "pixelmill":
        name = ["flows.cli", "upscale", source, output, "--model", "mill-x4", "--max-failed", "1"]
        return [sys.executable, "-m", *name, "--precision", "fp32", "--shard-size", "50"]
    return [sys.executable, "-m", "tests.benchmarks.peer_jobs", engine, source, output]


def tree(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """A process and all that it started."""
    try:
        top = psutil.Process(process.pid)
        return [top, *top.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def tree_bytes(process: subprocess.Popen[bytes]) -> int:
    """Proportional resident bytes of a tree: pages that processes share count once."""
    total = 0
    for part in tree(process):
        try:
            total += part.memory_full_info().pss
        except psutil.Error:  # it ended meanwhile
            continue
    return total


class Bucket:
    """What is below a prefix, with the times of writing that our own storage does not ask for."""

    def __init__(self) -> None:
        self._client = botocore.session.Session().create_client(
            "s3", endpoint_url=os.environ["AWS_ENDPOINT_URL_S3"]
        )

    def written(self, place: str) -> dict[str, tuple[float, str]]:
        """Key -> (seconds since 1970, etag)."""
        bucket, _, prefix = place.removeprefix("s3://").partition("/")
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=prefix + "/"
        )
        found = [entry for page in pages for entry in page.get("Contents", [])]
        return {e["Key"]: (e["LastModified"].timestamp(), e["ETag"]) for e in found}

    def outputs(self, output: str) -> int:
        return sum(key.endswith(".png") for key in self.written(f"{output}/images"))

    def rows(self, output: str, engine: str) -> list[dict[str, object]]:
        """Each row of the Parquet that a run left."""
        folder = "manifest" if engine == "pixelmill" else "rows"
        bucket = output.removeprefix("s3://").partition("/")[0]
        keys = [k for k in self.written(f"{output}/{folder}") if k.endswith(".parquet")]
        read = [storage.read(f"s3://{bucket}/{key}") for key in keys]
        tables: list[pa.Table] = [pq.read_table(BytesIO(data)) for data in read]
        if engine == "pixelmill":  # a failed source is tried again: its newest row counts
            tables = [current(pa.concat_tables(tables))]
        return [row for table in tables for row in table.to_pylist()]


def run(engine: str, source: str, output: str, bucket: Bucket, *, kill_at: int = 0) -> Outcome:
    """Start an engine, watch it, and kill its whole tree when `kill_at` outputs are there."""
    began, first, peak = time.monotonic(), [0.0], 0
    log = f"{os.environ['PEERS_LOGS']}/{engine}-{output.rpartition('/')[2]}.log"
    with open(log, "wb") as said:  # noqa: PTH123
        process = subprocess.Popen(command(engine, source, output), stdout=said, stderr=said)

    def watch() -> None:
        while process.poll() is None:
            count = bucket.outputs(output)
            first[0] = first[0] or (time.monotonic() - began if count else 0.0)
            if kill_at and count >= kill_at:
                for part in tree(process)[::-1]:
                    part.kill()
                return
            time.sleep(_SAMPLE_S)

    watcher = threading.Thread(target=watch)
    watcher.start()
    while process.poll() is None:
        peak = max(peak, tree_bytes(process))
        time.sleep(_SAMPLE_S)
    seconds = time.monotonic() - began
    watcher.join()
    return Outcome(
        code=process.returncode,
        seconds=seconds,
        first_output_s=first[0],
        peak_bytes=peak,
        outputs=bucket.outputs(output),
    )


def killed_and_run_again(engine: str, source: str, output: str, bucket: Bucket) -> AfterKill:
    """kill -9 when half of the outputs are there, then the same command again."""
    half = len(bucket.written(source)) // 2
    there = run(engine, source, output, bucket, kill_at=half).outputs
    before = bucket.written(f"{output}/images")
    time.sleep(2)  # the store's times are whole seconds
    began = time.time()
    run(engine, source, output, bucket)
    after = bucket.written(f"{output}/images")
    redone = sum(key in before and at >= began - 1 for key, (at, _) in after.items())
    rows = [str(row.get("source", row.get("path"))) for row in bucket.rows(output, engine)]
    return AfterKill(
        there=there,
        redone=redone,
        outputs=len(after),
        rows=len(rows),
        duplicates=len(rows) - len(set(rows)),
    )


def bad_ones(engine: str, output: str, bucket: Bucket) -> str:
    """What became of the broken pictures."""
    rows = bucket.rows(output, engine)
    bad = [r for r in rows if "/bad-" in str(r.get("source", r.get("path")))]
    accepted = sum(row["output"] is not None for row in bad)
    said = sum(bool(row.get("error")) for row in bad)
    return f"{len(bad)} rows: {accepted} converted, {said} with a reason"


def _table(rows: list[list[str]]) -> str:
    head = ["", *(row[0] for row in rows)]
    names = ("images/s", "seconds", "first output, s", "peak memory, MB", "outputs")
    names += (f"the {BAD} bad ones", "kill -9 half way, run again", "rows then")
    lines = [head, ["---"] * len(head)]
    lines += [[name, *(row[1 + i] for row in rows)] for i, name in enumerate(names)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _row(engine: str, images: int, runs: list[Outcome], bad: str, kill: AfterKill) -> list[str]:
    seconds = statistics.median(r.seconds for r in runs)
    first = statistics.median(r.first_output_s for r in runs)
    return [
        engine,
        f"{images / seconds:.2f}",
        " ".join(f"{r.seconds:.0f}" for r in runs),
        f"{first:.0f}",
        f"{max(r.peak_bytes for r in runs) / 1e6:.0f}",
        str(runs[0].outputs) if not any(r.code for r in runs) else "failed",
        bad,
        f"{kill.there} were there, {kill.redone} of them made again",
        f"{kill.rows}, {kill.duplicates} of them double; {kill.outputs} outputs",
    ]


def measure(images: int, rounds: int, engines: list[str], place: str) -> str:
    """The table."""
    source, bucket = f"{place}/in", Bucket()
    c.put(source, pictures(images))
    runs: dict[str, list[Outcome]] = {engine: [] for engine in engines}
    for number in range(rounds):
        for engine in engines[number % len(engines) :] + engines[: number % len(engines)]:
            outcome = run(engine, source, f"{place}/{engine}-{number}", bucket)
            sys.stderr.write(f"{engine}: {outcome}\n")
            runs[engine].append(outcome)
    rows = []
    for engine in engines:
        kill = killed_and_run_again(engine, source, f"{place}/{engine}-killed", bucket)
        sys.stderr.write(f"{engine}: {kill}\n")
        bad = bad_ones(engine, f"{place}/{engine}-0", bucket)
        rows.append(_row(engine, images, runs[engine], bad, kill))
    return _table(rows)


def main() -> None:
    """A Prefect server is there beforehand, as in production."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--logs", default=".", help="folder for what the engines print")
    parser.add_argument("--engines", nargs="+", default=["pixelmill", "daft", "ray-data"])
    arguments = parser.parse_args()
    os.environ |= {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PEERS_LOGS": arguments.logs}
    os.environ |= {"DO_NOT_TRACK": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    engines: list[str] = arguments.engines
    if "daft" in engines and find_spec("daft") is None:
        sys.stderr.write("Daft is not installed: pip install --target DIR daft, PYTHONPATH=DIR\n")
        engines.remove("daft")
    from prefect.settings import PREFECT_API_URL
    from prefect.testing.utilities import prefect_test_harness

    from tests.s3_server import s3_server

    with s3_server() as server, prefect_test_harness(server_startup_timeout=120):
        os.environ |= server.environment | {"PREFECT_API_URL": str(PREFECT_API_URL.value())}
        storage.disconnect()
        place = f"s3://{server.bucket}/peers"
        table = measure(arguments.images, arguments.rounds, engines, place)
    sys.stdout.write(f"{arguments.images} images, {BAD} of them bad\n\n{table}\n")


if __name__ == "__main__":
    main()
