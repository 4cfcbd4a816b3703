"""The closing files of a dataset for pixel models, which is kept as `tasks.dataset_parts` says."""

from collections import Counter

from tasks import tables
from tasks.dataset_parts import (
    DESCRIPTION,
    FAILURES,
    all_shards,
    delete_left_over,
    parts_of,
    to_json,
    write,
)
from tasks.pixels_card import PixelsContent, PixelsSummary, dataset_card, describe
from tasks.runs import RunProgress
from tasks.tables import SrFailure


def close(
    destination: str, content: PixelsContent, shards: int, progress: RunProgress, run: str
) -> PixelsSummary:
    """Write failures, card and dataset.json, of shards 0 to `shards` - 1; drop what is left over.

    Raises:
        ValueError: one of the shards is not finished.
    """
    held = all_shards(destination, shards)
    failures = [SrFailure(**failure) for record in held for failure in record.failures]
    told = describe(content, parts_of(held), failed=len(failures))
    write(destination, FAILURES, tables.to_parquet(failures, tables.SR_FAILURES))
    write(destination, "README.md", dataset_card(content, told).encode())
    write(destination, DESCRIPTION, to_json(told))
    delete_left_over(destination, held)
    return PixelsSummary(
        run=run,
        destination=destination,
        digest=told["digest"],
        height=content.height,
        width=content.width,
        counts=told["counts"],
        new=progress.ok,
        already_done=progress.counts.already_done,
        failed=len(failures),
        failures=dict(Counter(failure.error_type for failure in failures)),
        left_out=dict(progress.counts.left_out),
        seconds=progress.seconds,
    )
