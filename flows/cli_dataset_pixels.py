"""`pixelmill dataset pixels`."""

from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer

from flows.terminal import explained, quiet_prefect, start_server


class Fit(StrEnum):
    """What of a picture is reduced: the square in its middle, or all of it."""

    CROP = "crop"
    STRETCH = "stretch"


class Labels(StrEnum):
    """Where labels come from; arrays bring their own."""

    NONE = "none"
    FOLDER = "folder"


def pixels(
    source: Annotated[
        str, typer.Argument(help="Images (prefix, glob, list), an .npz, or CIFAR-10's folder.")
    ],
    destination: Annotated[str, typer.Argument(help="Where the dataset is, or will be.")],
    size: Annotated[
        int | None, typer.Option(help="Pixels on a side; by default 32, and arrays' own.")
    ] = None,
    patches: Annotated[
        int, typer.Option(help="So many patches of each picture; 0 reduces the whole picture.")
    ] = 0,
    fit: Annotated[
        Fit, typer.Option(help="What is reduced: the square in the middle, or all.")
    ] = Fit.CROP,
    gray: Annotated[bool, typer.Option("--gray", help="One channel.")] = False,
    binary: Annotated[
        bool, typer.Option("--binary", help="Black and white, parted at half.")
    ] = False,
    labels: Annotated[
        Labels, typer.Option(help="folder: the name of an image's folder.")
    ] = Labels.NONE,
    seed: Annotated[int, typer.Option(help="Of the patches and the splits.")] = 0,
    validation: Annotated[float, typer.Option(help="Share of pictures for validation.")] = 0.05,
    test: Annotated[float, typer.Option(help="Share of pictures for the test.")] = 0.1,
    shard_size: Annotated[int, typer.Option(help="Source pictures per shard.")] = 2048,
    max_failed: Annotated[float, typer.Option(help="Share of failures that is allowed.")] = 0.1,
) -> None:
    """Cut a collection into small pictures for pixel models."""
    from tasks.pixels_request import PixelsRequest, check_request

    request = PixelsRequest(
        source=source,
        destination=destination,
        size=size,
        patches=patches,
        fit=fit.value,
        gray=gray,
        binary=binary,
        labels=labels.value,
        seed=seed,
        validation=validation,
        test=test,
        shard_size=shard_size,
        max_failed=max_failed,
    )
    with explained():
        check_request(request)
        quiet_prefect()
        from flows.dataset_pixels import dataset_pixels

        start_server()
        summary = dataset_pixels(**asdict(request))
    typer.echo(summary.closing_line())
