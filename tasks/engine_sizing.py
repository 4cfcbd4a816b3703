"""How this machine runs a shard: threads, batches and bytes."""

import time
from dataclasses import replace

import psutil

from tasks.transform import BulkConfig, processors

_MEMORY_SHARE = 0.35
_MEMORY_MOST = 2 * 2**30


def engine_config(device: str, tile: int = 192) -> BulkConfig:
    """For tiles: on a CPU one at a time to each thread, on a GPU one thread, batches."""
    available = psutil.virtual_memory().available
    common = BulkConfig(
        tile=tile,
        workers=processors(),
        memory=min(_MEMORY_MOST, int(available * _MEMORY_SHARE)),
        memory_limit=int(available * 0.8),
    )
    if device == "cuda":
        return replace(
            common,
            batch_pixels=16 * 256 * 256,
            batch_most=64,
            patience_s=0.02,
            in_flight=256,
            clock=time.perf_counter,  # the thread only waits for the device
        )
    return replace(common, runners=processors(), prepare_thread=_one_thread)


def picture_config(device: str, *, threads: int = 1) -> BulkConfig:
    """For whole pictures: on a CPU `threads` to each, as many pictures as that leaves room for.

    Another number of threads rounds sums otherwise, so that it is the request's, not the shard's.
    """
    config = engine_config(device)
    if device == "cuda":
        return replace(config, batch_most=8, batch_pixels=8 * 512 * 512)
    runners = max(1, processors() // threads)
    prepare = _one_thread if threads == 1 else _all_threads
    memory = int(psutil.virtual_memory().available * 0.7)
    return replace(config, runners=runners, batch_most=1, prepare_thread=prepare, memory=memory)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _all_threads() -> None:
    import torch

    torch.set_num_threads(processors())
