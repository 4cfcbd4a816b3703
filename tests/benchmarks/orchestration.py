"""What Prefect costs a run, and how long a worker takes from the trigger to the first image.

python -m tests.benchmarks.orchestration: CPU seconds of this process and the Prefect server below
it, of the same job with and without the flow around it, in turns; then a run by a worker.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from tasks import storage
from tests import collections as c
from tests.corpus import good_image

_RUN_S = 600.0


@dataclass(frozen=True, kw_only=True)
class Cost:
    """CPU seconds of one run, on average, and those that each shard adds."""

    bare_s: float
    flow_s: float
    shards: int

    @property
    def per_shard_s(self) -> float:
        """All of the difference laid to the shards: too much rather than too little."""
        return max(0.0, self.flow_s - self.bare_s) / self.shards

    def share(self, shard_s: float) -> float:
        """Of a ten-minute run whose shards take `shard_s` seconds each."""
        return self.per_shard_s * (_RUN_S / shard_s) / _RUN_S


def orchestration_cost(place: str, *, images: int, shard_size: int, rounds: int) -> Cost:
    """The same job bare and as a flow, in turns, on the median; needs a Prefect server."""
    from flows.upscale import upscale

    source = storage.join(place, "in")
    c.put(source, {f"{i:04d}.png": good_image(i, (128, 96)) for i in range(images)})
    options = {"model": "mill-x2", "scale": 2, "shard_size": shard_size, "overwrite": True}

    def bare() -> None:
        c.run(c.request(source, storage.join(place, "bare"), **options))

    def flow() -> None:
        upscale(source, storage.join(place, "flow"), **options)

    for warm_up in (bare, flow):
        warm_up()
    spent: dict[Callable[[], None], list[float]] = {bare: [], flow: []}
    for _ in range(rounds):
        for run, seconds in spent.items():
            began = _cpu_s()
            run()
            seconds.append(_cpu_s() - began)
    bare_s, flow_s = (statistics.median(seconds) for seconds in spent.values())
    return Cost(bare_s=bare_s, flow_s=flow_s, shards=-(-images // shard_size))


def _cpu_s() -> float:
    """Of this process and all below it that still run: Prefect's server among them."""
    own = psutil.Process()
    times = [process.cpu_times() for process in (own, *own.children(recursive=True))]
    return sum(t.user + t.system for t in times)


def first_image(folder: Path) -> dict[str, float]:
    """Seconds from the trigger of a deployment to its run's start and its first visible image."""
    from tests.prefect_house import ROOT, begin, end_family, prefect_house

    source, destination = folder / "in", folder / "out"
    source.mkdir(parents=True)
    for i in range(4):
        (source / f"{i}.png").write_bytes(good_image(i, (128, 96)))
    with prefect_house(folder) as house:
        house.deploy()
        environment = house.environment | {"PIXELMILL_HOME": str(ROOT)}
        arguments = ("worker", "start", "--pool", "pixelmill")
        worker = begin(arguments, folder / "worker.log", environment, folder)
        try:
            while not house.post("/work_pools/pixelmill/workers/filter", {}):
                time.sleep(0.1)
            deployment = house.get("/deployments/name/upscale/upscale-on-demand")["id"]
            wanted = {"source": str(source), "destination": str(destination), "model": "mill-x2"}
            began = time.monotonic()
            trigger = f"/deployments/{deployment}/create_flow_run"
            run = house.post(trigger, {"parameters": wanted})["id"]
            while house.get(f"/flow_runs/{run}")["state"]["type"] in ("SCHEDULED", "PENDING"):
                time.sleep(0.1)
            running = time.monotonic() - began
            while not list(destination.glob("images/*.png")):
                time.sleep(0.05)
            return {"running": running, "first image": time.monotonic() - began}
        finally:
            end_family(worker)


def main() -> None:
    """100 images of 128 x 96, then a worker."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--shard-size", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    from prefect.testing.utilities import prefect_test_harness

    with tempfile.TemporaryDirectory() as folder:
        with prefect_test_harness(server_startup_timeout=300):
            cost = orchestration_cost(
                f"{folder}/cost",
                images=arguments.images,
                shard_size=arguments.shard_size,
                rounds=arguments.rounds,
            )
        sys.stdout.write(
            f"{arguments.images} images in {cost.shards} shards: {cost.bare_s:.2f} CPU s bare, "
            f"{cost.flow_s:.2f} as a flow, {cost.per_shard_s * 1000:.0f} ms more a shard\n"
        )
        for shard_s in (10, 60):
            share = cost.share(shard_s)
            sys.stdout.write(
                f"a run of ten minutes in shards of {shard_s} s: {share:.2%} for Prefect\n"
            )
        for what, seconds in first_image(Path(folder) / "worker").items():
            sys.stdout.write(f"from the trigger to {what}: {seconds:.1f} s\n")


if __name__ == "__main__":
    main()
