"""How a dataset for pixel models describes itself: dataset.json, a card, a closing line."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from tasks.dataset_parts import DATA, FAILURES, dataset_digest, rows_by_split

SYSTEM = "pixels"

_CARD = """---
task_categories:
- unconditional-image-generation
configs:
- config_name: default
  data_files:
{files}
---

# Small pictures for pixel models

{pictures} pictures of {width} x {height} pixels, {tones}: `image`. Made by pixelmill {pixelmill}:
`{made_by}`.

| split | pictures |
|---|---|
{counts}

- {splits}
- `label`: {labels}. `source` is the picture's place in its collection, `source_digest` the SHA-256
  of its size and pixels.
- Sources that could not be taken in: {failed}.
- Digest of the content: `{digest}`.
"""

_BY_CONTENT = (
    "Splits follow a picture's pixels and the seed: copies, and all patches of one picture, lie in"
    " one split."
)
_OWN = "Splits are the source's own; what it lacks is taken out of its training split by content."


@dataclass(frozen=True, kw_only=True)
class PixelsContent:
    """What dataset.json says beside what the shards hold.

    levels: values of a pixel; 2 are stored as 0 and 255. names: of the labels, by number.
    own_splits: the source had splits.
    """

    request: dict[str, Any]
    config_digest: str
    height: int
    width: int
    channels: int
    levels: int
    names: tuple[str, ...]
    own_splits: bool
    made_by: str


@dataclass(frozen=True, kw_only=True)
class PixelsSummary:
    """What a dataset holds after a run; new, already_done and failed count source pictures."""

    run: str
    destination: str
    digest: str
    height: int
    width: int
    counts: dict[str, int]
    new: int
    already_done: int
    failed: int
    failures: dict[str, int]
    left_out: dict[str, int]
    seconds: float

    @property
    def failed_share(self) -> float:
        """Failed sources among all."""
        return self.failed / max(1, self.new + self.already_done + self.failed)

    def closing_line(self) -> str:
        """What the dataset holds, and where it is, in one line."""
        by_split = ", ".join(f"{n} {split}" for split, n in self.counts.items())
        total = sum(self.counts.values())
        parts = [
            f"{total} pictures of {self.width}x{self.height}: {by_split} ({self.new} sources new)"
        ]
        if self.failed:
            kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(self.failures.items()))
            parts.append(f"{self.failed} failed ({kinds}; see {FAILURES})")
        if self.left_out:
            parts.append(f"{sum(self.left_out.values())} files left out")
        return f"{', '.join(parts)}; {self.seconds:.1f} s: {self.destination}"


def describe(
    content: PixelsContent, parts: Sequence[dict[str, Any]], *, failed: int
) -> dict[str, Any]:
    """What dataset.json says; parts: path, split, rows and sha256 of each, by path."""
    return {
        "system": SYSTEM,
        "request": content.request,
        "config_digest": content.config_digest,
        "digest": dataset_digest(content.config_digest, parts),
        "height": content.height,
        "width": content.width,
        "channels": content.channels,
        "levels": content.levels,
        "names": list(content.names),
        "counts": rows_by_split(parts),
        "failed": failed,
        "parts": parts,
        "pixelmill": version("pixelmill"),
    }


def dataset_card(content: PixelsContent, told: dict[str, Any]) -> str:
    """README.md: its head maps the splits that have pictures to their parts."""
    filled = [split for split, pictures in told["counts"].items() if pictures]
    files = [f"  - split: {split}\n    path: {DATA}/{split}/*.parquet" for split in filled]
    tones = {1: "gray", 3: "RGB"}[content.channels] if content.levels > 2 else "black or white"
    return _CARD.format(
        files="\n".join(files) or "  []",
        pictures=sum(told["counts"].values()),
        width=content.width,
        height=content.height,
        tones=tones,
        pixelmill=told["pixelmill"],
        made_by=content.made_by,
        counts="\n".join(f"| {split} | {n} |" for split, n in told["counts"].items()),
        splits=_OWN if content.own_splits else _BY_CONTENT,
        labels=f"of {len(content.names)} classes" if content.names else "none",
        failed=f"{told['failed']}, listed in `{FAILURES}`" if told["failed"] else "none",
        digest=told["digest"],
    )
