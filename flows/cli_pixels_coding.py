"""`pixelmill pixels compress` and `decompress`."""

from dataclasses import asdict
from typing import Annotated

import typer

from flows.bulk_options import (
    Destination,
    DryRun,
    Limit,
    MaxFailed,
    Overwrite,
    Registry,
    tell,
)
from flows.pixel_options import Label, Model, Pictures, ShardSize, Split
from flows.terminal import explained, quiet_prefect, start_server


def compress(
    source: Pictures,
    destination: Destination,
    model: Model = None,
    split: Split = None,
    label: Label = None,
    shard_size: ShardSize = 1024,
    limit: Limit = None,
    registry: Registry = None,
    overwrite: Overwrite = False,
    max_failed: MaxFailed = 0.1,
    dry_run: DryRun = False,
) -> None:
    """Compress pictures without loss; a picture that the model cannot hold exactly fails."""
    from tasks.pixel_compressing import CompressRequest, check_request

    request = CompressRequest(
        source=source,
        destination=destination,
        model=model,
        registry=registry,
        split=split,
        label=label,
        shard_size=shard_size,
        limit=limit,
        overwrite=overwrite,
        max_failed=max_failed,
    )
    with explained():
        check_request(request)
        quiet_prefect()
        from flows.pixels_coding import compress as flow

        start_server()
        values = asdict(request)
        del values["format"]
        summary = flow(**values, dry_run=dry_run)
    tell(summary, dry_run=dry_run)


def decompress(
    source: Annotated[
        str, typer.Argument(help="A destination of `pixels compress`, or one .pxm file.")
    ],
    destination: Destination,
    model: Model = None,
    shard_size: ShardSize = 1024,
    limit: Limit = None,
    registry: Registry = None,
    overwrite: Overwrite = False,
    max_failed: MaxFailed = 0.1,
    dry_run: DryRun = False,
) -> None:
    """Restore compressed pictures as PNGs, exactly or not at all; by the model that made them."""
    from tasks.pixel_decompressing import DecompressRequest, check_request

    request = DecompressRequest(
        source=source,
        destination=destination,
        model=model,
        registry=registry,
        shard_size=shard_size,
        limit=limit,
        overwrite=overwrite,
        max_failed=max_failed,
    )
    with explained():
        check_request(request)
        quiet_prefect()
        from flows.pixels_coding import decompress as flow

        start_server()
        values = asdict(request)
        del values["format"]
        summary = flow(**values, dry_run=dry_run)
    tell(summary, dry_run=dry_run)
