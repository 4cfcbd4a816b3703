"""How this machine runs a shard: threads, batches and bytes."""

import ctypes
import sys
import time
from contextlib import suppress
from dataclasses import replace

import psutil

from tasks.transform import BulkConfig, processors

_M_ARENA_MAX = -8  # of malloc.h
_MEMORY_SHARE = 0.35
_MEMORY_MOST = 2 * 2**30


def engine_config(device: str, tile: int = 256) -> BulkConfig:
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


def share_heaps() -> None:
    """Let the C library keep two heaps for all threads of this process, not eight a processor.

    Threads hand pictures on, so that each heap grows to the largest pictures that ever met in it:
    over 280 pictures 1.3 GB at the peak where two heaps need 1.0, as fast.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library than GNU's decides for itself
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _all_threads() -> None:
    import torch

    torch.set_num_threads(processors())
