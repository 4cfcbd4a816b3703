"""What every command of pixel models asks alike."""

from typing import Annotated

import typer

Pictures = Annotated[
    str,
    typer.Argument(
        help="Prefix, folder, glob, image, list (column uri), or a dataset of `dataset pixels`."
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        help="A shipped name, NAME or NAME@VERSION in a registry, or a URI [default: digits]."
    ),
]
Split = Annotated[
    str | None, typer.Option(help="Of a dataset: train, validation or test [default: all].")
]
Size = Annotated[int | None, typer.Option(help="Cut the middle square, reduced to so many pixels.")]
Label = Annotated[
    int | None, typer.Option(help="The class, for a model that has some; else the dataset's.")
]
ShardSize = Annotated[int, typer.Option(help="Images per shard.")]
