"""How a dataset for pixel models is kept: as one of chairs is, see `tasks.chairs_parts`.

DESTINATION/request.json                      what shapes the dataset; written first
DESTINATION/data/<split>/shard-00012.parquet  the rows of a shard
DESTINATION/shards/shard-00012.json           its record, the shard's commit
DESTINATION/failures.parquet                  sources that could not be taken in
DESTINATION/dataset.json                      the commit of the whole
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from tasks import storage, tables
from tasks.chairs_parts import SHARDS, ShardRecord, finished_shards
from tasks.chairs_request import write
from tasks.pixels_card import (
    DATA,
    DESCRIPTION,
    FAILURES,
    PixelsContent,
    PixelsSummary,
    dataset_card,
    describe,
    to_json,
)
from tasks.pixels_dataset_tables import SPLITS, PixelRow
from tasks.runs import RunProgress
from tasks.tables import SrFailure


def write_shard(
    destination: str,
    record: ShardRecord,
    rows: Sequence[PixelRow],
    schema: pa.Schema,
) -> None:
    """Write a shard's rows, a part a split, and then its record, which commits it.

    Args:
        record: without its parts.
    """
    name = f"shard-{record.number:05d}"
    for split in SPLITS:
        own = [row for row in rows if row.split == split]
        if own:
            path, data = f"{DATA}/{split}/{name}.parquet", tables.to_parquet(own, schema)
            write(destination, path, data)
            sha256 = hashlib.sha256(data).hexdigest()
            record.parts.append({"path": path, "split": split, "rows": len(own), "sha256": sha256})
    write(destination, f"{SHARDS}/{name}.json", to_json(asdict(record)))


def close(
    destination: str, content: PixelsContent, shards: int, progress: RunProgress, run: str
) -> PixelsSummary:
    """Write failures, card and dataset.json, of shards 0 to `shards` - 1; drop what is left over.

    Raises:
        ValueError: one of the shards is not finished.
    """
    records = finished_shards(destination)
    missing = [n for n in range(shards) if n not in records]
    if missing:
        raise ValueError(f"shards {missing} are not finished: run it again")
    held = [records[n] for n in range(shards)]
    parts: list[dict[str, Any]] = [part for record in held for part in record.parts]
    parts.sort(key=lambda part: str(part["path"]))
    failures = [SrFailure(**failure) for record in held for failure in record.failures]
    told = describe(content, parts, failed=len(failures))
    write(destination, FAILURES, tables.to_parquet(failures, tables.SR_FAILURES))
    write(destination, "README.md", dataset_card(content, told).encode())
    write(destination, DESCRIPTION, to_json(told))
    _delete_left_over(destination, held)
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


def _delete_left_over(destination: str, held: Sequence[ShardRecord]) -> None:
    """Parts and records of shards that the source no longer has."""
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
