"""The Parquet schemas of datasets and scores of pixel models."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import pyarrow as pa

from tasks.dataset_parts import Split
from tasks.tables import PICTURE, UTC_TIME, hugging_face_schema

_PIXEL_COLUMNS: dict[str, pa.DataType] = {
    "image": PICTURE,
    "label": pa.int64(),
    "source": pa.string(),
    "source_digest": pa.string(),
    "split": pa.string(),
}

_SCORE_COLUMNS: dict[str, pa.DataType] = {
    "model": pa.string(),
    "model_digest": pa.string(),
    "source": pa.string(),
    "label": pa.int64(),
    "nats": pa.float64(),
    "bits_per_dimension": pa.float64(),
    "place_nats": pa.float64(),
    "channel_nats": pa.float64(),
    "run": pa.string(),
    "at": UTC_TIME,
}
PIXEL_SCORES = pa.schema(_SCORE_COLUMNS)


def pixels_schema(names: Sequence[str]) -> pa.Schema:
    """The schema of a dataset whose labels have these names; none: its labels say nothing."""
    schema = hugging_face_schema(_PIXEL_COLUMNS)
    if not names:
        return schema
    told = json.loads(schema.metadata[b"huggingface"])
    told["info"]["features"]["label"] = {"names": list(names), "_type": "ClassLabel"}
    return schema.with_metadata({"huggingface": json.dumps(told)})


@dataclass(frozen=True, kw_only=True, slots=True)
class PixelRow:
    """One small picture, PNG. source: its place below the collection; source_digest: of content."""

    image: dict[Literal["bytes", "path"], bytes | str]
    label: int | None
    source: str
    source_digest: str
    split: Split


@dataclass(frozen=True, kw_only=True, slots=True)
class PixelScore:
    """-log p of one picture, in nats, by a model; and by histograms of the training pictures.

    place_nats: every value by the histogram of its own place; channel_nats: of its channel.
    """

    model: str
    model_digest: str
    source: str
    label: int | None
    nats: float
    bits_per_dimension: float
    place_nats: float
    channel_nats: float
    run: str
    at: datetime
