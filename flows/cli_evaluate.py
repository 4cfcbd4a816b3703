"""`pixelmill evaluate`: models judged, as tables in the terminal."""

from collections.abc import Iterable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from flows import cli_chairs, cli_train_pixels
from flows.terminal import explained, quiet_prefect, start_server

if TYPE_CHECKING:
    from rich.table import Table

    from tasks.classification import ClassificationReport
    from tasks.sr_evaluation import SrReport
    from tasks.tables import SrScore

app = typer.Typer(
    name="evaluate",
    help="Judge models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("chairs")(cli_chairs.evaluate_chairs)
app.command("pixels")(cli_train_pixels.evaluate_pixels)

_SHOWN_PICTURES = 20
_PLAIN_WIDTH = 140
"""Columns where the output is no terminal: a file has no edge that a table must fit."""


class Precision(StrEnum):
    """Arithmetic of the network."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"


Output = Annotated[str | None, typer.Option(help="Where results go; by default nowhere.")]
Registry = Annotated[
    str | None,
    typer.Option(help="Where a NAME or NAME@VERSION is looked up.", envvar="PIXELMILL_REGISTRY"),
]
Limit = Annotated[int | None, typer.Option(help="At most so many images.")]
Arithmetic = Annotated[Precision, typer.Option(help="Arithmetic.")]


@app.callback()
def _root() -> None:
    """Judge models."""


@app.command()
def sr(
    model: Annotated[
        str,
        typer.Argument(help="A shipped name, NAME or NAME@VERSION, or a checkpoint's URI."),
    ],
    dataset: Annotated[
        str, typer.Argument(help="A dataset of `dataset sr`, or any high-resolution collection.")
    ],
    compare: Annotated[
        list[str] | None, typer.Option(help="A further model in the table; repeatable.")
    ] = None,
    scale: Annotated[
        int | None, typer.Option(help="For a plain collection; by default the model's, else 4.")
    ] = None,
    split: Annotated[str, typer.Option(help="The split of a dataset.")] = "test",
    output: Output = None,
    features: Annotated[
        str | None,
        typer.Option(
            help="VGG16's weights, for the perceptual distance: a URI, or torchvision.",
            envvar="PIXELMILL_FEATURES",
        ),
    ] = None,
    registry: Registry = None,
    precision: Arithmetic = Precision.FP32,
    limit: Limit = None,
) -> None:
    """Judge a super-resolution model beside bicubic: PSNR-Y, SSIM-Y, perceptual distance, cost."""
    from tasks.sr_evaluation import EvaluateRequest, check_request

    request = EvaluateRequest(
        model=model,
        dataset=dataset,
        compare=tuple(compare or ()),
        scale=scale,
        split=split,
        output=output,
        features=features,
        registry=registry,
        precision=precision.value,
        limit=limit,
    )
    with explained():
        check_request(request)
        quiet_prefect()
        from flows.evaluate import evaluate_sr

        start_server()
        report = evaluate_sr(**vars(request))
    _show(sr_tables(report))
    for note in report.notes:
        typer.echo(note)
    typer.echo(report.closing_line())


@app.command()
def classification(
    labelled: Annotated[
        str, typer.Argument(help="Folders named after classes, or Parquet with image and label.")
    ],
    classifier: Annotated[str, typer.Option(help="torchvision:NAME or a checkpoint's URI.")],
    model: Annotated[
        list[str] | None, typer.Option(help="A model to enlarge by, beside bicubic; repeatable.")
    ] = None,
    scale: Annotated[int, typer.Option(help="How much smaller, and larger again.")] = 2,
    output: Output = None,
    registry: Registry = None,
    precision: Arithmetic = Precision.FP32,
    limit: Limit = None,
) -> None:
    """Accuracy of a classifier on small images enlarged, beside that on the originals."""
    from tasks.classification import ClassificationRequest, check_request

    request = ClassificationRequest(
        labelled=labelled,
        classifier=classifier,
        models=tuple(model or ()),
        scale=scale,
        output=output,
        registry=registry,
        precision=precision.value,
        limit=limit,
    )
    with explained():
        check_request(request)
        quiet_prefect()
        from flows.evaluate import evaluate_classification

        start_server()
        report = evaluate_classification(**vars(request))
    _show([classification_table(report)])
    typer.echo(report.closing_line())


def _show(found: "Iterable[Table]") -> None:
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=_PLAIN_WIDTH)
    for table in found:
        console.print(table)


def sr_tables(report: "SrReport") -> "list[Table]":
    """The means, a row a model; and of a small dataset each picture, a row a picture."""
    from rich.table import Table

    means = Table(title=f"x{report.scale}, mean of {report.pictures} images", title_justify="left")
    means.add_column("model")
    for heading in ("PSNR-Y dB", "gain dB", "SSIM-Y", "perceptual", "s/image", "parameters",
                    "GMACs to 720p"):  # fmt: skip
        means.add_column(heading, justify="right")
    for model in report.models:
        mean = report.means[model]
        macs = mean.get("macs")
        means.add_row(
            model,
            _number(mean.get("psnr"), ".2f"),
            _number(mean.get("psnr_gain"), "+.2f"),
            _number(mean.get("ssim"), ".4f"),
            _number(mean.get("perceptual"), ".4f"),
            _number(mean.get("infer_s"), ".3f"),
            _number(mean.get("parameters"), ",.0f"),
            _number(macs / 1e9 if macs is not None else None, ".2f"),
        )
    small = report.pictures <= _SHOWN_PICTURES
    return [_picture_table(report), means] if small else [means]


def _picture_table(report: "SrReport") -> "Table":
    from rich.table import Table

    pictures = Table(title="PSNR-Y dB / SSIM-Y", title_justify="left")
    pictures.add_column("image")
    pictures.add_column("size", justify="right")
    by_source: dict[str, dict[str, SrScore]] = {}
    for score in report.scores:
        by_source.setdefault(score.source, {})[score.model] = score
    for model in report.models:
        pictures.add_column(model, justify="right")
    for source, scores in by_source.items():
        first = next(iter(scores.values()))
        shown = [f"{scores[m].psnr:.2f} / {_number(scores[m].ssim, '.4f')}" for m in report.models]
        pictures.add_row(source.rpartition("/")[2], f"{first.width}x{first.height}", *shown)
    return pictures


def classification_table(report: "ClassificationReport") -> "Table":
    """A row a variant: accuracy with its interval, and agreement with the original."""
    from rich.table import Table

    title = f"{report.pictures} images, made {report.scale} times smaller; {report.classifier}"
    table = Table(title=title, title_justify="left")
    table.add_column("variant")
    for heading in ("accuracy", "95 % interval", "as the original"):
        table.add_column(heading, justify="right")
    for v in report.variants:
        table.add_row(
            v.variant, f"{v.accuracy:.2%}", f"{v.low:.2%} - {v.high:.2%}", f"{v.agreement:.2%}"
        )
    return table


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
