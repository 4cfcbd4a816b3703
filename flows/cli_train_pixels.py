"""`pixelmill train pixels` and `pixelmill evaluate pixels`."""

from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli_chairs import Split
from flows.terminal import explained, quiet_prefect, start_server

if TYPE_CHECKING:
    from rich.table import Table

    from tasks.pixels_evaluation import PixelsReport

_PLAIN_WIDTH = 140


def train_pixels(
    dataset: Annotated[str, typer.Argument(help="A dataset built by `dataset pixels`.")],
    registry: Annotated[
        str,
        typer.Option(envvar="PIXELMILL_REGISTRY", help="Where versions and checkpoints go."),
    ],
    name: Annotated[str, typer.Option(help="The model's name in the registry.")],
    config: Annotated[str | None, typer.Option(help="A TOML file of settings.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="key=value, e.g. network=pixelcnn++, conditional=true."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--from", help="Go on from a shipped name, NAME[@VERSION] or checkpoint."),
    ] = None,
) -> None:
    """Train a pixel model; stopped or killed, the same command goes on."""
    with explained():
        quiet_prefect()
        from models.pixel_training import PixelTraining
        from tasks.pixels_training_request import TrainPixelsRequest, open_job
        from tasks.settings import merged, parse_assignments, read_toml, typed

        values = merged(read_toml(config) if config else {}, parse_assignments(set_ or []))
        training = typed(PixelTraining, values)
        open_job(
            TrainPixelsRequest(
                dataset=dataset, registry=registry, name=name, training=training, start=start
            )
        )
        from flows.train_pixels import train_pixels as flow

        start_server()
        summary = flow(dataset, registry, name, training=training, start=start)
    typer.echo(summary.closing_line())


def evaluate_pixels(
    model: Annotated[
        str, typer.Argument(help="A shipped name, NAME or NAME@VERSION, or a checkpoint's URI.")
    ],
    dataset: Annotated[str, typer.Argument(help="A dataset built by `dataset pixels`.")],
    split: Annotated[Split, typer.Option(help="The split of the dataset.")] = Split.TEST,
    output: Annotated[
        str | None, typer.Option(help="Where results go; by default nowhere.")
    ] = None,
    registry: Annotated[
        str | None,
        typer.Option(
            help="Where a NAME or NAME@VERSION is looked up.", envvar="PIXELMILL_REGISTRY"
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="So many pictures, evenly spread over the split.")
    ] = None,
) -> None:
    """Judge a pixel model: exact nats and bits/dim of held-out pictures."""
    from tasks.pixels_evaluation import EvaluatePixelsRequest, check_request

    request = EvaluatePixelsRequest(
        model=model,
        dataset=dataset,
        split=split.value,
        output=output,
        registry=registry,
        limit=limit,
    )
    with explained():
        check_request(request)
        quiet_prefect()
        from flows.evaluate_pixels import evaluate_pixels as flow

        start_server()
        report = flow(**vars(request))
    _show(report)


def _show(report: "PixelsReport") -> None:
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=_PLAIN_WIDTH)
    console.print(pixels_table(report))
    for note in report.notes:
        typer.echo(note)
    typer.echo(report.closing_line())


def pixels_table(report: "PixelsReport") -> "Table":
    """The means, a row a predictor."""
    from rich.table import Table

    title = f"Mean of {report.pictures} {report.split} pictures"
    table = Table(title=title, title_justify="left")
    table.add_column("predictor")
    for heading in ("nats", "bits/dim"):
        table.add_column(heading, justify="right")
    for name, nats in report.nats.items():
        table.add_row(name, f"{nats:.3f}", f"{report.bits[name]:.4f}")
    return table
