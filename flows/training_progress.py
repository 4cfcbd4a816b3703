"""What a training shows while it works: a bar in a terminal, artifacts in Prefect."""

import base64
import sys
import threading
from types import TracebackType
from typing import Literal, Self
from uuid import UUID

from prefect.artifacts import (
    create_image_artifact,
    create_progress_artifact,
    update_progress_artifact,
)
from prefect.context import FlowRunContext
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tasks.training import TrainingProgress

_BAR_EVERY_S = 0.2
_ARTIFACT_EVERY_S = 10.0


class TrainingDisplay:
    """Follows a TrainingProgress: a bar on a terminal's stderr, a progress artifact in the run."""

    def __init__(self, progress: TrainingProgress) -> None:
        self._progress = progress
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._follow(self._draw)
        if FlowRunContext.get() is not None:
            shown = create_progress_artifact(progress=0.0, description="training steps")
            self._artifact: UUID = shown  # type: ignore[assignment]
            self._follow(self._update)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _follow(self, work: "threading._ThreadTarget") -> None:  # type: ignore[name-defined]
        thread = threading.Thread(target=work, name="training-progress", daemon=True)
        self._threads.append(thread)
        thread.start()

    @property
    def _share(self) -> float:
        return 100.0 * self._progress.step / max(1, self._progress.steps)

    def _update(self) -> None:
        while not self._over.wait(_ARTIFACT_EVERY_S):
            update_progress_artifact(artifact_id=self._artifact, progress=self._share)

    def _draw(self) -> None:
        columns = (
            TextColumn("train"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.5f} {task.fields[scores]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            line = bar.add_task("", total=None, loss=float("nan"), scores="")
            while not self._over.wait(_BAR_EVERY_S):
                seen = self._progress
                scores = ", ".join(f"{name} {value:.3f}" for name, value in seen.scores.items())
                bar.update(
                    line,
                    completed=seen.step,
                    total=seen.steps or None,
                    loss=seen.loss,
                    scores=scores,
                )

    def publish(self, closing_line: str, curve: bytes) -> None:
        """The curve as a picture, and the closing line under it."""
        if FlowRunContext.get() is None:
            return
        update_progress_artifact(artifact_id=self._artifact, progress=100.0)
        show_picture(curve, closing_line)


def show_picture(file: bytes, description: str, *, kind: Literal["png", "jpeg"] = "png") -> None:
    """A picture file in the flow's run, where there is one; Prefect's database then holds it."""
    if FlowRunContext.get() is not None:
        address = f"data:image/{kind};base64," + base64.b64encode(file).decode()
        create_image_artifact(image_url=address, description=description)
