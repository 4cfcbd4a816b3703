"""Plan over 10,000 to 1,000,000 objects, half of them done: seconds and memory.

The listing comes page by page over HTTP through the real S3 client; the manifest of what is done
lies in a local folder, 256 rows a part.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import psutil

from tasks import storage, tables
from tasks.runs import RunProgress
from tasks.tables import ManifestRow
from tasks.upscaling import UpscaleRequest, dry_run, open_job
from tests import listing_server

_SOURCE = f"s3://{listing_server.BUCKET}/photos"
_ROWS_A_PART = 256


def _request(destination: str) -> UpscaleRequest:
    return UpscaleRequest(source=_SOURCE, destination=destination, model="bicubic", scale=4)


def write_done(destination: str, objects: int) -> None:
    """The manifest that a finished run over every other object would have left."""
    config = open_job(_request(destination)).provenance.config_digest
    done = list(range(0, objects, 2))
    for number, first in enumerate(range(0, len(done), _ROWS_A_PART)):
        rows = _done_rows(done[first : first + _ROWS_A_PART], config, number)
        part = f"{destination}/manifest/run=earlier/shard-{number:06d}.parquet"
        storage.write(part, tables.to_parquet(rows, tables.MANIFEST))


def _done_rows(indices: list[int], config: str, shard: int) -> Iterator[ManifestRow]:
    for index in indices:
        name = listing_server.key(index).removeprefix("photos/")
        yield ManifestRow(
            source=f"{_SOURCE}/{name}",
            source_etag=listing_server.etag(index),
            source_bytes=listing_server.size(index),
            output=f"images/{name}.png",
            output_bytes=1_000_000,
            status="ok",
            width=384,
            height=384,
            output_width=1536,
            output_height=1536,
            model="bicubic",
            model_digest="built-in",
            config_digest=config,
            decode_s=0.01,
            infer_s=0.2,
            encode_s=0.1,
            run="earlier",
            shard=shard,
            finished_at=datetime.now(UTC),
        )


class _Growth:
    """The most resident memory beyond what there was, sampled 50 times a second.

    The kernel's own peak will not do: importing torch has been higher than planning ever gets.
    """

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._over = threading.Event()
        self._before = self._most = self._process.memory_info().rss
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            self._most = max(self._most, self._process.memory_info().rss)

    def megabytes(self) -> float:
        self._over.set()
        self._thread.join()
        return float(self._most - self._before) / 1e6


def _measure(destination: str) -> None:
    """In a process of its own: what planning costs beyond what was imported and loaded before."""
    job = open_job(_request(destination))
    growth, began, cpu = _Growth(), time.monotonic(), time.process_time()
    summary = dry_run(job, RunProgress())
    result = {
        "found": summary.found,
        "already_done": summary.already_done,
        "to_do": summary.to_do,
        "seconds": round(time.monotonic() - began, 2),
        "cpu_s": round(time.process_time() - cpu, 2),
        "memory_mb": round(growth.megabytes(), 1),
    }
    sys.stdout.write(json.dumps(result))


def measure(objects: int) -> dict[str, float]:
    """Plan over so many objects in a fresh process."""
    with (
        tempfile.TemporaryDirectory() as folder,
        listing_server.listing_server(objects) as environment,
    ):
        os.environ.update(environment)
        storage.disconnect()
        write_done(folder, objects)
        code = f"from tests.benchmarks.planning import _measure; _measure({folder!r})"
        ended = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        if ended.returncode:
            raise RuntimeError(ended.stderr[-2000:])
    result: dict[str, float] = json.loads(ended.stdout)
    return result


def main() -> None:
    """A line for each size."""
    for objects in (10_000, 100_000, 1_000_000):
        sys.stdout.write(f"{objects:>9,} objects: {measure(objects)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
