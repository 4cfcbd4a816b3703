"""Make what comes next while the present is being used."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def prefetched(
    make: Callable[[int], T], numbers: range, *, workers: int, ahead: int
) -> Iterator[T]:
    """make(n) for every n in order, made by threads, up to `ahead` of them before their turn.

    Threads are enough where the work lets go of the interpreter, as decoding and torch do, and
    they share what is decoded.

    Raises:
        Exception: whatever make raises, at its turn.
    """
    if workers < 1 or ahead < 1:
        raise ValueError(f"workers and ahead must be at least 1, got {workers} and {ahead}")
    pool = ThreadPoolExecutor(workers, thread_name_prefix="prefetch")
    waiting: deque[Future[T]] = deque()
    try:
        for number in numbers:
            waiting.append(pool.submit(make, number))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
