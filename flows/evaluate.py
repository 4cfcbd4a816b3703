"""Judge super-resolution models: on their own, and by what a classifier makes of their images."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Literal

from prefect import flow
from prefect.artifacts import create_table_artifact
from pydantic import Field
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tasks import classification, sr_evaluation
from tasks.classification import ClassificationReport, ClassificationRequest
from tasks.sr_evaluation import EvaluateRequest, SrReport


@contextmanager
def _counted(what: str) -> Iterator[Callable[[int], None]]:
    """A count on a terminal's stderr while images are judged."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    columns = (SpinnerColumn(), TextColumn("{task.completed:.0f} images"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        line = bar.add_task(what, total=None)
        yield lambda done: bar.update(line, completed=done)


@flow(name="evaluate-sr", flow_run_name="evaluate sr {model} on {dataset}", persist_result=False)
def evaluate_sr(
    model: str,
    dataset: str,
    *,
    compare: tuple[str, ...] = (),
    scale: Annotated[int | None, Field(ge=2, le=8)] = None,
    split: str = "test",
    output: str | None = None,
    features: str | None = None,
    registry: str | None = None,
    precision: Literal["auto", "fp32", "bf16"] = "fp32",
    limit: Annotated[int, Field(ge=1)] | None = None,
) -> SrReport:
    """Judge a super-resolution model beside bicubic: PSNR-Y, SSIM-Y, perceptual distance, cost.

    Args:
        model: bicubic, a shipped name, NAME[@VERSION] in the registry, or a checkpoint's URI.
        dataset: What `pixelmill dataset sr` made, or any collection of high-resolution images,
            which are made small by the published bicubic protocol.
        compare: Further models in the same table.
        scale: For a plain collection: how much smaller; by default the model's, else 4.
        split: The split of a dataset that is judged.
        output: Where results.parquet, metrics.parquet and grid.png go; by default nowhere.
        features: Weights of VGG16 for the perceptual distance: a URI, or torchvision, which may
            download them. By default PIXELMILL_FEATURES, or no such column.
        registry: Where NAME[@VERSION] is looked up.
        precision: Arithmetic of the networks.
        limit: Judge at most so many images.
    """
    request = EvaluateRequest(
        model=model,
        dataset=dataset,
        compare=tuple(compare),
        scale=scale,
        split=split,
        output=output,
        features=features,
        registry=registry,
        precision=precision,
        limit=limit,
    )
    with _counted("evaluate sr") as on_judged:
        report = sr_evaluation.evaluate_sr(request, on_judged=on_judged)
    rows = [{"model": name, **report.means[name]} for name in report.models]
    create_table_artifact(table=rows, description=report.closing_line())
    return report


@flow(
    name="evaluate-classification",
    flow_run_name="evaluate classification of {labelled}",
    persist_result=False,
)
def evaluate_classification(
    labelled: str,
    classifier: str,
    *,
    models: tuple[str, ...] = (),
    scale: Annotated[int, Field(ge=2, le=8)] = 2,
    output: str | None = None,
    registry: str | None = None,
    precision: Literal["auto", "fp32", "bf16"] = "fp32",
    limit: Annotated[int, Field(ge=1)] | None = None,
) -> ClassificationReport:
    """Whether super-resolution helps a classifier: accuracy on small images enlarged.

    Args:
        labelled: A folder of folders named after classes, or Parquet with image (or img) and label.
        classifier: torchvision:NAME with its default weights, or a checkpoint's URI.
        models: Super-resolution models to enlarge by; bicubic is always among them.
        scale: How much smaller the images are made, and enlarged again.
        output: Where results.parquet and metrics.parquet go; by default nowhere.
        registry: Where NAME[@VERSION] is looked up.
        precision: Arithmetic of the super-resolution networks.
        limit: Classify at most so many images.
    """
    request = ClassificationRequest(
        labelled=labelled,
        classifier=classifier,
        models=tuple(models),
        scale=scale,
        output=output,
        registry=registry,
        precision=precision,
        limit=limit,
    )
    with _counted("evaluate classification") as on_classified:
        report = classification.evaluate_classification(request, on_classified=on_classified)
    rows = [
        {"variant": v.variant, "accuracy": v.accuracy, "low": v.low, "high": v.high,
         "agreement": v.agreement}
        for v in report.variants
    ]  # fmt: skip
    create_table_artifact(table=rows, description=report.closing_line())
    return report
