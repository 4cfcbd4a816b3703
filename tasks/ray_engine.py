"""Shards on the nodes of a Ray cluster: the same shard function, a model to each Ray Data actor.

A shard's own images and manifest part are its commit, so that the shard of a node that died is
simply run again elsewhere, over the same names. What comes back to the driver are its rows.
"""

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import pyarrow as pa

from tasks import tables
from tasks.collection import Shard, Source
from tasks.failures import RequestError, RunAbortedError, explain
from tasks.ray_processors import keep_to_processors
from tasks.runs import RunProgress
from tasks.tables import ManifestRow
from tasks.transform import processors

log = logging.getLogger(__name__)

Work = Callable[[Shard, RunProgress], list[ManifestRow]]
"""Runs and commits one shard: `functools.partial(run_shard, job)`; other processes import it."""

_SHARDS_AN_ACTOR = 32
"""Shards that a node's actor gets before the actors are started anew: so many are planned at a
time, and the last of them are waited for."""
_SPARE_SHARE = 0.2
_OBJECT_STORE_BYTES = 256 * 2**20
_ASK_EVERY_S = 1.0
_RAY_DEFAULTS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # else it warns of every actor that Ray Data starts
}
_RESULT_COLUMNS: dict[str, pa.DataType] = {
    "number": pa.int64(),
    "rows": pa.binary(),
    "error": pa.string(),
}
_RESULT = pa.schema(_RESULT_COLUMNS)


@dataclass(frozen=True, kw_only=True)
class ActorPool:
    """How many actors a cluster holds, and what each of them takes of its node."""

    count: int
    cpus: int
    gpus: int = 0


def check_installed() -> None:
    """Raise a RequestError unless Ray can be imported."""
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        raise RequestError(
            "the engine ray needs Ray, which is not installed: pip install 'pixelmill[ray]'"
        ) from error


def run_shards(work: Work, shards: Iterator[Shard], progress: RunProgress) -> Iterator[Shard]:
    """Run shards on the cluster of RAY_ADDRESS, else on a local one; each as soon as it is done.

    The nodes need pixelmill, and their own way to the stores: no credentials are sent to them. A
    local cluster inherits this process's environment.

    Raises:
        RequestError: Ray is not installed.
        RunAbortedError: a shard, or Ray itself, cannot go on; what was finished is committed.
    """
    check_installed()
    with _connected(), _stop_flag(progress.stop) as flag:
        while True:
            pool = pool_for(_alive_nodes())
            chunk = list(islice(shards, pool.count * _SHARDS_AN_ACTOR))
            if not chunk:
                return
            yield from _run_chunk(work, chunk, pool, flag, progress)


def pool_for(nodes: Sequence[Mapping[str, float]]) -> ActorPool:
    """An actor to each GPU with its share of processors; without GPUs, to each node.

    Where nodes differ, an actor is as large as the largest node that leaves few processors idle.

    Args:
        nodes: what each node has, as Ray names it: CPU, GPU.
    """
    with_gpu = [node for node in nodes if node.get("GPU", 0) >= 1]
    if with_gpu:
        share = min(node.get("CPU", 0) // node["GPU"] for node in with_gpu)
        count = sum(int(node["GPU"]) for node in with_gpu)
        return ActorPool(count=count, cpus=max(1, int(share)), gpus=1)
    sizes = [int(node.get("CPU", 0)) for node in nodes if node.get("CPU", 0) >= 1] or [1]
    for cpus in sorted(set(sizes), reverse=True):
        count = sum(size // cpus for size in sizes)
        if count * cpus >= (1 - _SPARE_SHARE) * sum(sizes):
            break
    return ActorPool(count=count, cpus=cpus)


def _alive_nodes() -> list[dict[str, float]]:
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


@contextmanager
def _connected() -> Iterator[None]:
    """Ray for the body; a connection that the caller had already is left open."""
    import ray

    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS") or "local"
    for name, value in _RAY_DEFAULTS.items():
        os.environ.setdefault(name, value)
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)
    before = signal.getsignal(signal.SIGTERM)
    try:
        if address == "local":
            ray.init(
                address,
                num_cpus=processors(),
                object_store_memory=_OBJECT_STORE_BYTES,
                include_dashboard=False,
                logging_level=logging.ERROR,
            )
        else:
            ray.init(address, logging_level=logging.ERROR)
    except Exception as error:  # Ray raises plain Exception where a node is slow to start
        raise RunAbortedError(f"no Ray at {address}: {explain(error)}") from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)  # Ray's would end the run where ours stops it
    try:
        yield
    finally:
        ray.shutdown()


