"""How a super-resolution dataset describes itself: dataset.json, and a card for people."""

import json
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from tasks.sr_building import BuildConfig
from tasks.sr_index import SrIndex
from tasks.sr_pairs import DATA, SYSTEM

LEAKAGE = "leakage.parquet"

_CARD = """---
task_categories:
- image-to-image
tags:
- super-resolution
configs:
- config_name: default
  data_files:
{files}
---

# Super-resolution pairs, x{scale}, {kind}

{pictures} pictures in `image`, each {scale} times smaller in `low`. Made by pixelmill {pixelmill}:
`pixelmill dataset sr SOURCE DESTINATION --scale {scale} --degradation {kind}`.

| split | pictures |
|---|---|
{counts}

- Splits follow the sha256 of a source's bytes: one picture under two names is in one split, stored
  once ({copies} such copies were left out).
- {near_duplicates} near-duplicates lie in different splits; `{leakage}` lists them.
- Degradation: `{degradation}`.
- A source that was edited has another row for each version; the newest `finished_at` counts.
  `{index}` says which row of which part is current.
- Digest of the content: `{digest}`.
"""


def describe(
    held: SrIndex,
    config: BuildConfig,
    *,
    request: dict[str, Any],
    near_duplicates: int,
    index: str | None,
) -> dict[str, Any]:
    """What dataset.json says; without the name of an index, that nothing is finished yet."""
    finished = held if index else SrIndex()
    return {
        "system": SYSTEM,
        "scale": config.degradation.scale,
        "degradation": asdict(config.degradation),
        "request": request,
        "config_digest": config.config_digest,
        "counts": finished.counts(),
        "copies": finished.copies,
        "near_duplicates": near_duplicates,
        "digest": finished.digest(config.config_digest),
        "index": index,
        "pixelmill": version("pixelmill"),
    }


def to_json(told: dict[str, Any]) -> bytes:
    """The bytes of dataset.json."""
    return (json.dumps(told, indent=2) + "\n").encode()


def dataset_card(told: dict[str, Any]) -> str:
    """README.md: its head maps the splits that have pictures to their parts."""
    counts: dict[str, int] = told["counts"]
    filled = [split for split, pictures in counts.items() if pictures]
    files = [f"  - split: {split}\n    path: {DATA}/{split}/*.parquet" for split in filled]
    return _CARD.format(
        files="\n".join(files) or "  []",
        scale=told["scale"],
        kind=told["degradation"]["kind"],
        pictures=sum(counts.values()),
        pixelmill=told["pixelmill"],
        counts="\n".join(f"| {split} | {n} |" for split, n in counts.items()),
        copies=told["copies"],
        near_duplicates=told["near_duplicates"],
        leakage=LEAKAGE,
        degradation=json.dumps(told["degradation"]),
        index=told["index"],
        digest=told["digest"],
    )
