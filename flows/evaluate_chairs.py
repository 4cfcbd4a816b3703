"""Judge generators of chairs on views that they have not seen, and on morphs."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Literal

from prefect import flow
from prefect.artifacts import create_table_artifact
from pydantic import Field
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tasks import chairs_evaluation
from tasks.chairs_evaluation import ChairsReport, EvaluateChairsRequest


@contextmanager
def _counted() -> Iterator[Callable[[int], None]]:
    """A count on a terminal's stderr while views are judged."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    columns = (SpinnerColumn(), TextColumn("{task.completed:.0f} views"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        line = bar.add_task("evaluate chairs", total=None)
        yield lambda done: bar.update(line, completed=done)


@flow(name="evaluate-chairs", flow_run_name="evaluate {model} on {dataset}", persist_result=False)
def evaluate_chairs(
    model: str,
    dataset: str,
    *,
    split: Literal["train", "validation", "test"] = "test",
    output: str | None = None,
    registry: str | None = None,
    limit: Annotated[int, Field(ge=1)] | None = None,
    morphs: Annotated[int, Field(ge=0, le=1000)] = 8,
    steps: Annotated[int, Field(ge=2, le=1000)] = 17,
) -> ChairsReport:
    """Judge a generator beside the nearest training view: RGB error, masks' overlap, morphs.

    Args:
        model: A shipped name, NAME[@VERSION] in the registry, or a checkpoint's URI.
        dataset: A dataset of chairs, with the views that the generator was trained on.
        split: The split that is judged.
        output: Where tables and sheets go; by default nowhere.
        registry: Where NAME[@VERSION] is looked up.
        limit: Judge the first so many chairs.
        morphs: Pairs of chairs that are morphed, where the true morph is known.
        steps: Pictures of a morph.
    """
    request = EvaluateChairsRequest(
        model=model,
        dataset=dataset,
        split=split,
        output=output,
        registry=registry,
        limit=limit,
        morphs=morphs,
        steps=steps,
    )
    with _counted() as on_judged:
        report = chairs_evaluation.evaluate_chairs(request, on_judged=on_judged)
    rows = [{"measure": name, "value": v} for name, v in (report.means | report.morphs).items()]
    create_table_artifact(table=rows, description=report.closing_line())
    return report
