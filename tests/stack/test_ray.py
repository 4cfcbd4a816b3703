"""`--engine ray` on two real Ray nodes: one is killed, a run is stopped, a shard cannot go on."""

import os
import threading
import time
from collections.abc import Iterator

import psutil
import pytest

from tasks import ray_engine, runs, storage
from tasks.collection import Shard
from tasks.failures import RunAbortedError
from tasks.runs import RunProgress, StoppedError
from tasks.tables import ManifestRow
from tasks.upscaling import open_job, plan, run_on_ray
from tests import collections as c
from tests.corpus import good_image
from tests.s3_server import S3Server

ray = pytest.importorskip("ray", reason="pip install 'pixelmill[ray]'")

pytestmark = [
    pytest.mark.slow,
    # Ray Data reads its own old settings while it starts
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

IMAGES, SHARD_SIZE = 60, 4
_ROOM = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
_NOTICES_THE_DEAD_SOON = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 5000,
    "health_check_failure_threshold": 2,
}


class Nodes:
    """A cluster of two nodes with a processor each: the driver's own, and one to be killed."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        head = {**_ROOM, "_system_config": _NOTICES_THE_DEAD_SOON}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self._second = self.cluster.add_node(**_ROOM)

    def kill_second(self) -> list[str]:
        """End every process of the second node at once; the names of those that worked."""
        raylet = psutil.Process(self._second.all_processes["raylet"][0].process.pid)
        workers = [p for p in raylet.children(recursive=True) if p.is_running()]
        names = [" ".join(p.cmdline()) for p in workers]
        for process in [raylet, *workers]:
            process.kill()
        self.cluster.remove_node(self._second, allow_graceful=False)
        return names


@pytest.fixture(scope="module")
def nodes(s3_env: S3Server) -> Iterator[Nodes]:
    """The cluster, and RAY_ADDRESS leads to it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("OMP_NUM_THREADS", "1")
        started = Nodes()
        patch.setenv("RAY_ADDRESS", started.cluster.address)
        yield started
        ray.shutdown()
        started.cluster.shutdown()


@pytest.fixture(scope="module")
def source(s3_env: S3Server) -> str:
    """60 small pictures in the S3 server."""
    place = f"s3://{s3_env.bucket}/ray/in"
    c.put(place, {f"{i:03d}.png": good_image(2 * i, (120 + i, 90)) for i in range(IMAGES)})
    return place


def _place(source: str, name: str) -> str:
    return source.replace("/in", f"/{name}")


def _parts(destination: str) -> int:
    try:
        pages = list(storage.list_pages(storage.join(destination, "manifest")))
    except storage.NotFoundError:
        return 0
    return sum(len(page) for page in pages)


def test_a_stopped_run_keeps_what_is_finished_and_the_next_goes_on(
    nodes: Nodes, source: str
) -> None:
    request = c.request(source, _place(source, "stopped"), shard_size=SHARD_SIZE)
    job, progress = open_job(request), RunProgress()

    def stop_after_the_first_shard() -> None:
        with runs.recorded(job.run, progress):
            for _ in run_on_ray(job, plan(job, progress), progress):
                progress.stop.set()

    with pytest.raises(StoppedError):
        stop_after_the_first_shard()
    kept = c.current_rows(request.destination)
    assert SHARD_SIZE <= len(kept) < IMAGES
    assert progress.ok == len(kept)
    assert set(c.outputs(request.destination)) == {row["output"] for row in kept.values()}
    assert c.run(request).already_done == len(kept)


def _cannot_go_on(shard: Shard, progress: RunProgress) -> list[ManifestRow]:
    if shard.number == 1:
        raise RunAbortedError("the bucket is gone")
    return []


def test_a_shard_that_cannot_go_on_ends_the_run_in_its_own_words(nodes: Nodes) -> None:
    shards = iter([Shard(number=i, sources=()) for i in range(4)])
    with pytest.raises(RunAbortedError, match=r"^the bucket is gone$"):
        list(ray_engine.run_shards(_cannot_go_on, shards, RunProgress()))


def test_a_node_killed_half_way_costs_no_image_and_no_byte(
    prefect_server: None, nodes: Nodes, source: str
) -> None:
    from flows.upscale import upscale

    options = {"model": "mill-x2", "scale": 2, "shard_size": SHARD_SIZE}
    local = c.request(source, _place(source, "local"), **options)
    assert c.run(local).ok == IMAGES

    on_ray, killed = _place(source, "on-ray"), list[str]()

    def kill_half_way() -> None:
        while _parts(on_ray) < 3:
            time.sleep(0.05)
        killed.extend(nodes.kill_second())

    killer = threading.Thread(target=kill_half_way)
    killer.start()
    summary = upscale(source, on_ray, **options, engine="ray")
    killer.join()

    assert any("ShardActor" in name for name in killed), killed
    assert (summary.found, summary.ok, summary.failed) == (IMAGES, IMAGES, 0)
    rows = c.manifest(on_ray).to_pylist()
    assert len(rows) == len({row["source"] for row in rows}) == IMAGES
    assert c.outputs(on_ray) == c.outputs(local.destination)
    assert c.run_records(on_ray).column("status").to_pylist() == ["done"]


def test_an_address_without_a_cluster_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    if ray.is_initialized():
        ray.shutdown()
    monkeypatch.setenv("RAY_ADDRESS", "nonsense://nowhere")
    with pytest.raises(RunAbortedError, match="no Ray at nonsense://nowhere"):
        list(ray_engine.run_shards(_cannot_go_on, iter(()), RunProgress()))
    assert os.environ["RAY_ADDRESS"]
