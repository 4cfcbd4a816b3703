"""What is a chair dataset's own in how it is kept: splits of views, PNGs, its closing files.

The rest is `tasks.dataset_parts`.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from io import BytesIO

from PIL import Image

from models.rendering import Pixels
from tasks import tables
from tasks.chairs_card import ChairsContent, ChairsSummary, dataset_card, describe
from tasks.chairs_tables import CHAIR_FAILURES, ChairFailure
from tasks.dataset_parts import (
    DESCRIPTION,
    FAILURES,
    Split,
    all_shards,
    delete_left_over,
    parts_of,
    to_json,
    write,
)
from tasks.runs import RunProgress


def splits_of(
    name: str, views: Sequence[tuple[float, float]], *, seed: int, validation: float, test: float
) -> list[Split]:
    """The split of each of a chair's views, (azimuth, elevation) in degrees.

    Those whose hash comes first are held out: the share `test` of them, then `validation`, each
    rounded; but one at least of each where there are four views or more and the share is not 0.
    """

    def rank(number: int) -> bytes:
        azimuth, elevation = views[number]
        told = f"{seed} {name} {azimuth:.4f} {elevation:.4f}"
        return hashlib.blake2b(told.encode("utf-8", "surrogatepass"), digest_size=16).digest()

    least = int(len(views) >= 4)
    tested = max(round(len(views) * test), least if test else 0)
    held_out = tested + max(round(len(views) * validation), least if validation else 0)
    splits: list[Split] = ["train"] * len(views)
    for place, number in enumerate(sorted(range(len(views)), key=rank)):
        if place < held_out:
            splits[number] = "test" if place < tested else "validation"
    return splits


def png(pixels: Pixels) -> bytes:
    """The bytes of a PNG of (H, W, 3) or (H, W) uint8."""
    sink = BytesIO()
    Image.fromarray(pixels).save(sink, "PNG", compress_level=6)
    return sink.getvalue()


def close(
    destination: str,
    content: ChairsContent,
    shards: int,
    odd: Sequence[ChairFailure],
    progress: RunProgress,
    run: str,
) -> ChairsSummary:
    """Write failures, card and dataset.json, of shards 0 to `shards` - 1; drop what is left over.

    Raises:
        ValueError: one of the shards is not finished.
    """
    held = all_shards(destination, shards)
    failures = [*odd, *(ChairFailure(**f) for record in held for f in record.failures)]  # type: ignore[arg-type]
    failures.sort(key=lambda failure: failure.source)
    told = describe(content, parts_of(held), failed=len(failures))
    write(destination, FAILURES, tables.to_parquet(failures, CHAIR_FAILURES))
    write(destination, "README.md", dataset_card(content, told).encode())
    write(destination, DESCRIPTION, to_json(told))
    delete_left_over(destination, held)
    return ChairsSummary(
        run=run,
        destination=destination,
        digest=told["digest"],
        chairs=len(content.names),
        counts=told["counts"],
        new=progress.ok,
        already_done=progress.counts.already_done,
        failed=len(failures),
        failures=dict(Counter(failure.error_type for failure in failures)),
        left_out=dict(progress.counts.left_out),
        seconds=progress.seconds,
    )
