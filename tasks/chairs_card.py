"""How a dataset of chairs describes itself: dataset.json, a card for people, a closing line."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from tasks.dataset_parts import DATA, FAILURES, dataset_digest, rows_by_split

SYSTEM = "chairs"

_CARD = """---
task_categories:
- image-to-image
tags:
- chairs
configs:
- config_name: default
  data_files:
{files}
---

# Views of chairs

{views} views of {chairs} chairs, {size} x {size} pixels, on white: `image`, and `mask`, the
share of each pixel that the chair covers (0..255). Made by pixelmill {pixelmill}: `{made_by}`.

| split | views |
|---|---|
{counts}

- Held out are views, not chairs: of each chair's views, those whose hash comes first are of the
  test split, the next of validation.
- `azimuth` and `elevation` are degrees, `chair` is the class's number, `name` its name.
- Renderings that could not be taken in: {failed}.
- Digest of the content: `{digest}`.
"""


@dataclass(frozen=True, kw_only=True)
class ChairsContent:
    """What dataset.json says beside what the shards hold."""

    request: dict[str, Any]
    config_digest: str
    size: int
    names: tuple[str, ...]
    azimuths: tuple[float, ...]
    elevations: tuple[float, ...]
    made_by: str


@dataclass(frozen=True, kw_only=True)
class ChairsSummary:
    """What a dataset holds after a run, and what the run has added."""

    run: str
    destination: str
    digest: str
    chairs: int
    counts: dict[str, int]
    new: int
    already_done: int
    failed: int
    failures: dict[str, int]
    left_out: dict[str, int]
    seconds: float

    @property
    def failed_share(self) -> float:
        """Failed renderings among all that the dataset was made of."""
        return self.failed / max(1, sum(self.counts.values()) + self.failed)

    def closing_line(self) -> str:
        """What the dataset holds, and where it is, in one line."""
        total = sum(self.counts.values())
        by_split = ", ".join(f"{n} {split}" for split, n in self.counts.items())
        parts = [f"{total} views of {self.chairs} chairs: {by_split} ({self.new} new)"]
        if self.failed:
            kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(self.failures.items()))
            parts.append(f"{self.failed} failed ({kinds}; see {FAILURES})")
        if self.left_out:
            parts.append(f"{sum(self.left_out.values())} files left out")
        return f"{', '.join(parts)}; {self.seconds:.1f} s: {self.destination}"


def describe(
    content: ChairsContent, parts: Sequence[dict[str, Any]], *, failed: int
) -> dict[str, Any]:
    """What dataset.json says; parts: path, split, rows and sha256 of each, by path."""
    return {
        "system": SYSTEM,
        "request": content.request,
        "config_digest": content.config_digest,
        "digest": dataset_digest(content.config_digest, parts),
        "size": content.size,
        "chairs": len(content.names),
        "counts": rows_by_split(parts),
        "failed": failed,
        "azimuths": list(content.azimuths),
        "elevations": list(content.elevations),
        "names": list(content.names),
        "parts": parts,
        "pixelmill": version("pixelmill"),
    }


def dataset_card(content: ChairsContent, told: dict[str, Any]) -> str:
    """README.md: its head maps the splits that have views to their parts."""
    filled = [split for split, views in told["counts"].items() if views]
    files = [f"  - split: {split}\n    path: {DATA}/{split}/*.parquet" for split in filled]
    failed = f"{told['failed']}, listed in `{FAILURES}`" if told["failed"] else "none"
    return _CARD.format(
        files="\n".join(files) or "  []",
        views=sum(told["counts"].values()),
        chairs=told["chairs"],
        size=content.size,
        pixelmill=told["pixelmill"],
        made_by=content.made_by,
        counts="\n".join(f"| {split} | {n} |" for split, n in told["counts"].items()),
        failed=failed,
        digest=told["digest"],
    )
