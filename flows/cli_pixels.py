"""`pixelmill pixels nll`, `sample`, `complete` and `features`."""

from contextlib import suppress
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer

from flows import cli_pixels_coding
from flows.bulk_options import (
    Destination,
    DryRun,
    Limit,
    MaxFailed,
    Overwrite,
    Registry,
    tell,
)
from flows.pixel_options import Label, Model, Pictures, ShardSize, Size, Split
from flows.terminal import explained, in_background, quiet_prefect, start_server

app = typer.Typer(
    name="pixels",
    help="Pixel models: likelihoods, samples, completions, compression, features.",
    no_args_is_help=True,
)
app.command()(cli_pixels_coding.compress)
app.command()(cli_pixels_coding.decompress)


class SamplerName(StrEnum):
    """All give the same pictures."""

    CACHED = "cached"
    PREDICTIVE = "predictive"
    NAIVE = "naive"


Temperature = Annotated[float, typer.Option(help="Below 1 likelier pictures, above 1 wilder ones.")]
Sampler = Annotated[
    SamplerName | None, typer.Option(help="All give the same pictures [default: cached].")
]


def _ready(model: str | None, registry: str | None) -> None:
    """Import torch and load the model while the server of Prefect starts."""

    def load() -> None:
        from tasks.pixel_models import load_pixel_model

        # what goes wrong here goes wrong again in the flow, where it is reported
        with suppress(Exception):
            load_pixel_model(model, registry)

    in_background(load)
    quiet_prefect()


@app.command()
def nll(
    source: Pictures,
    output: Annotated[
        str | None, typer.Option(help="Where a row for each picture goes; else nowhere.")
    ] = None,
    model: Model = None,
    split: Split = None,
    size: Size = None,
    label: Label = None,
    shard_size: ShardSize = 1024,
    limit: Limit = None,
    registry: Registry = None,
    overwrite: Overwrite = False,
    max_failed: MaxFailed = 0.1,
) -> None:
    """Score pictures: -log p in nats, and bits/dim."""
    from tasks.pixel_scoring import NllRequest, check_request

    request = NllRequest(
        source=source,
        output=output,
        model=model,
        registry=registry,
        split=split,
        size=size,
        label=label,
        shard_size=shard_size,
        limit=limit,
        overwrite=overwrite,
        max_failed=max_failed,
    )
    with explained():
        check_request(request)
        _ready(model, registry)
        from flows.pixels_measures import nll as flow

        start_server()
        values = asdict(request)
        del values["format"]
        report = flow(values.pop("source"), **values)
    for line in report.pictures:
        typer.echo(line)
    typer.echo(report.closing_line())


@app.command()
def sample(
    destination: Destination,
    model: Model = None,
    count: Annotated[int, typer.Option(help="Pictures.")] = 64,
    size: Annotated[
        str | None,
        typer.Option(help="28 or 48x32 pixels [default: 28 for a binary model, else 32]."),
    ] = None,
    label: Annotated[
        int | None, typer.Option(help="A class; by default each in turn, where there are some.")
    ] = None,
    temperature: Temperature = 1.0,
    seed: Annotated[int, typer.Option(help="The same one gives the same pictures.")] = 0,
    sampler: Sampler = None,
    sheet: Annotated[bool, typer.Option(help="Also write contact sheets.")] = True,
    shard_size: Annotated[int, typer.Option(help="Pictures per shard.")] = 64,
    registry: Registry = None,
    overwrite: Overwrite = False,
) -> None:
    """Draw pictures from a pixel model."""
    from tasks.pixel_sampling import SampleRequest, check_request

    request = SampleRequest(
        destination=destination,
        model=model,
        registry=registry,
        count=count,
        size=size,
        label=label,
        temperature=temperature,
        seed=seed,
        sampler=sampler.value if sampler else None,
        sheet=sheet,
        shard_size=shard_size,
        overwrite=overwrite,
    )
    with explained():
        check_request(request)
        _ready(model, registry)
        from flows.pixels import sample as flow

        start_server()
        summary = flow(**asdict(request))
    typer.echo(summary.closing_line())


@app.command()
def complete(
    source: Pictures,
    destination: Destination,
    model: Model = None,
    split: Split = None,
    hide: Annotated[
        str, typer.Option(help="top, bottom, left or right; or right:16 for 16 pixels.")
    ] = "bottom",
    share: Annotated[float, typer.Option(help="How much of it is hidden.")] = 0.5,
    mask: Annotated[
        str | None, typer.Option(help="Instead: a picture, white where pixels are hidden.")
    ] = None,
    completions: Annotated[int, typer.Option(help="Of each picture.")] = 4,
    size: Size = None,
    label: Label = None,
    temperature: Temperature = 1.0,
    seed: Annotated[int, typer.Option(help="The same one gives the same completions.")] = 0,
    sampler: Sampler = None,
    sheet: Annotated[bool, typer.Option(help="Also write sheets.")] = True,
    shard_size: Annotated[int, typer.Option(help="Images per shard.")] = 64,
    limit: Limit = None,
    registry: Registry = None,
    overwrite: Overwrite = False,
    max_failed: MaxFailed = 0.1,
    dry_run: DryRun = False,
) -> None:
    """Hide a part of every picture and let the model draw it, several times."""
    from tasks.pixel_completing import CompleteRequest, check_request

    request = CompleteRequest(
        source=source,
        destination=destination,
        model=model,
        registry=registry,
        split=split,
        hide=hide,
        share=share,
        mask=mask,
        completions=completions,
        size=size,
        label=label,
        temperature=temperature,
        seed=seed,
        sampler=sampler.value if sampler else None,
        sheet=sheet,
        shard_size=shard_size,
        limit=limit,
        overwrite=overwrite,
        max_failed=max_failed,
    )
    with explained():
        check_request(request)
        _ready(model, registry)
        from flows.pixels import complete as flow

        start_server()
        values = asdict(request)
        del values["format"]
        summary = flow(**values, dry_run=dry_run)
    tell(summary, dry_run=dry_run)


@app.command()
def features(
    source: Pictures,
    destination: Destination,
    model: Model = None,
    split: Split = None,
    layer: Annotated[
        int | None, typer.Option(help="Of the network, negative from the end [default: middle].")
    ] = None,
    grid: Annotated[int, typer.Option(help="Cells each way; 1 is the picture's mean.")] = 4,
    probe: Annotated[
        bool, typer.Option("--probe", help="Judge them by a linear classifier on the labels.")
    ] = False,
    size: Size = None,
    label: Label = None,
    shard_size: ShardSize = 1024,
    limit: Limit = None,
    registry: Registry = None,
    overwrite: Overwrite = False,
    max_failed: MaxFailed = 0.1,
    dry_run: DryRun = False,
) -> None:
    """Embed pictures by the model's activations, as Parquet rows."""
    from tasks.pixel_embedding import FeaturesRequest, check_request

    request = FeaturesRequest(
        source=source,
        destination=destination,
        model=model,
        registry=registry,
        split=split,
        layer=layer,
        grid=grid,
        probe=probe,
        size=size,
        label=label,
        shard_size=shard_size,
        limit=limit,
        overwrite=overwrite,
        max_failed=max_failed,
    )
    with explained():
        check_request(request)
        _ready(model, registry)
        from flows.pixels_measures import features as flow

        start_server()
        values = asdict(request)
        del values["format"]
        values["probe_labels"] = values.pop("probe")
        summary = flow(**values, dry_run=dry_run)
    tell(summary, dry_run=dry_run)
