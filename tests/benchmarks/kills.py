"""Kill -9 a run again and again, and compare what is left with an uninterrupted run.

python -m tests.benchmarks.kills [--job "stylize --style starry_night"]: any bulk command.
"""

import argparse
import os
import random
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from models.images import ImageError, decode
from tasks import storage
from tests import collections as c
from tests.corpus import good_image

_COMPARED = ("source", "source_etag", "source_bytes", "output", "output_bytes", "status")
_COMPARED += ("width", "height", "output_width", "output_height", "model_digest", "config_digest")

_WHILE_STARTING = 0.2  # the share of kills that comes before a run's first output
_SECONDS_AN_IMAGE = 0.04


@dataclass(frozen=True, kw_only=True)
class KillOutcome:
    """What killing a run did: nothing, is the aim."""

    kills: int
    equal_bytes: bool
    equal_rows: bool
    half_objects: int
    looks: int
    most_done_twice: int
    """Outputs of one killed run that no manifest part had committed: they are made again."""
    seconds: float


class _Watcher:
    """Reads every output as soon as it appears, in a thread, and counts those not whole."""

    def __init__(self, destination: str) -> None:
        self.half = self.looks = 0
        self._seen: dict[str, str] = {}
        self._destination = destination
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            self._look()

    def _look(self) -> None:
        try:
            pages = list(storage.list_pages(storage.join(self._destination, "images")))
        except storage.NotFoundError:
            return
        for entry in (e for page in pages for e in page):
            if self._seen.get(entry.uri) == entry.etag:
                continue
            self._seen[entry.uri] = entry.etag
            self.looks += 1
            try:
                decode(storage.read(entry.uri))
            except ImageError:
                self.half += 1


def survive_kills(
    place: str,
    *,
    images: int,
    shard_size: int,
    kills: int,
    env: dict[str, str],
    seed: int,
    job: Sequence[str] = ("upscale",),
) -> KillOutcome:
    """Kill a run `kills` times at random moments of its work, let it end, and compare.

    Args:
        place: an empty folder or prefix that other processes see too.
        env: environment of the runs, with a Prefect server's PREFECT_API_URL.
        job: the command, and its options.
    Raises:
        RuntimeError: a run that was left alone failed.
    """
    rng = random.Random(seed)
    source, whole, killed = (storage.join(place, n) for n in ("in", "whole", "killed"))
    pictures = {f"{i:04d}.png": good_image(i, (96 + 8 * (i % 5), 72)) for i in range(images)}
    c.put(source, pictures)
    began = time.monotonic()
    _run(job, source, whole, shard_size, env)
    done, uncommitted = 0, [0]
    with _Watcher(killed) as watcher:
        while done < kills:
            process = _start(job, source, killed, shard_size, env)
            if rng.random() < _WHILE_STARTING:
                time.sleep(rng.uniform(0, 5))
            else:
                _wait_for_output(process, watcher)
                time.sleep(rng.uniform(0, _SECONDS_AN_IMAGE * images / (kills + 1)))
            if process.poll() is None:
                process.kill()
                done += 1
            process.communicate()
            if process.returncode == 0:
                break
            uncommitted.append(_uncommitted(killed))
        _run(job, source, killed, shard_size, env)
    made = c.manifest(killed).num_rows
    expected, got = c.current_rows(whole), c.current_rows(killed)
    return KillOutcome(
        kills=done,
        equal_bytes=c.outputs(whole) == c.outputs(killed),
        equal_rows=_compared(expected) == _compared(got) and made == len(got),
        half_objects=watcher.half,
        looks=watcher.looks,
        most_done_twice=max(uncommitted),
        seconds=time.monotonic() - began,
    )


def _wait_for_output(process: subprocess.Popen[bytes], watcher: _Watcher) -> None:
    """Wait for the first output of this run: from then on it is at work."""
    before = watcher.looks
    while process.poll() is None and watcher.looks == before:
        time.sleep(0.02)


def _uncommitted(destination: str) -> int:
    """Outputs that no manifest part knows; a run may be killed before its first of either."""

    def there(count: Callable[[], int]) -> int:
        try:
            return count()
        except storage.NotFoundError:
            return 0

    outputs = there(lambda: len(c.outputs(destination)))
    return outputs - there(lambda: len(c.current_rows(destination)))


def _compared(rows: dict[str, dict[str, object]]) -> list[tuple[object, ...]]:
    return sorted(tuple(row[name] for name in _COMPARED) for row in rows.values())


def _start(
    job: Sequence[str], source: str, destination: str, shard_size: int, env: dict[str, str]
) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "flows.cli", job[0], source, destination, *job[1:]]
    command += ["--shard-size", str(shard_size)]
    return subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _run(
    job: Sequence[str], source: str, destination: str, shard_size: int, env: dict[str, str]
) -> None:
    process = _start(job, source, destination, shard_size, env)
    _, err = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the run ended with {process.returncode}: {err.decode()}")


def main() -> None:
    """Ten kills over 200 images in a real S3 server, with a Prefect server beside it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--shard-size", type=int, default=10)
    parser.add_argument("--job", default="upscale")
    arguments = parser.parse_args()
    os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    from prefect.settings import PREFECT_API_URL
    from prefect.testing.utilities import prefect_test_harness

    from tests.s3_server import s3_server

    with s3_server() as server, prefect_test_harness(server_startup_timeout=120):
        os.environ.update(server.environment)
        env = {**os.environ, "PREFECT_API_URL": str(PREFECT_API_URL.value())}
        outcome = survive_kills(
            f"s3://{server.bucket}/kills",
            images=arguments.images,
            shard_size=arguments.shard_size,
            kills=arguments.kills,
            env=env,
            seed=0,
            job=shlex.split(arguments.job),
        )
    sys.stdout.write(f"{outcome}\n")


if __name__ == "__main__":
    main()
