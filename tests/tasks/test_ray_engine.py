"""How a Ray cluster is shared out, without one; tests/stack/test_ray.py runs on a real one."""

import os
import sys
import threading
from typing import IO

import pytest

from tasks.failures import RequestError
from tasks.ray_engine import ActorPool, pool_for
from tasks.ray_processors import keep_to_processors
from tasks.upscaling import check_request
from tests import collections as c


@pytest.mark.parametrize(
    ("nodes", "pool"),
    [
        ([{"CPU": 8.0}, {"CPU": 8.0}], ActorPool(count=2, cpus=8)),
        ([{"CPU": 1.0}, {"CPU": 64.0}, {"CPU": 64.0}], ActorPool(count=2, cpus=64)),
        ([{"CPU": 4.0}, {"CPU": 8.0}, {"CPU": 8.0}], ActorPool(count=2, cpus=8)),
        ([{"CPU": 2.0}, {"CPU": 3.0}], ActorPool(count=2, cpus=2)),
        ([{"CPU": 16.0}, {"CPU": 8.0, "GPU": 1.0}], ActorPool(count=1, cpus=8, gpus=1)),
        ([{"CPU": 96.0, "GPU": 8.0}] * 2, ActorPool(count=16, cpus=12, gpus=1)),
        ([{"CPU": 1.0, "GPU": 4.0}], ActorPool(count=4, cpus=1, gpus=1)),
        ([{"memory": 1e9}], ActorPool(count=1, cpus=1)),
        ([], ActorPool(count=1, cpus=1)),
    ],
)
def test_an_actor_is_as_large_as_the_nodes_allow(
    nodes: list[dict[str, float]], pool: ActorPool
) -> None:
    assert pool_for(nodes) == pool


def test_actors_of_one_machine_keep_to_processors_of_their_own(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    there = os.sched_getaffinity(0)
    found: list[tuple[IO[bytes] | None, set[int]]] = []

    def take() -> None:
        held = keep_to_processors(1)
        found.append((held, os.sched_getaffinity(0)))

    def take_in_a_thread() -> None:  # affinity is a thread's
        thread = threading.Thread(target=take)
        thread.start()
        thread.join()

    for _ in there:
        take_in_a_thread()
    assert sorted(len(mine) for _, mine in found) == [1] * len(there)
    assert set().union(*(mine for _, mine in found)) == there
    take_in_a_thread()
    assert found.pop() == (None, there)  # none is free: shared
    freed, mine = found[0]
    assert freed is not None
    freed.close()
    take_in_a_thread()
    assert found[-1][1] == mine
    for held, _ in found:
        if held is not None:
            held.close()


def test_without_ray_the_engine_is_a_wrong_command_that_says_how_to_get_it(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setitem(sys.modules, "ray.data", None)
    with pytest.raises(RequestError, match=r"pip install 'pixelmill\[ray\]'"):
        check_request(c.request(str(tmp_path), f"{tmp_path}-out", engine="ray"))
