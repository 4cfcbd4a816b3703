"""`pixelmill dataset chairs` and `chairs-ingest`."""

from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer

from flows.terminal import explained, in_background, quiet_prefect, start_server

_Destination = Annotated[str, typer.Argument(help="Where the dataset is, or will be.")]
_Size = Annotated[int, typer.Option(help="Pixels on a side.")]
_Validation = Annotated[float, typer.Option(help="Share of each chair's views for validation.")]
_Test = Annotated[float, typer.Option(help="Share of each chair's views for the test.")]


class Holes(StrEnum):
    """What white areas are that a chair encloses: a part of it, or what is behind it."""

    OBJECT = "object"
    BACKGROUND = "background"


def chairs(
    destination: _Destination,
    chairs: Annotated[int, typer.Option(help="How many chairs, each a class.")] = 809,
    azimuths: Annotated[int, typer.Option(help="Views round a chair.")] = 31,
    elevations: Annotated[str, typer.Option(help="Degrees, separated by commas.")] = "20,30",
    size: _Size = 128,
    seed: Annotated[int, typer.Option(help="Of the chairs and the splits.")] = 0,
    samples: Annotated[int, typer.Option(help="Rays along each side of a pixel.")] = 3,
    validation: _Validation = 0.05,
    test: _Test = 0.1,
    shard_size: Annotated[int, typer.Option(help="Chairs per shard.")] = 16,
) -> None:
    """Render parametric chairs from all sides, with masks."""
    from tasks.chairs_dataset import ChairsRequest, check_request

    with explained():
        request = ChairsRequest(
            destination=destination,
            chairs=chairs,
            azimuths=azimuths,
            elevations=_numbers(elevations),
            size=size,
            seed=seed,
            samples=samples,
            validation=validation,
            test=test,
            shard_size=shard_size,
        )
        check_request(request)
        in_background(_preload)
        quiet_prefect()
        from flows.dataset_chairs import dataset_chairs

        start_server()
        summary = dataset_chairs(**asdict(request))
    typer.echo(summary.closing_line())


def chairs_ingest(
    source: Annotated[str, typer.Argument(help="MODEL/renders/image_III_pEEE_tAAA_rRRR.png.")],
    destination: _Destination,
    size: _Size = 128,
    parameters: Annotated[
        str | None,
        typer.Option(
            help="CSV or Parquet of renderings named otherwise: path, class, azimuth, elevation."
        ),
    ] = None,
    holes: Annotated[
        Holes, typer.Option(help="What white is that a chair encloses: its own, or behind it.")
    ] = Holes.BACKGROUND,
    seed: Annotated[int, typer.Option(help="Of the splits.")] = 0,
    validation: _Validation = 0.05,
    test: _Test = 0.1,
    shard_size: Annotated[int, typer.Option(help="Classes per shard.")] = 16,
    max_failed: Annotated[float, typer.Option(help="Share of failures that is allowed.")] = 0.1,
) -> None:
    """Take existing renderings on white into a dataset, with masks."""
    from tasks.chairs_ingest import IngestRequest, check_request

    request = IngestRequest(
        source=source,
        destination=destination,
        size=size,
        parameters=parameters,
        holes=holes.value,
        seed=seed,
        validation=validation,
        test=test,
        shard_size=shard_size,
        max_failed=max_failed,
    )
    with explained():
        check_request(request)
        quiet_prefect()
        from flows.dataset_chairs import dataset_chairs_ingest

        start_server()
        summary = dataset_chairs_ingest(**asdict(request))
    typer.echo(summary.closing_line())


def _numbers(text: str) -> tuple[float, ...]:
    from tasks.failures import RequestError

    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise RequestError(
            f"elevations must be numbers separated by commas, got {text!r}"
        ) from error


def _preload() -> None:
    import models.chair_shapes  # noqa: F401
