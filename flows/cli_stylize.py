"""`pixelmill stylize`."""

from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer

from flows.bulk_options import (
    Destination,
    DryRun,
    FeatureNetworkName,
    Limit,
    MaxFailed,
    OutputFormat,
    Overwrite,
    Registry,
    Source,
    tell,
)
from flows.terminal import explained, quiet_prefect, start_server


class Method(StrEnum):
    """How a picture is stylized."""

    FEEDFORWARD = "feedforward"
    OPTIMISE = "optimise"


def stylize(
    source: Source,
    destination: Destination,
    style: Annotated[
        list[str], typer.Option(help="NAME or IMAGE, with =WEIGHT for a blend of several.")
    ],
    method: Annotated[
        Method, typer.Option(help="A trained network, or minutes a picture and any image.")
    ] = Method.FEEDFORWARD,
    model: Annotated[
        str | None,
        typer.Option(help="A shipped name, NAME or NAME@VERSION, or a URI [default: painter]."),
    ] = None,
    registry: Registry = None,
    original_colors: Annotated[
        bool, typer.Option("--original-colors", help="Keep each picture's colours.")
    ] = False,
    size: Annotated[
        int | None, typer.Option(help="Longer side of the output; by default the picture's.")
    ] = None,
    tile: Annotated[int, typer.Option(help="Largest side in memory, pixels.")] = 1024,
    content_weight: Annotated[float | None, typer.Option(help="optimise: the content's.")] = None,
    style_weight: Annotated[float | None, typer.Option(help="optimise: the styles'.")] = None,
    tv_weight: Annotated[float | None, typer.Option(help="optimise: total variation's.")] = None,
    iterations: Annotated[int, typer.Option(help="optimise: of L-BFGS.")] = 300,
    start: Annotated[str, typer.Option(help="optimise: content, noise or an image.")] = "content",
    mask: Annotated[
        list[str] | None,
        typer.Option(help="optimise: one a style, white where it applies: an image or a place."),
    ] = None,
    style_scale: Annotated[
        float, typer.Option(help="optimise: a style's longer side over the picture's.")
    ] = 1.0,
    keep_every: Annotated[
        int, typer.Option(help="optimise: iterations between pictures kept in Parquet.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="optimise: of a start from noise.")] = 0,
    network: Annotated[
        FeatureNetworkName | None, typer.Option(help="optimise: whose layers.")
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            envvar="PIXELMILL_FEATURES",
            help="optimise: the network's weights; else torchvision's.",
        ),
    ] = None,
    format: Annotated[OutputFormat, typer.Option(help="What to write.")] = OutputFormat.PNG,  # noqa: A002
    shard_size: Annotated[int, typer.Option(help="Images per shard.")] = 64,
    limit: Limit = None,
    overwrite: Overwrite = False,
    max_failed: MaxFailed = 0.1,
    dry_run: DryRun = False,
) -> None:
    """Paint every picture of a collection in one or more styles."""
    with explained():
        from tasks.stylizing import StylizeRequest, check_request

        request = StylizeRequest(
            source=source,
            destination=destination,
            styles=tuple(style),
            method=method.value,
            model=model,
            registry=registry,
            original_colors=original_colors,
            size=size,
            tile=tile,
            content_weight=content_weight,
            style_weight=style_weight,
            tv_weight=tv_weight,
            iterations=iterations,
            start=start,
            masks=tuple(mask or ()),
            style_scale=style_scale,
            keep_every=keep_every,
            seed=seed,
            network=network.value if network else None,
            features=features,
            format=format.value,
            shard_size=shard_size,
            limit=limit,
            overwrite=overwrite,
            max_failed=max_failed,
        )
        check_request(request)
        quiet_prefect()
        from flows.stylize import stylize as flow

        start_server()
        summary = flow(**asdict(request), dry_run=dry_run)
    tell(summary, dry_run=dry_run)
