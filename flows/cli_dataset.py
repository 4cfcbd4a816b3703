"""`pixelmill dataset`: one sub-command a kind of dataset."""

from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer

from flows.cli_dataset_chairs import chairs, chairs_ingest
from flows.cli_dataset_pixels import pixels
from flows.terminal import explained, in_background, quiet_prefect, start_server

app = typer.Typer(
    name="dataset",
    help="Make datasets for training and evaluation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class Degradation(StrEnum):
    """How a picture is made smaller: the published protocol, or what cameras and web sites do."""

    BICUBIC = "bicubic"
    PRACTICAL = "practical"


app.command("chairs")(chairs)
app.command("chairs-ingest")(chairs_ingest)
app.command("pixels")(pixels)


@app.callback()
def _root() -> None:
    """Make datasets for training and evaluation."""


@app.command()
def sr(
    source: Annotated[
        str, typer.Argument(help="Prefix, folder, glob, image, or Parquet/CSV list (column uri).")
    ],
    destination: Annotated[str, typer.Argument(help="Where the dataset is, or will be.")],
    scale: Annotated[int, typer.Option(help="How many times smaller.")] = 4,
    degradation: Annotated[
        Degradation, typer.Option(help="bicubic, or practical: blur, noise and JPEG, too.")
    ] = Degradation.BICUBIC,
    validation: Annotated[float, typer.Option(help="Share of pictures for validation.")] = 0.05,
    test: Annotated[float, typer.Option(help="Share of pictures for the test.")] = 0.05,
    seed: Annotated[int, typer.Option(help="Of the splits and the degradation.")] = 0,
    shard_size: Annotated[int, typer.Option(help="Images per shard.")] = 128,
    limit: Annotated[int | None, typer.Option(help="At most so many new images.")] = None,
    max_failed: Annotated[float, typer.Option(help="Share of failures that is allowed.")] = 0.1,
) -> None:
    """Make super-resolution pairs of every image that the dataset does not have yet."""
    from tasks.sr_request import SrDatasetRequest, check_request

    request = SrDatasetRequest(
        source=source,
        destination=destination,
        scale=scale,
        degradation=degradation.value,
        validation=validation,
        test=test,
        seed=seed,
        shard_size=shard_size,
        limit=limit,
        max_failed=max_failed,
    )
    with explained():
        check_request(request)
        # the server of Prefect starts in a process of its own: torch is imported meanwhile
        in_background(_preload)
        quiet_prefect()
        from flows.dataset import dataset_sr

        start_server()
        summary = dataset_sr(**asdict(request))
    typer.echo(summary.closing_line())


def _preload() -> None:
    import models.degradation  # noqa: F401