class _StopFlag:
    """A Ray actor beside the driver, which the actors ask whether to stop."""

    def __init__(self) -> None:
        self._up = False

    def raise_it(self) -> None:
        self._up = True

    def is_up(self) -> bool:
        return self._up


@contextmanager
def _stop_flag(stop: threading.Event) -> Iterator[Any]:
    """The handle of a flag that is raised when `stop` is set."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    flag: Any = ray.remote(_StopFlag).options(num_cpus=0, scheduling_strategy=here).remote()
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            if stop.wait(_ASK_EVERY_S / 4):
                flag.raise_it.remote()
                return

    watcher = threading.Thread(target=watch, name="stop-flag", daemon=True)
    watcher.start()
    try:
        yield flag
    finally:
        over.set()
        watcher.join()
        ray.kill(flag)


class _ShardActor:
    """Runs shards in a process of its own, whose first shard loads the model for all."""

    def __init__(self, work: Work, cpus: int, flag: Any) -> None:
        level = os.environ.get("PIXELMILL_LOG", "WARNING")
        logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")
        self._slot = keep_to_processors(cpus)
        self._work = work
        self._progress = RunProgress()
        threading.Thread(target=self._watch, args=(flag,), daemon=True).start()

    def _watch(self, flag: Any) -> None:
        """Stop when the run is to stop. With its driver Ray ends this process, too."""
        import ray
        from ray.exceptions import RayError

        up = False
        while not up:
            time.sleep(_ASK_EVERY_S)
            with suppress(RayError):  # the flag's node may be out of reach for a while
                up = ray.get(flag.is_up.remote())
        self._progress.stop.set()

    def __call__(self, batch: pa.Table) -> pa.Table:
        results = [self._run(_read_shard(str(text))) for text in batch.column("shard").to_pylist()]
        return pa.Table.from_pylist(results, schema=_RESULT)

    def _run(self, shard: Shard) -> dict[str, object]:
        rows: list[ManifestRow] = []
        failure = None
        try:
            rows = self._work(shard, self._progress)
        except Exception as error:
            log.info("shard %d failed", shard.number, exc_info=error)
            failure = explain(error)
        data = tables.to_parquet(rows, tables.MANIFEST)
        return {"number": shard.number, "rows": data, "error": failure}


def _run_chunk(
    work: Work, chunk: list[Shard], pool: ActorPool, flag: Any, progress: RunProgress
) -> Iterator[Shard]:
    """The shards of a chunk as they are done; after a failure the others are stopped first."""
    from ray.exceptions import RayError

    waiting, failure = {shard.number: shard for shard in chunk}, None
    with _explaining(RayError):
        for result in _results(work, chunk, pool, flag):
            shard, rows = waiting[result["number"]], tables.from_parquet(result["rows"])
            for row in rows.to_pylist():
                progress.add(ManifestRow(**row))
            if result["error"] is not None and failure is None:
                failure = result["error"]
                flag.raise_it.remote()
            if rows.num_rows == len(shard.sources) or progress.stop.is_set():
                del waiting[shard.number]
            yield shard
    if failure is not None:
        raise RunAbortedError(failure)
    if waiting:  # whatever the cause: a run that lacks a row must not end as done
        raise RunAbortedError(f"{len(waiting)} of {len(chunk)} shards came back unfinished")


@contextmanager
def _explaining(error_type: type[Exception]) -> Iterator[None]:
    try:
        yield
    except error_type as error:
        raise RunAbortedError(f"Ray cannot go on: {explain(error)}") from error


def _results(
    work: Work, chunk: list[Shard], pool: ActorPool, flag: Any
) -> Iterator[dict[str, Any]]:
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    shards = [{"shard": json.dumps(asdict(shard))} for shard in chunk]
    done = ray.data.from_items(shards, override_num_blocks=len(shards)).map_batches(
        _ShardActor,
        batch_size=1,
        batch_format="pyarrow",
        fn_constructor_kwargs={"work": work, "cpus": pool.cpus, "flag": flag},
        compute=ray.data.ActorPoolStrategy(size=pool.count, max_tasks_in_flight_per_actor=1),
        num_cpus=pool.cpus,
        num_gpus=pool.gpus,
    )
    batches: Iterable[Any] = done.iter_batches(
        batch_size=None, batch_format="pyarrow", prefetch_batches=0
    )
    for batch in batches:
        yield from batch.to_pylist()


def _read_shard(text: str) -> Shard:
    said = json.loads(text)
    return Shard(number=said["number"], sources=tuple(Source(**s) for s in said["sources"]))
