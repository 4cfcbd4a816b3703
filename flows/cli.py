"""The `pixelmill` command: one sub-command a flow.

Prefect and torch take seconds to import, so that nothing here imports them before a command that
needs them really runs.
"""

import logging
import sys
import warnings
from contextlib import suppress
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from flows import (
    cli_dataset,
    cli_evaluate,
    cli_generate,
    cli_pixels,
    cli_report,
    cli_stylize,
    cli_texture,
    cli_train,
)
from flows.bulk_options import (
    Destination,
    DryRun,
    Limit,
    MaxFailed,
    OutputFormat,
    Overwrite,
    Registry,
    Source,
    tell,
)
from flows.terminal import explained, in_background, quiet_prefect, start_server
from tasks.log_lines import log_to_stderr

if TYPE_CHECKING:
    from tasks.upscaling import UpscaleRequest

app = typer.Typer(
    name="pixelmill",
    help="Batch image synthesis over object-store collections.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(cli_dataset.app)
app.add_typer(cli_train.app)
app.add_typer(cli_evaluate.app)
app.add_typer(cli_pixels.app)


class Precision(StrEnum):
    """Arithmetic of the network."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"


class Engine(StrEnum):
    """Where shards are run."""

    LOCAL = "local"
    RAY = "ray"


app.command()(cli_stylize.stylize)
app.command()(cli_texture.texture)
app.command()(cli_generate.generate)
app.command()(cli_texture.texture_study)
app.command()(cli_report.report)
app.command()(cli_report.preferences)
app.command()(cli_report.status)
app.command()(cli_report.compact)


@app.callback()
def _root() -> None:
    """Batch image synthesis over object-store collections."""


@app.command()
def upscale(
    source: Source,
    destination: Destination,
    scale: Annotated[
        int | None, typer.Option(help="How much larger; by default the model's, else 4.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="A shipped name, NAME or NAME@VERSION in a registry, or a URI [default: mill]."
        ),
    ] = None,
    format: Annotated[OutputFormat, typer.Option(help="What to write.")] = OutputFormat.PNG,  # noqa: A002
    precision: Annotated[Precision, typer.Option(help="Arithmetic.")] = Precision.AUTO,
    tile: Annotated[int, typer.Option(help="Largest tile side in source pixels.")] = 256,
    shard_size: Annotated[int, typer.Option(help="Images per shard.")] = 256,
    limit: Limit = None,
    overwrite: Overwrite = False,
    max_failed: MaxFailed = 0.1,
    reference: Annotated[
        str | None, typer.Option(help="Originals at the same paths, for PSNR and SSIM.")
    ] = None,
    engine: Annotated[Engine, typer.Option(help="Where shards run.")] = Engine.LOCAL,
    registry: Registry = None,
    redo_outdated: Annotated[
        bool, typer.Option("--redo-outdated", help="Redo what another champion made.")
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Upscale every image of a collection that is not done yet."""
    from tasks.upscaling import UpscaleRequest, check_request

    request = UpscaleRequest(
        source=source,
        destination=destination,
        scale=scale,
        model=model,
        format=format.value,
        precision=precision.value,
        tile=tile,
        shard_size=shard_size,
        limit=limit,
        overwrite=overwrite,
        max_failed=max_failed,
        reference=reference,
        engine=engine.value,
        registry=registry,
        redo_outdated=redo_outdated,
    )
    with explained():
        check_request(request)
        # the server of Prefect starts in a process of its own: torch is imported meanwhile
        in_background(lambda: _preload(request))
        quiet_prefect()
        from flows.upscale import upscale as flow

        start_server()
        summary = flow(**asdict(request), dry_run=dry_run)
    tell(summary, dry_run=dry_run)


def _preload(request: "UpscaleRequest") -> None:
    from tasks.registry import load_model

    # what goes wrong here goes wrong again in the flow, where it is reported
    with suppress(Exception):
        load_model(request.model, request.scale, request.precision, request.registry)


@app.command()
def promote(
    system: Annotated[str, typer.Argument(help="sr, style, chairs or pixels.")],
    name: Annotated[str, typer.Argument(help="The model's name in the registry.")],
    registry: Registry = None,
    version: Annotated[
        int | None, typer.Option(help="Its number; by default the newest.", min=1)
    ] = None,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Go back to the champion before.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Kept in its history.")] = "promoted by hand",
) -> None:
    """Make a version of a model the champion, which upscale uses from its next run on."""
    # not the flow of the same name: a server of Prefect takes many times as long to start as the
    # one file takes to write
    with explained():
        from tasks.champions import change_champion

        line = change_champion(
            registry, system, name, version=version, rollback=rollback, reason=reason
        )
    typer.echo(line)


@app.command()
def models(
    system: Annotated[str, typer.Argument(help="sr, style, chairs or pixels.")],
    name: Annotated[str | None, typer.Argument(help="One model alone.")] = None,
    registry: Registry = None,
) -> None:
    """List the versions of models in a registry; * is the champion."""
    with explained():
        from tasks.champions import version_table

        table = version_table(registry, system, name)
    for line in table:
        typer.echo(line)


@app.command()
def nightly(
    config: Annotated[str, typer.Option(help="A TOML file of settings; see the README.")],
) -> None:
    """New images -> dataset -> fine-tune -> judge -> promote the better, or keep and say why."""
    with explained():
        quiet_prefect()
        from tasks.nightly import NightlySettings, check_settings
        from tasks.settings import read_toml, typed

        settings = check_settings(typed(NightlySettings, read_toml(config)))
        from flows.nightly import nightly as flow

        start_server()
        report = flow(settings)
    typer.echo(report.closing_line())


def main() -> None:
    """Entry point of the installed command."""
    try:
        log_to_stderr()
    except ValueError as error:
        typer.echo(f"pixelmill: {error}", err=True)
        sys.exit(2)
    # it writes down every address it asks, a web hook's secret one included
    logging.getLogger("httpx").setLevel(logging.WARNING)
    # Pillow warns of odd metadata, which stands in an image's row or in the log; torch, now and
    # then, of its own kernels while it is imported. Neither is anything that a user can act on.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"(PIL|torch|torchvision)\b")
    app()


if __name__ == "__main__":
    main()
