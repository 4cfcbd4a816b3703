"""What plugs into the bulk engine, and how the engine is sized."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from models.images import Header
from models.pixels import Pixels
from tasks.collection import Source
from tasks.passage import Passage


class Transform(Protocol):
    """What the engine runs: equal tiles in, tiles `scale` times larger out, each for itself.

    An output pixel may depend only on source pixels within `radius_for(channels)`, and on where
    it lies within cells of `multiple` source pixels; the radius is a multiple of that. The radius
    at a tile's borders is its margin: nobody looks at what comes out there.
    """

    @property
    def scale(self) -> int: ...
    def radius_for(self, channels: int, /) -> int: ...
    @property
    def multiple(self) -> int: ...
    def __call__(self, tiles: Pixels, /) -> Pixels: ...


class PictureTransform(Protocol):
    """What the engine runs where a picture is one whole: out comes a picture of any size.

    Pictures of a batch are equal in shape. Raise StoppedError to leave them to the next run.
    """

    def bytes_needed(self, header: Header, /) -> int: ...
    def __call__(self, pictures: Pixels, sources: Sequence[Source], /) -> Sequence[Pixels]: ...


Worked = Callable[[Passage, Exception | None], None]
"""Told of each image that the device is done with, or what went wrong."""


class Stage(Protocol):
    """What the engine does between decoding and encoding: see `tile_stage`, `picture_stage`.

    `work` is run by each of the device's threads until `close`.
    """

    def bytes_needed(self, header: Header, source_bytes: int, /) -> int: ...
    def put(self, image: Passage, /) -> None: ...
    def work(self, worked: Worked, /) -> None: ...
    def close(self) -> None: ...


Judge = Callable[[Source, Pixels], tuple[float | None, float | None]]
"""(source, output pixels) -> its PSNR and SSIM, where there is something to compare with."""


@dataclass(frozen=True, kw_only=True)
class BulkConfig:
    """How a shard is run. Nothing here changes a pixel.

    The defaults are a CPU's: one tile at a time to each of `runners` threads, small ones in pairs.
    `tile` is the largest tile side in source pixels; `workers` threads each decode and encode.
    """

    tile: int = 256
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


def processors() -> int:
    """How many processors this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
