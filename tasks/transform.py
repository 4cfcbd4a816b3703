"""What plugs into the bulk engine, and how the engine is sized."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from models.images import Header
from models.pixels import Pixels
from tasks.collection import Source


class Transform(Protocol):
    """What the engine runs: equal tiles in, tiles `scale` times larger out, each for itself.

    An output pixel may depend only on source pixels within `radius_for(channels)`, and on where
    it lies within cells of `multiple` source pixels; the radius is a multiple of that.
    """

    @property
    def scale(self) -> int: ...
    def radius_for(self, channels: int, /) -> int: ...
    @property
    def multiple(self) -> int: ...
    def __call__(self, tiles: Pixels, /) -> Pixels: ...


Judge = Callable[[Source, Pixels], tuple[float | None, float | None]]
"""(source, output pixels) -> its PSNR and SSIM, where there is something to compare with."""


@dataclass(frozen=True, kw_only=True)
class BulkConfig:
    """How a shard is run. Nothing here changes a pixel.

    The defaults are a CPU's: one tile at a time to each of `runners` threads, small ones in pairs.
    `tile` is the largest tile side in source pixels; `workers` threads each decode and encode.
    """

    tile: int = 192
    batch_pixels: int = 224 * 224
    """Source pixels that go to the device at once, if a single window is not more."""
    batch_most: int = 2
    """Windows that do. A batch is padded to its full size, so more wait and waste more."""
    patience_s: float = 0.0
    """How long a batch waits to become full."""
    workers: int = 2
    runners: int = 1
    in_flight: int = 32
    """Images between their reading and their row."""
    read_ahead_bytes: int = 256 * 2**20
    """Bytes of encoded sources that were read and not yet decoded."""
    memory: int = 2**30
    """Bytes of all images from decoding to writing; one that needs more goes alone."""
    memory_limit: int = 8 * 2**30
    """Bytes that a single image may need; beyond that it fails."""
    prepare_thread: Callable[[], None] = lambda: None
    clock: Callable[[], float] = time.thread_time


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What every row of a run says alike."""

    run: str
    model: str
    model_digest: str
    config_digest: str


def memory_needed(header: Header, scale: int, source_bytes: int) -> int:
    """Bytes one image holds at its peak: pixels, 4 bytes for each of Pillow's, encoded output."""
    pixels = header.width * header.height
    return source_bytes + pixels * 4 + pixels * scale**2 * 8


def processors() -> int:
    """How many processors this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
