"""A budget of bytes that concurrent work draws on, first come, first served."""

import threading
from collections import deque


class MemoryBudget:
    """At most `total` bytes are out at a time; whoever needs more than that gets it alone.

    Waiters are served in order, so that a large request is not overtaken for ever by small ones.
    """

    def __init__(self, total: int) -> None:
        if total < 1:
            raise ValueError(f"a memory budget must be at least 1 byte, got {total}")
        self.total = total
        self._out = 0
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    def acquire(self, amount: int) -> None:
        """Wait until `amount` bytes are free, and take them."""
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            self._changed.wait_for(lambda: self._queue[0] is ticket and self._fits(amount))
            self._queue.popleft()
            self._out += amount
            self._changed.notify_all()

    def release(self, amount: int) -> None:
        """Give `amount` bytes back."""
        with self._changed:
            self._out -= amount
            self._changed.notify_all()

    def _fits(self, amount: int) -> bool:
        return self._out == 0 or self._out + amount <= self.total
