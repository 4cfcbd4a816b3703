"""`pixelmill train ...`: one sub-command a system."""

from typing import Annotated

import typer

from flows import cli_chairs, cli_train_pixels
from flows.terminal import explained, quiet_prefect, start_server

app = typer.Typer(
    name="train",
    help="Train a model into the registry.",
    no_args_is_help=True,
    add_completion=False,
)

app.command("chairs")(cli_chairs.train_chairs)
app.command("pixels")(cli_train_pixels.train_pixels)


@app.callback()
def _train() -> None:
    """Train a model and publish it as a version in the registry."""


@app.command()
def sr(
    dataset: Annotated[str, typer.Argument(help="A dataset built by `pixelmill dataset sr`.")],
    registry: Annotated[
        str,
        typer.Option(envvar="PIXELMILL_REGISTRY", help="Where versions and checkpoints go."),
    ],
    name: Annotated[str, typer.Option(help="The model's name in the registry.")],
    config: Annotated[str | None, typer.Option(help="A TOML file of settings.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="key=value, e.g. steps=20000, network=mill, loss.pixel=mse."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--from", help="Go on from a shipped name, NAME[@VERSION] or checkpoint."),
    ] = None,
    features: Annotated[
        str | None, typer.Option(help="VGG weights for a perceptual loss; else torchvision's.")
    ] = None,
    processes: Annotated[int, typer.Option(help="Processes that share each batch.")] = 1,
) -> None:
    """Train a super-resolution network; stopped or killed, the same command goes on."""
    with explained():
        quiet_prefect()
        from models.sr_training import SrTraining
        from tasks.settings import merged, parse_assignments, read_toml, typed
        from tasks.sr_training import TrainSrRequest, open_job

        values = merged(read_toml(config) if config else {}, parse_assignments(set_ or []))
        training = typed(SrTraining, values)
        open_job(
            TrainSrRequest(
                dataset=dataset,
                registry=registry,
                name=name,
                training=training,
                start=start,
                features=features,
                processes=processes,
            )
        )
        from flows.train import train_sr

        start_server()
        summary = train_sr(
            dataset,
            registry,
            name,
            training=training,
            start=start,
            features=features,
            processes=processes,
        )
    typer.echo(summary.closing_line())


@app.command()
def style(
    dataset: Annotated[
        str, typer.Argument(help="Photographs: prefix, glob, or Parquet/CSV list (column uri).")
    ],
    registry: Annotated[
        str,
        typer.Option(envvar="PIXELMILL_REGISTRY", help="Where versions and checkpoints go."),
    ],
    name: Annotated[str, typer.Option(help="The painter's name in the registry.")],
    style_: Annotated[
        list[str] | None,
        typer.Option("--style", help="A picture to paint like: IMAGE or NAME=IMAGE; repeatable."),
    ] = None,
    config: Annotated[str | None, typer.Option(help="A TOML file of settings.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="key=value, e.g. steps=8000, norms_only=true."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--from", help="Go on from painter, NAME[@VERSION] or a checkpoint."),
    ] = None,
    features: Annotated[
        str | None, typer.Option(help="VGG or SqueezeNet weights; else torchvision's.")
    ] = None,
) -> None:
    """Train a painter of these styles; stopped or killed, the same command goes on."""
    with explained():
        quiet_prefect()
        from models.style_training import StyleTraining
        from tasks.settings import merged, parse_assignments, read_toml, typed
        from tasks.style_request import TrainStyleRequest, open_job

        values = merged(read_toml(config) if config else {}, parse_assignments(set_ or []))
        training = typed(StyleTraining, values)
        styles = style_ or []
        open_job(
            TrainStyleRequest(
                dataset=dataset,
                registry=registry,
                name=name,
                styles=tuple(styles),
                training=training,
                start=start,
                features=features,
            )
        )
        from flows.train_style import train_style

        start_server()
        summary = train_style(
            dataset,
            registry,
            name,
            styles,
            training=training,
            start=start,
            features=features,
        )
    typer.echo(summary.closing_line())
