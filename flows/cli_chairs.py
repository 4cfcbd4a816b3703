"""`pixelmill train chairs` and `pixelmill evaluate chairs`."""

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from flows.terminal import explained, quiet_prefect, start_server

if TYPE_CHECKING:
    from rich.table import Table

    from tasks.chairs_evaluation import ChairsReport
    from tasks.chairs_result_tables import ChairScoreRow

_PLAIN_WIDTH = 140
_WORST = 5


class Split(StrEnum):
    """Of a dataset."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


def train_chairs(
    dataset: Annotated[
        str, typer.Argument(help="A dataset of `dataset chairs` or `dataset chairs-ingest`.")
    ],
    registry: Annotated[
        str,
        typer.Option(envvar="PIXELMILL_REGISTRY", help="Where versions and checkpoints go."),
    ],
    name: Annotated[str, typer.Option(help="The generator's name in the registry.")],
    config: Annotated[str | None, typer.Option(help="A TOML file of settings.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="key=value, e.g. steps=20000, chairs=64, azimuths=8, network.size=64."
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--from", help="Go on from a shipped name, NAME[@VERSION] or checkpoint."),
    ] = None,
) -> None:
    """Train a generator of chairs; stopped or killed, the same command goes on."""
    with explained():
        quiet_prefect()
        from models.chair_training import ChairTraining
        from tasks.chairs_training import TrainChairsRequest, open_job
        from tasks.settings import merged, parse_assignments, read_toml, typed

        values = merged(read_toml(config) if config else {}, parse_assignments(set_ or []))
        training = typed(ChairTraining, values)
        open_job(
            TrainChairsRequest(
                dataset=dataset, registry=registry, name=name, training=training, start=start
            )
        )
        from flows.train_chairs import train_chairs as flow

        start_server()
        summary = flow(dataset, registry, name, training=training, start=start)
    typer.echo(summary.closing_line())


def evaluate_chairs(
    model: Annotated[
        str, typer.Argument(help="A shipped name, NAME or NAME@VERSION, or a checkpoint's URI.")
    ],
    dataset: Annotated[str, typer.Argument(help="A dataset of chairs.")],
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
    limit: Annotated[int | None, typer.Option(help="The first so many chairs.")] = None,
    morphs: Annotated[int, typer.Option(help="So many pairs of chairs are morphed.")] = 8,
    steps: Annotated[int, typer.Option(help="Pictures of a morph.")] = 17,
) -> None:
    """Judge a generator on held-out views, beside the nearest training view, and on morphs."""
    from tasks.chairs_evaluation import EvaluateChairsRequest, check_request

    request = EvaluateChairsRequest(
        model=model,
        dataset=dataset,
        split=split.value,
        output=output,
        registry=registry,
        limit=limit,
        morphs=morphs,
        steps=steps,
    )
    with explained():
        check_request(request)
        quiet_prefect()
        from flows.evaluate_chairs import evaluate_chairs as flow

        start_server()
        report = flow(**vars(request))
    _show(report)


def _show(report: "ChairsReport") -> None:
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=_PLAIN_WIDTH)
    for table in chair_tables(report):
        console.print(table)
    for note in report.notes:
        typer.echo(note)
    typer.echo(report.closing_line())


def chair_tables(report: "ChairsReport") -> "list[Table]":
    """The means; the worst chairs; the means by elevation; the morphs."""
    from rich.table import Table

    means = Table(title=f"{report.views} {report.split} views", title_justify="left")
    means.add_column("")
    for heading in ("mask IoU", "RGB MSE", "RGB MSE in the mask"):
        means.add_column(heading, justify="right")
    for name, prefix in ((report.model, ""), ("nearest training view", "nearest_")):
        values = [report.means[f"{prefix}{m}"] for m in ("mask_iou", "rgb_mse", "masked_rgb_mse")]
        means.add_row(name, f"{values[0]:.4f}", f"{values[1]:.5f}", f"{values[2]:.5f}")
    worst = sorted(report.by_chair, key=lambda row: row.mask_iou)[:_WORST]
    named = [(str(row.name), row) for row in worst]
    directions = [(f"{r.azimuth:.1f} / {r.elevation:g}", r) for r in
                  sorted(report.by_view, key=lambda row: row.mask_iou)[:_WORST]]  # fmt: skip
    found = [
        means,
        _rows_table(f"The worst of {len(report.by_chair)} chairs", named),
        _rows_table(f"The worst of {len(report.by_view)} views, azimuth / elevation", directions),
    ]
    if report.morphs:
        morphs = Table(title="Morphs against the true ones", title_justify="left")
        morphs.add_column("measure")
        morphs.add_column("value", justify="right")
        for name, value in report.morphs.items():
            morphs.add_row(name, f"{value:.5f}")
        found.append(morphs)
    return found


def _rows_table(title: str, rows: "Sequence[tuple[str, ChairScoreRow]]") -> "Table":
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    table.add_column("")
    for heading in ("views", "mask IoU", "RGB MSE", "nearest IoU", "nearest RGB MSE"):
        table.add_column(heading, justify="right")
    for name, row in rows:
        table.add_row(
            name,
            str(row.views),
            f"{row.mask_iou:.4f}",
            f"{row.rgb_mse:.5f}",
            f"{row.nearest_mask_iou:.4f}",
            f"{row.nearest_rgb_mse:.5f}",
        )
    return table
