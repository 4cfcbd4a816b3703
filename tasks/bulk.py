"""The bulk engine: one shard of images in, its outputs and one manifest part out.

Reading, decoding, running batches of tiles, encoding and writing overlap. Each image takes from a
byte budget before it is decoded and gives back after it is written, and that is what bounds every
queue. The manifest part is written last: it is the shard's commit.
"""

import contextvars
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
from PIL.Image import Image as PillowImage

from models import images
from models.images import ImageError, Picture, decode, read_header
from models.pixels import Pixels
from models.tiling import TileGrid, core, run_in_parts, tile_grid, window
from tasks import storage, tables
from tasks.budget import MemoryBudget
from tasks.collection import Shard, Source
from tasks.failures import RunAbortedError, error_kind, explain, persistently
from tasks.tables import ManifestRow
from tasks.tile_queue import Batch, TileQueue
from tasks.transform import BulkConfig, Judge, Provenance, Transform, memory_needed

log = logging.getLogger(__name__)

_IO_THREADS = 8


@dataclass(kw_only=True, eq=False)
class _Image:
    """One image on its way through the stages."""

    source: Source
    data: bytes | None = None
    picture: Picture | None = None
    grid: TileGrid | None = None
    output: PillowImage | None = None
    remaining: int = 0
    ahead: int = 0
    reserved: int = 0
    error: Exception | None = None
    decode_s: float = 0.0
    infer_s: float = 0.0
    encode_s: float = 0.0
    size: tuple[int, int] | None = None
    output_size: tuple[int, int] | None = None
    output_bytes: int | None = None
    psnr: float | None = None
    ssim: float | None = None
    finished: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


