"""A run as a whole: its id, its record in the destination, its counts, and how it is stopped."""

import json
import logging
import platform
import secrets
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from types import FrameType
from typing import Literal

from tasks import storage, tables
from tasks.collection import PlanCounts, Shard
from tasks.failures import persistently
from tasks.tables import ManifestRow, RunRow

log = logging.getLogger(__name__)

_SHOWN_ROWS = 20
"""A run of at most so many images tells of each in its closing words."""

_VERSIONED = ("pixelmill", "torch", "pillow", "numpy", "prefect", "fsspec", "s3fs", "pyarrow")


class TooManyFailedError(RuntimeError):
    """The run is done, but more of its images failed than `max_failed` allows."""


class StoppedError(RuntimeError):
    """The run was asked to stop; what was finished is committed, the next run goes on."""


def new_run_id() -> str:
    """Sorts by time, unique among runs that begin in the same second: 20261124T140102-1f9c3a."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


def software_versions() -> str:
    """JSON of what ran: Python and the packages that shape pixels or files."""
    found = {"python": platform.python_version()}
    for name in _VERSIONED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return json.dumps(found)


@dataclass(kw_only=True)
class RunProgress:
    """What a run has done so far; the engine's threads add rows, anyone may read."""

    counts: PlanCounts = field(default_factory=PlanCounts)
    stop: threading.Event = field(default_factory=threading.Event)
    ok: int = 0
    failed: int = 0
    source_bytes: int = 0
    output_bytes: int = 0
    output_pixels: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    cpu_s: float = 0.0
    began: float = field(default_factory=time.monotonic)
    first_rows: list[ManifestRow] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, row: ManifestRow) -> None:
        """Count one finished image."""
        with self._lock:
            if len(self.first_rows) <= _SHOWN_ROWS:
                self.first_rows.append(row)
            self.source_bytes += row.source_bytes
            self.cpu_s += (row.decode_s or 0) + (row.infer_s or 0) + (row.encode_s or 0)
            if row.status == "failed":
                self.failed += 1
                self.failures[row.error_type or "unknown"] += 1
                return
            self.ok += 1
            self.output_bytes += row.output_bytes or 0
            self.output_pixels += (row.output_width or 0) * (row.output_height or 0)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """The counts of a finished run, as its closing line and table show them."""

    run: str
    destination: str
    model: str
    found: int
    left_out: dict[str, int]
    already_done: int
    to_do: int
    ok: int
    failed: int
    failures: dict[str, int]
    output_bytes: int
    output_megapixels: float
    seconds: float
    pictures: tuple[str, ...]
    """A line for each image of a small run; empty for a large one."""

    @property
    def failed_share(self) -> float:
        """Failed images among all that this collection has a row for."""
        return self.failed / max(1, self.already_done + self.ok + self.failed)

    def closing_line(self) -> str:
        """What was done, and where it is, in one line."""
        rate = self.ok / self.seconds if self.seconds else 0.0
        parts = [f"{_many(self.ok, 'image')} upscaled by {self.model}"]
        if self.failed:
            kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(self.failures.items()))
            parts.append(f"{self.failed} failed ({kinds})")
        if self.already_done:
            parts.append(f"{self.already_done} done already")
        if self.left_out:
            parts.append(f"{_many(sum(self.left_out.values()), 'file')} left out")
        return f"{', '.join(parts)}; {self.seconds:.1f} s, {rate:.1f} images/s: {self.destination}"


def summarise(row: RunRow, progress: RunProgress) -> RunSummary:
    """The summary of a run from its record and what it counted."""
    return RunSummary(
        run=row.run,
        destination=row.destination,
        model=row.model,
        found=progress.counts.found,
        left_out=dict(progress.counts.left_out),
        already_done=progress.counts.already_done,
        to_do=progress.counts.to_do,
        ok=progress.ok,
        failed=progress.failed,
        failures=dict(progress.failures),
        output_bytes=progress.output_bytes,
        output_megapixels=progress.output_pixels / 1e6,
        seconds=progress.seconds,
        pictures=_picture_lines(progress.first_rows),
    )


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _picture_lines(rows: list[ManifestRow]) -> tuple[str, ...]:
    if len(rows) > _SHOWN_ROWS:
        return ()
    return tuple(_picture_line(row) for row in sorted(rows, key=lambda row: row.source))


def _picture_line(row: ManifestRow) -> str:
    if row.status == "failed":
        return f"{row.source}: {row.error}"
    seconds = (row.decode_s or 0) + (row.infer_s or 0) + (row.encode_s or 0)
    sizes = f"{row.width}x{row.height} -> {row.output_width}x{row.output_height}"
    return f"{row.output}: {sizes}, {(row.output_bytes or 0) / 1e6:.2f} MB, {seconds:.2f} CPU s"


def write_run(row: RunRow) -> None:
    """Write a run's record; the first time this also shows that the destination can be written.

    Raises:
        StorageError: it cannot.
    """
    target = storage.join(row.destination, f"runs/run={row.run}.parquet")
    data = tables.to_parquet([row], tables.RUNS)
    persistently(lambda: storage.write(target, data))


def close_run(
    row: RunRow, progress: RunProgress, status: Literal["done", "stopped", "failed"]
) -> None:
    """Write the final record of a run over its first one."""
    counts = progress.counts
    write_run(
        replace(
            row,
            status=status,
            found=counts.found,
            left_out=counts.left_out.total(),
            already_done=counts.already_done,
            ok=progress.ok,
            failed=progress.failed,
            source_bytes=progress.source_bytes,
            output_bytes=progress.output_bytes,
            output_pixels=progress.output_pixels,
            seconds=progress.seconds,
            finished_at=datetime.now(UTC),
        )
    )


@contextmanager
def stop_on_signals(stop: threading.Event) -> Iterator[None]:
    """Set `stop` at the first SIGINT or SIGTERM; the second one ends the process as usual.

    Signals reach only the main thread: elsewhere this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask_to_stop(number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        log.warning(
            "%s: finishing what is under way; once more to stop now", signal.strsignal(number)
        )
        stop.set()

    before = {s: signal.signal(s, ask_to_stop) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def until_stopped(shards: Iterator[Shard], progress: RunProgress) -> Iterator[Shard]:
    """The shards, until somebody asks the run to stop: the rest is not even listed."""
    for shard in shards:
        if progress.stop.is_set():
            return
        yield shard


@contextmanager
def recorded(row: RunRow, progress: RunProgress) -> Iterator[None]:
    """Keep a run's record while the body works: running, then done, stopped or failed.

    Raises:
        StoppedError: a signal, or somebody else, set `progress.stop`.
        StorageError: the destination cannot be written.
    """
    write_run(row)
    try:
        with stop_on_signals(progress.stop):
            yield
    except BaseException:
        with suppress(storage.StorageError):  # the first error is the one to report
            close_run(row, progress, "failed")
        raise
    close_run(row, progress, "stopped" if progress.stop.is_set() else "done")
    if progress.stop.is_set():
        raise StoppedError(
            f"stopped after {_many(progress.ok, 'image')}, kept as done; run it again to go on"
        )


def checked(summary: RunSummary, max_failed: float) -> RunSummary:
    """The summary itself, if its failures are within what the user allows.

    Raises:
        TooManyFailedError: they are not.
    """
    if summary.failed_share > max_failed:
        raise TooManyFailedError(
            f"{_many(summary.failed, 'image')} failed, {summary.failed_share:.1%} where"
            f" {max_failed:.1%} is allowed; {summary.closing_line()}"
        )
    return summary
