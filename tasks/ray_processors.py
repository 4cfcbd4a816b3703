"""A machine's processors, shared among actors that cannot see each other."""

import os
import tempfile
from pathlib import Path
from typing import IO


def keep_to_processors(count: int) -> IO[bytes] | None:
    """Keep this thread, and those that it starts, to processors that no other actor keeps to.

    Returns:
        What holds them until it is closed, or this process ends, however it ends; None where the
        machine has no more than `count`, or none are free: then they are shared.
    """
    if not hasattr(os, "sched_setaffinity"):
        return None
    import fcntl

    allowed = sorted(os.sched_getaffinity(0))
    for first in range(0, len(allowed) - count + 1, count):
        mine = allowed[first : first + count]
        name = f"pixelmill-processors-{os.getuid()}-{mine[0]}-{count}.lock"
        held = (Path(tempfile.gettempdir()) / name).open("wb")
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.close()
            continue
        os.sched_setaffinity(0, mine)
        return held
    return None
