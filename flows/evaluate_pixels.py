"""Judge pixel models by the likelihood of pictures that they have not seen."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Literal

from prefect import flow
from prefect.artifacts import create_table_artifact
from pydantic import Field
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tasks import pixels_evaluation
from tasks.pixels_evaluation import EvaluatePixelsRequest, PixelsReport


@contextmanager
def _counted() -> Iterator[Callable[[int], None]]:
    """A count on a terminal's stderr while pictures are judged."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    columns = (SpinnerColumn(), TextColumn("{task.completed:.0f} pictures"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        line = bar.add_task("evaluate pixels", total=None)
        yield lambda done: bar.update(line, completed=done)


@flow(name="evaluate-pixels", flow_run_name="evaluate {model} on {dataset}", persist_result=False)
def evaluate_pixels(
    model: str,
    dataset: str,
    *,
    split: Literal["train", "validation", "test"] = "test",
    output: str | None = None,
    registry: str | None = None,
    limit: Annotated[int, Field(ge=1)] | None = None,
) -> PixelsReport:
    """Judge a pixel model: exact nats and bits/dim, beside histograms and the uniform model.

    Args:
        model: A shipped name, NAME[@VERSION] in the registry, or a checkpoint's URI.
        dataset: A dataset made by `pixelmill dataset pixels`.
        split: The split that is judged.
        output: Where tables go; by default nowhere.
        registry: Where NAME[@VERSION] is looked up.
        limit: Judge so many pictures, evenly spread over the split.
    """
    request = EvaluatePixelsRequest(
        model=model,
        dataset=dataset,
        split=split,
        output=output,
        registry=registry,
        limit=limit,
    )
    with _counted() as on_judged:
        report = pixels_evaluation.evaluate_pixels(request, on_judged=on_judged)
    rows = [
        {"predictor": name, "nats": report.nats[name], "bits/dim": report.bits[name]}
        for name in report.nats
    ]
    create_table_artifact(table=rows, description=report.closing_line())
    return report
