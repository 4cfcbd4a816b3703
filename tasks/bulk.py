"""The bulk engine: one shard of images in, its outputs and one manifest part out.

Reading, decoding, the stage that computes (tiles or whole pictures), encoding and writing overlap.
Each image takes from a byte budget before it is decoded and gives back after it is written, and
that is what bounds every queue. The manifest part is written last: it is the shard's commit.
"""

import contextvars
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime

from models import images
from models.images import ImageError, decode, read_header
from tasks import storage, tables
from tasks.budget import MemoryBudget
from tasks.collection import Shard
from tasks.engine_sizing import share_heaps
from tasks.failures import RunAbortedError, error_kind, explain, persistently
from tasks.log_lines import working_on
from tasks.passage import Passage
from tasks.runs import StoppedError
from tasks.tables import ManifestRow
from tasks.transform import BulkConfig, Judge, Provenance, Stage

log = logging.getLogger(__name__)

_IO_THREADS = 8


class ShardRun:
    """One shard on its way: stages of threads, joined by hand-overs that the budget bounds.

    Args:
        before_commit: called with the shard's number when its images are written: what is to be
            there before the manifest part says that they are done.
    """

    def __init__(
        self,
        *,
        destination: str,
        stage: Stage,
        config: BulkConfig,
        provenance: Provenance,
        stop: threading.Event,
        on_row: Callable[[ManifestRow], None],
        judge: Judge | None = None,
        before_commit: Callable[[int], None] | None = None,
    ) -> None:
        self._destination = destination
        self._stage = stage
        self._config = config
        self._provenance = provenance
        self._stop = stop
        self._on_row = on_row
        self._judge = judge
        self._before_commit = before_commit
        self._budget = MemoryBudget(config.memory)
        self._ahead = MemoryBudget(config.read_ahead_bytes)
        self._slots = threading.Semaphore(config.in_flight)
        self._rows: list[ManifestRow] = []
        self._abort: Exception | None = None
        self._lock = threading.Lock()

    def run(self, shard: Shard) -> list[ManifestRow]:
        """Work through a shard and commit it; the rows of what was finished.

        Raises:
            RunAbortedError: the run cannot go on; what was finished is committed.
        """
        share_heaps()
        with working_on(self._provenance.run, shard.number):
            return self._run(shard)

    def _run(self, shard: Shard) -> list[ManifestRow]:
        self._shard = shard.number
        runners = [
            threading.Thread(
                target=contextvars.copy_context().run,
                args=(self._work,),
                name=f"device-{i}",
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
                image = Passage(source=source, ahead=max(source.size, 0))
                self._ahead.acquire(image.ahead)
                self._submit(self._readers, self._read, image)
            for _ in range(self._config.in_flight):  # every slot back: every image has its row
                self._slots.acquire()
        self._stage.close()
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
        self, pool: ThreadPoolExecutor, stage: Callable[[Passage], None], image: Passage
    ) -> None:
        """Run a stage of an image in a pool; whatever goes wrong there is that image's."""

        def guarded() -> None:
            try:
                if self._stop.is_set() and not image.begun:
                    self._release(image)  # not begun: the next run's
                else:
                    stage(image)
            except Exception as error:  # noqa: BLE001 (one bad image costs one row)
                self._fail(image, error)

        # the context tells Prefect to which run a thread's log lines belong
        pool.submit(contextvars.copy_context().run, guarded)

    def _read(self, image: Passage) -> None:
        image.data = persistently(lambda: storage.read(image.source.uri), stop=self._stop)
        self._submit(self._decoders, self._decode, image)

    def _decode(self, image: Passage) -> None:
        data = image.data or b""
        header = read_header(data)
        needed = self._stage.bytes_needed(header, len(data))
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
        image.size = (picture.pixels.shape[1], picture.pixels.shape[0])
        image.picture = picture
        image.begun = True
        self._stage.put(image)

    def _work(self) -> None:
        self._config.prepare_thread()
        self._stage.work(self._worked)

    def _worked(self, image: Passage, error: Exception | None) -> None:
        if isinstance(error, StoppedError):  # given up half way: the next run's
            self._release(image)
        elif error is not None:
            self._fail(image, error)
        else:
            self._submit(self._encoders, self._encode, image)

    def _encode(self, image: Passage) -> None:
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

    def _write(self, image: Passage) -> None:
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

    def _fail(self, image: Passage, error: Exception) -> None:
        if isinstance(error, storage.StorageUnavailableError):
            if self._stop.is_set():  # it was not waited for: the next run's
                self._release(image)
                return
            self._abort = self._abort or error
        elif not isinstance(error, ImageError | storage.StorageError | MemoryError):
            log.error("%s: unexpected", image.source.uri, exc_info=error)
        self._finish(image, error)

    def _finish(self, image: Passage, error: Exception | None) -> None:
        """Make the image's row and give back what it held; after an abort its row is dropped."""
        try:
            if not image.finished and (error is None or self._abort is None):
                row = self._row(image, error)
                with self._lock:
                    self._rows.append(row)
                self._on_row(row)
        finally:
            self._release(image)

    def _release(self, image: Passage) -> None:
        with image.lock:
            if image.finished:
                return
            image.finished = True
        image.data = image.picture = image.output = None
        self._ahead.release(image.ahead)
        self._budget.release(image.reserved)
        self._slots.release()

    def _row(self, image: Passage, error: Exception | None) -> ManifestRow:
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
        if self._before_commit is not None:
            self._before_commit(number)
        if not self._rows:
            return
        self._rows.sort(key=lambda row: row.source)
        part = f"manifest/run={self._provenance.run}/shard-{number:06d}.parquet"
        data = tables.to_parquet(self._rows, tables.MANIFEST)
        target = storage.join(self._destination, part)
        persistently(lambda: storage.write(target, data))