class ShardRun:
    """One shard on its way: stages of threads, joined by hand-overs that the budget bounds."""

    def __init__(
        self,
        *,
        destination: str,
        transform: Transform,
        config: BulkConfig,
        provenance: Provenance,
        stop: threading.Event,
        on_row: Callable[[ManifestRow], None],
        judge: Judge | None,
    ) -> None:
        self._destination = destination
        self._transform = transform
        self._config = config
        self._provenance = provenance
        self._stop = stop
        self._on_row = on_row
        self._judge = judge
        self._budget = MemoryBudget(config.memory)
        self._ahead = MemoryBudget(config.read_ahead_bytes)
        self._slots = threading.Semaphore(config.in_flight)
        self._tiles: TileQueue[_Image] = TileQueue(
            config.batch_pixels, batch_most=config.batch_most, patience_s=config.patience_s
        )
        self._rows: list[ManifestRow] = []
        self._abort: Exception | None = None
        self._lock = threading.Lock()

    def run(self, shard: Shard) -> list[ManifestRow]:
        """Work through a shard and commit it; the rows of what was finished.

        Raises:
            RunAbortedError: the run cannot go on; what was finished is committed.
        """
        self._shard = shard.number
        runners = [
            threading.Thread(
                target=contextvars.copy_context().run,
                args=(self._run_tiles,),
                name=f"tiles-{i}",
                daemon=True,
            )
            for i in range(self._config.runners)
        ]
        for thread in runners:
            thread.start()
        with self._pools():
            for source in shard.sources:
                self._slots.acquire()
                if self._stop.is_set() or self._abort is not None:
                    self._slots.release()
                    break
                image = _Image(source=source, ahead=max(source.size, 0))
                self._ahead.acquire(image.ahead)
                self._submit(self._readers, self._read, image)
            for _ in range(self._config.in_flight):  # every slot back: every image has its row
                self._slots.acquire()
        self._tiles.close()
        for thread in runners:
            thread.join()
        self._commit(shard.number)
        if self._abort is not None:
            raise RunAbortedError(str(self._abort)) from self._abort
        return self._rows

    @contextmanager
    def _pools(self) -> Iterator[None]:
        workers = self._config.workers
        with (
            ThreadPoolExecutor(_IO_THREADS, "read") as self._readers,
            ThreadPoolExecutor(workers, "decode") as self._decoders,
            ThreadPoolExecutor(workers, "encode") as self._encoders,
            ThreadPoolExecutor(_IO_THREADS, "write") as self._writers,
        ):
            yield

    def _submit(
        self, pool: ThreadPoolExecutor, stage: Callable[[_Image], None], image: _Image
    ) -> None:
        """Run a stage of an image in a pool; whatever goes wrong there is that image's."""

        def guarded() -> None:
            try:
                if self._stop.is_set() and image.grid is None:
                    self._release(image)  # not begun: the next run's
                else:
                    stage(image)
            except Exception as error:  # noqa: BLE001 (one bad image costs one row)
                self._fail(image, error)

        # the context tells Prefect to which run a thread's log lines belong
        pool.submit(contextvars.copy_context().run, guarded)

    def _read(self, image: _Image) -> None:
        image.data = persistently(lambda: storage.read(image.source.uri), stop=self._stop)
        self._submit(self._decoders, self._decode, image)

    def _decode(self, image: _Image) -> None:
        data = image.data or b""
        header = read_header(data)
        needed = memory_needed(header, self._transform.scale, len(data))
        if needed > self._config.memory_limit:
            raise ImageError(
                "too_large",
                f"{header.width}x{header.height} pixels need about {needed / 2**30:.1f} GiB of"
                f" memory, {self._config.memory_limit / 2**30:.1f} GiB are there",
            )
        self._budget.acquire(needed)
        image.reserved = needed
        began = time.thread_time()
        picture = decode(data)
        image.data = None
        self._ahead.release(image.ahead)
        image.ahead = 0
        image.decode_s = time.thread_time() - began
        for remark in picture.remarks:
            log.info("%s: %s", image.source.uri, remark)
        height, width, channels = picture.pixels.shape
        scale, transform = self._transform.scale, self._transform
        image.size = (width, height)
        image.picture = picture
        image.grid = grid = tile_grid(
            height,
            width,
            tile=self._config.tile,
            radius=transform.radius_for(channels),
            multiple=transform.multiple,
        )
        image.output = images.blank(height * scale, width * scale, channels, picture.pixels.dtype)
        image.remaining = grid.count
        shape = (grid.window_height, grid.window_width, channels, str(picture.pixels.dtype))
        self._tiles.put(image, shape, grid.count)

    def _run_tiles(self) -> None:
        self._config.prepare_thread()
        while (batch := self._tiles.take()) is not None:
            try:
                self._run_batch(batch)
            except Exception as error:  # noqa: BLE001 (the images of this batch fail, no other)
                for image, _ in batch.tiles:
                    self._tile_done(image, error=error)

    def _run_batch(self, batch: Batch[_Image]) -> None:
        began = self._config.clock()
        windows = [window(*_pixels_and_grid(image), index) for image, index in batch.tiles]
        windows += [np.zeros_like(windows[0])] * (batch.size - len(windows))
        results = run_in_parts(
            self._transform,
            np.stack(windows),
            radius=self._transform.radius_for(windows[0].shape[-1]),
            scale=self._transform.scale,
            multiple=self._transform.multiple,
        )
        for (image, index), result in zip(batch.tiles, results, strict=False):
            output, grid = image.output, image.grid
            if output is not None and grid is not None:
                images.draw(output, *core(result, grid, index, self._transform.scale))
        share = (self._config.clock() - began) / len(batch.tiles)
        for image, _ in batch.tiles:
            self._tile_done(image, seconds=share)

    def _tile_done(
        self, image: _Image, *, seconds: float = 0.0, error: Exception | None = None
    ) -> None:
        with image.lock:
            image.infer_s += seconds
            image.error = image.error or error
            image.remaining -= 1
            finished = image.remaining == 0
        if finished and image.error is not None:
            self._fail(image, image.error)
        elif finished:
            self._submit(self._encoders, self._encode, image)

    def _encode(self, image: _Image) -> None:
        output, picture = image.output, image.picture
        if output is None or picture is None:
            raise RuntimeError(f"{image.source.uri} reached encoding without pixels")
        began = time.thread_time()
        image.output_size = output.size
        if self._judge is not None:
            image.psnr, image.ssim = self._judge(image.source, images.pixels_of(output))
        image.data = images.save(output, image.source.format, icc=picture.icc, exif=picture.exif)
        image.output = image.picture = None
        image.encode_s = time.thread_time() - began
        self._submit(self._writers, self._write, image)

    def _write(self, image: _Image) -> None:
        data, target = image.data or b"", storage.join(self._destination, image.source.output)
        try:
            persistently(lambda: storage.write(target, data), stop=self._stop)
        except (
            storage.AccessDeniedError,
            storage.NotFoundError,
            storage.StorageUnavailableError,
            storage.StorageFullError,
        ) as error:
            # the same would happen to every other image; but where a.png is a file or a folder,
            # only a.png/b.png or a.png itself cannot be written
            if not isinstance(error.__cause__, NotADirectoryError | IsADirectoryError):
                self._abort = self._abort or error
            raise
        image.output_bytes = len(data)
        self._finish(image, None)

    def _fail(self, image: _Image, error: Exception) -> None:
        if isinstance(error, storage.StorageUnavailableError):
            if self._stop.is_set():  # it was not waited for: the next run's
                self._release(image)
                return
            self._abort = self._abort or error
        elif not isinstance(error, ImageError | storage.StorageError | MemoryError):
            log.error("%s: unexpected", image.source.uri, exc_info=error)
        self._finish(image, error)

    def _finish(self, image: _Image, error: Exception | None) -> None:
        """Make the image's row and give back what it held; after an abort its row is dropped."""
        try:
            if not image.finished and (error is None or self._abort is None):
                row = self._row(image, error)
                with self._lock:
                    self._rows.append(row)
                self._on_row(row)
        finally:
            self._release(image)

    def _release(self, image: _Image) -> None:
        with image.lock:
            if image.finished:
                return
            image.finished = True
        image.data = image.picture = image.output = None
        self._ahead.release(image.ahead)
        self._budget.release(image.reserved)
        self._slots.release()

    def _row(self, image: _Image, error: Exception | None) -> ManifestRow:
        source, provenance = image.source, self._provenance
        width, height = image.size or (None, None)
        output_width, output_height = image.output_size or (None, None)
        return ManifestRow(
            source=tables.storable(source.uri),
            source_etag=source.etag,
            source_bytes=source.size,
            output=source.output if error is None else None,
            output_bytes=image.output_bytes,
            status="ok" if error is None else "failed",
            error_type=None if error is None else error_kind(error),
            error=None if error is None else tables.storable(explain(error)),
            width=width,
            height=height,
            output_width=output_width if error is None else None,
            output_height=output_height if error is None else None,
            model=provenance.model,
            model_digest=provenance.model_digest,
            config_digest=provenance.config_digest,
            psnr=image.psnr,
            ssim=image.ssim,
            decode_s=image.decode_s,
            infer_s=image.infer_s,
            encode_s=image.encode_s,
            run=provenance.run,
            shard=self._shard,
            finished_at=datetime.now(UTC),
        )

    def _commit(self, number: int) -> None:
        if not self._rows:
            return
        self._rows.sort(key=lambda row: row.source)
        part = f"manifest/run={self._provenance.run}/shard-{number:06d}.parquet"
        data = tables.to_parquet(self._rows, tables.MANIFEST)
        target = storage.join(self._destination, part)
        persistently(lambda: storage.write(target, data))


def _pixels_and_grid(image: _Image) -> tuple[Pixels, TileGrid]:
    if image.picture is None or image.grid is None:
        raise RuntimeError(f"{image.source.uri} reached the network without pixels")
    return image.picture.pixels, image.grid
