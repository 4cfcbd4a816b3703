"""What every bulk command asks and tells alike."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tasks.runs import RunSummary


class OutputFormat(StrEnum):
    """What to write; keep means the source's own format."""

    PNG = "png"
    WEBP = "webp"
    JPEG = "jpeg"
    KEEP = "keep"


class FeatureNetworkName(StrEnum):
    """Whose layers an optimiser looks at."""

    VGG19 = "vgg19"
    VGG16 = "vgg16"
    SQUEEZENET = "squeezenet1_0"


Source = Annotated[
    str, typer.Argument(help="Prefix, folder, glob, image, or Parquet/CSV list (column uri).")
]
Destination = Annotated[str, typer.Argument(help="Where images and manifest go.")]
Limit = Annotated[int | None, typer.Option(help="At most so many images.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Redo what is done.")]
MaxFailed = Annotated[float, typer.Option(help="Share of failures that is allowed.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only plan and count.")]
Registry = Annotated[
    str | None, typer.Option(envvar="PIXELMILL_REGISTRY", help="Where trained models are.")
]


def tell(summary: "RunSummary", *, dry_run: bool) -> None:
    """A line for each picture of a small run, then the closing line."""
    for line in summary.pictures:
        typer.echo(line)
    typer.echo(_planned(summary) if dry_run else summary.closing_line())


def _planned(summary: "RunSummary") -> str:
    left_out = ", ".join(f"{n} {reason}" for reason, n in sorted(summary.left_out.items()))
    to_do = summary.to_do
    return (
        f"{summary.found} images found, {summary.already_done} done already, {to_do} to do;"
        f" left out: {left_out or 'nothing'}; nothing was written to {summary.destination}"
    )
