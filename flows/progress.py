"""What a run shows while it works: a bar in a terminal, artifacts in Prefect."""

import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self
from uuid import UUID

import httpx
from prefect.artifacts import (
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.context import FlowRunContext
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tasks.collection import Shard
from tasks.runs import RunProgress, RunSummary

log = logging.getLogger(__name__)

_BAR_EVERY_S = 0.2
_ARTIFACT_EVERY_S = 5.0


@contextmanager
def _unless_the_server_is_away() -> Iterator[None]:
    """What is only shown must not end the work; Prefect's client has tried for a minute then."""
    try:
        yield
    except httpx.HTTPError as error:
        log.warning("Prefect's server does not answer, progress is not shown: %s", error)


class RunDisplay:
    """Follows a RunProgress: a bar on a terminal's stderr, a progress artifact in the flow run.

    Args:
        what: the job's name, before the bar.
    """

    def __init__(self, progress: RunProgress, what: str = "upscale") -> None:
        self._progress = progress
        self._what = what
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._artifact: UUID | None = None
        self._updated = time.monotonic()

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._thread = threading.Thread(target=self._draw, name="progress-bar", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _draw(self) -> None:
        """The total is what planning has met so far: it grows while the listing still runs."""
        columns = (
            TextColumn(self._what),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[failed]} failed, {task.fields[rate]:.1f} images/s"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            line = bar.add_task("", total=None, failed=0, rate=0.0)
            while not self._over.wait(_BAR_EVERY_S):
                seen = self._progress
                bar.update(
                    line,
                    completed=seen.ok + seen.failed + sum(list(seen.under_way.values())),
                    total=seen.counts.to_do or None,
                    failed=seen.failed,
                    rate=seen.ok / max(seen.seconds, 1e-9),
                )

    def shard_done(self, shard: Shard) -> None:
        """Bring the artifact up to date, at most every few seconds."""
        done, to_do = self._progress.ok + self._progress.failed, self._progress.counts.to_do
        share = 100.0 * done / max(1, to_do)
        log.info("shard %d done: %d of %d images so far", shard.number, done, to_do)
        if FlowRunContext.get() is None:
            return
        with _unless_the_server_is_away():
            if self._artifact is None:
                self._artifact = create_progress_artifact(  # type: ignore[assignment]
                    progress=share, description=f"{done} of {to_do} images met so far"
                )
            elif time.monotonic() - self._updated > _ARTIFACT_EVERY_S and self._artifact:
                self._updated = time.monotonic()
                update_progress_artifact(artifact_id=self._artifact, progress=share)

    def publish(self, summary: RunSummary) -> None:
        """The closing table: counts, rates, and failures by kind."""
        seconds = max(summary.seconds, 1e-9)
        rows: list[dict[str, object]] = [
            {"what": "run", "value": summary.run},
            {"what": "model", "value": summary.model},
            {"what": "found", "value": summary.found},
            {"what": "done already", "value": summary.already_done},
            {"what": "ok", "value": summary.ok},
            {"what": "failed", "value": summary.failed},
            {"what": "images/s", "value": round(summary.ok / seconds, 3)},
            {"what": "output MPix/s", "value": round(summary.output_megapixels / seconds, 3)},
            {"what": "output bytes", "value": summary.output_bytes},
            {"what": "seconds", "value": round(summary.seconds, 1)},
        ]
        rows += [{"what": f"left out: {k}", "value": n} for k, n in summary.left_out.items()]
        rows += [{"what": f"failed: {k}", "value": n} for k, n in summary.failures.items()]
        if FlowRunContext.get() is None:
            return
        with _unless_the_server_is_away():
            if self._artifact is not None:
                update_progress_artifact(artifact_id=self._artifact, progress=100.0)
            create_table_artifact(table=rows, description=summary.closing_line())
