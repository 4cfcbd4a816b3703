"""One job at a time on a GPU, whichever worker has it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.concurrency.sync import concurrency


@contextmanager
def gpu_slot() -> Iterator[None]:
    """Hold a slot of the global concurrency limit that PIXELMILL_GPU_SLOT names; without it, none.

    The limit must exist: a missing one would not hold anybody back, so it is an error.
    """
    limit = os.environ.get("PIXELMILL_GPU_SLOT")
    if not limit:
        yield
        return
    # a server that is away for a while must not end a job of hours
    with concurrency(limit, occupy=1, strict=True, raise_on_lease_renewal_failure=False):
        yield
