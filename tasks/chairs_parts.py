"""How a dataset of chairs is kept: parts by split, a record a shard, dataset.json last.

    DESTINATION/request.json                      what shapes the dataset; written first
    DESTINATION/data/<split>/shard-00012.parquet  the rows of a shard
    DESTINATION/shards/shard-00012.json           its record: what was written; the shard's commit
    DESTINATION/failures.parquet                  renderings that could not be taken in
    DESTINATION/dataset.json                      the commit of the whole

No file but runs/ has a time or a run's name in it: one request gives the same bytes, whoever makes
them, in whatever order.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from typing import Any

from PIL import Image

from models.rendering import Pixels
from tasks import storage, tables
from tasks.chairs_card import (
    DATA,
    DESCRIPTION,
    FAILURES,
    ChairsContent,
    ChairsSummary,
    dataset_card,
    describe,
    to_json,
)
from tasks.chairs_request import write
from tasks.chairs_tables import CHAIR_FAILURES, CHAIRS, SPLITS, ChairFailure, ChairRow, Split
from tasks.failures import persistently
from tasks.runs import RunProgress

SHARDS = "shards"


@dataclass(frozen=True, kw_only=True)
class ShardRecord:
    """A finished shard. parts: path, split, rows, sha256 of each; fingerprint: of its sources."""

    number: int
    fingerprint: str
    parts: list[dict[str, Any]]
    failures: list[dict[str, str]]


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


def finished_shards(destination: str) -> dict[int, ShardRecord]:
    """The records of all finished shards, by number; a damaged one is not finished."""
    found: dict[int, ShardRecord] = {}
    try:
        pages = list(storage.list_pages(storage.join(destination, SHARDS)))
    except storage.NotFoundError:
        return found
    for entry in (e for page in pages for e in page):
        data = persistently(lambda uri=entry.uri: storage.read(uri))  # type: ignore[misc]
        try:
            record = ShardRecord(**json.loads(data))
        except (ValueError, TypeError):
            continue
        found[record.number] = record
    return found


def write_shard(
    destination: str,
    number: int,
    fingerprint: str,
    rows: Sequence[ChairRow],
    failures: Sequence[ChairFailure],
) -> ShardRecord:
    """Write a shard's rows, a part a split, and then its record, which commits it."""
    parts: list[dict[str, Any]] = []
    for split in SPLITS:
        own = [row for row in rows if row.split == split]
        if not own:
            continue
        path = f"{DATA}/{split}/shard-{number:05d}.parquet"
        data = tables.to_parquet(own, CHAIRS)
        write(destination, path, data)
        sha256 = hashlib.sha256(data).hexdigest()
        parts.append({"path": path, "split": split, "rows": len(own), "sha256": sha256})
    record = ShardRecord(
        number=number,
        fingerprint=fingerprint,
        parts=parts,
        failures=[asdict(failure) for failure in failures],
    )
    write(destination, f"{SHARDS}/shard-{number:05d}.json", to_json(asdict(record)))
    return record


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
    records = finished_shards(destination)
    missing = [n for n in range(shards) if n not in records]
    if missing:
        raise ValueError(f"shards {missing} are not finished: run it again")
    held = [records[n] for n in range(shards)]
    parts = sorted((p for record in held for p in record.parts), key=lambda part: part["path"])
    failures = [*odd, *(ChairFailure(**f) for record in held for f in record.failures)]  # type: ignore[arg-type]
    failures.sort(key=lambda failure: failure.source)
    told = describe(content, parts, failed=len(failures))
    write(destination, FAILURES, tables.to_parquet(failures, CHAIR_FAILURES))
    write(destination, "README.md", dataset_card(content, told).encode())
    write(destination, DESCRIPTION, to_json(told))
    _delete_left_over(destination, held)
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


def _delete_left_over(destination: str, held: Sequence[ShardRecord]) -> None:
    """Parts and records of shards that a smaller source no longer has."""
    kept = {storage.join(destination, part["path"]) for record in held for part in record.parts}
    kept |= {storage.join(destination, f"{SHARDS}/shard-{r.number:05d}.json") for r in held}
    for folder in (DATA, SHARDS):
        try:
            pages = list(storage.list_pages(storage.join(destination, folder)))
        except storage.NotFoundError:
            continue
        for entry in (e for page in pages for e in page):
            if entry.uri not in kept:
                storage.delete(entry.uri)
