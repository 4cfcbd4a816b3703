"""What can go wrong in a run: what is worth another try, what ends it, what costs one image."""

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from models.images import ImageError
from tasks import storage

log = logging.getLogger(__name__)
T = TypeVar("T")

_RETRY_FOR_S = 180.0
_LONGEST_PAUSE_S = 20.0


class RequestError(ValueError):
    """The request itself is wrong; nothing was done."""


class RunAbortedError(RuntimeError):
    """The store or the device failed in a way that would fail every image; the run must end."""


def persistently(
    action: Callable[[], T],
    *,
    for_s: float = _RETRY_FOR_S,
    stop: threading.Event | None = None,
) -> T:
    """Try again while the store cannot be reached, with growing pauses and full jitter.

    Raises:
        StorageUnavailableError: it could not be reached for `for_s` seconds, or until `stop`.
    """
    stop = stop or threading.Event()
    began, longest, failures = time.monotonic(), 0.5, 0
    while True:
        try:
            return action()
        except storage.StorageUnavailableError as error:
            failures += 1
            pause = random.uniform(0, longest)  # noqa: S311 (jitter, not a secret)
            waited = time.monotonic() - began
            if stop.is_set() or waited + pause > for_s:
                raise
            log.warning(
                "storage is unavailable since %.0f s (failure %d), trying again in %.1f s: %s",
                waited,
                failures,
                pause,
                error,
            )
            stop.wait(pause)
            longest = min(longest * 2, _LONGEST_PAUSE_S)


def listed_persistently(uri: str) -> Iterator[list[storage.Entry]]:
    """Every file below, as `storage.list_pages` gives it; its beginning, too, is waited for.

    Raises:
        NotFoundError: there is no such folder, or no file in it.
        StorageUnavailableError: it could not be reached for minutes.
    """

    def begin() -> tuple[list[storage.Entry], Iterator[list[storage.Entry]]]:
        pages = storage.list_pages(uri)
        return next(pages), pages  # without a page it raises NotFoundError

    first, others = persistently(begin)
    yield first
    yield from others


def error_kind(error: Exception) -> str:
    """The short, stable word for a failure that goes into `error_type`."""
    if isinstance(error, ImageError):
        return error.kind
    if isinstance(error, storage.NotFoundError):
        return "vanished"
    if isinstance(error, storage.AccessDeniedError):
        return "access_denied"
    if isinstance(error, storage.StorageError):
        return "storage"
    return "out_of_memory" if isinstance(error, MemoryError) else type(error).__name__


def explain(error: Exception) -> str:
    """One sentence on a failure, without secrets."""
    return storage.redact(str(error) or type(error).__name__)
