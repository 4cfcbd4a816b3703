"""Tiles of many images, waiting to be run in batches of equal shape."""

import threading
from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

Job = TypeVar("Job")
Shape = tuple[int, int, int, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch(Generic[Job]):
    """Tiles of one shape, (job, tile index) each, and the batch size they are to be padded to.

    A fixed size makes a tile's bytes independent of what it happened to be batched with.
    """

    tiles: list[tuple[Job, int]]
    size: int


class TileQueue(Generic[Job]):
    """Hands out full batches first, and what there is when no more comes for a moment.

    Args:
        batch_pixels: pixels of a batch, if that is not fewer than one window.
        batch_most: windows of a batch.
        patience_s: how long to wait for a batch to become full.
    """

    def __init__(self, batch_pixels: int, *, batch_most: int, patience_s: float) -> None:
        self._batch_pixels = batch_pixels
        self._batch_most = batch_most
        self._patience_s = patience_s
        self._waiting: dict[Shape, deque[tuple[Job, int]]] = {}
        self._closed = False
        self._changed = threading.Condition()

    def batch_size(self, shape: Shape) -> int:
        """How many windows of (height, width, channels, dtype) go into one batch."""
        return max(1, min(self._batch_most, self._batch_pixels // (shape[0] * shape[1])))

    def put(self, job: Job, shape: Shape, count: int) -> None:
        """Add the `count` tiles of a job."""
        with self._changed:
            queue = self._waiting.setdefault(shape, deque())
            queue.extend((job, index) for index in range(count))
            self._changed.notify_all()

    def close(self) -> None:
        """No more jobs will come."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def take(self) -> Batch[Job] | None:
        """The next batch; waits for one; None when the queue is closed and empty."""
        with self._changed:
            patient = self._patience_s > 0
            while True:
                shape = self._full_shape()
                if shape is None and self._waiting and (self._closed or not patient):
                    shape = max(self._waiting, key=lambda s: len(self._waiting[s]))
                if shape is not None:
                    return self._cut(shape)
                if self._closed:
                    return None
                woken = self._changed.wait(self._patience_s if self._waiting else None)
                patient = self._patience_s > 0 and (woken or not self._waiting)

    def _full_shape(self) -> Shape | None:
        full = (s for s, queue in self._waiting.items() if len(queue) >= self.batch_size(s))
        return next(full, None)

    def _cut(self, shape: Shape) -> Batch[Job]:
        queue, size = self._waiting[shape], self.batch_size(shape)
        tiles = [queue.popleft() for _ in range(min(size, len(queue)))]
        if not queue:
            del self._waiting[shape]
        return Batch(tiles=tiles, size=size)
