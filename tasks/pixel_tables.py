"""The Parquet schemas of what pixel models are used for, and their rows."""

from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from tasks.tables import MANIFEST, UTC_TIME, ManifestRow

_MADE_BY: dict[str, pa.DataType] = {
    "model": pa.string(),
    "model_digest": pa.string(),
    "config_digest": pa.string(),
    "run": pa.string(),
    "finished_at": UTC_TIME,
}

PACKED = pa.schema(
    [
        *MANIFEST,
        ("relative", pa.string()),
        ("position", pa.int32()),
        ("source_channels", pa.int8()),
        ("bits_per_dim", pa.float64()),
    ]
)
"""The manifest of `pixels compress`: `output` is the container, `position` the place in it."""

COMPLETED = pa.schema(
    [
        *MANIFEST,
        ("outputs", pa.list_(pa.string())),
        ("hidden_pixels", pa.int64()),
        ("exact", pa.bool_()),
    ]
)
"""The manifest of `pixels complete`: `output` is the first of `outputs`."""

_LIKELIHOODS_COLUMNS: dict[str, pa.DataType] = {
    "source": pa.string(),
    "label": pa.int64(),
    "split": pa.string(),
    "width": pa.int32(),
    "height": pa.int32(),
    "channels": pa.int8(),
    "nats": pa.float64(),
    "bits_per_dim": pa.float64(),
    **_MADE_BY,
}
LIKELIHOODS = pa.schema(_LIKELIHOODS_COLUMNS)

_FEATURES_COLUMNS: dict[str, pa.DataType] = {
    "source": pa.string(),
    "label": pa.int64(),
    "split": pa.string(),
    "embedding": pa.list_(pa.float32()),
    "layer": pa.int32(),
    "grid": pa.int32(),
    **_MADE_BY,
}
FEATURES = pa.schema(_FEATURES_COLUMNS)

_SAMPLES_COLUMNS: dict[str, pa.DataType] = {
    "output": pa.string(),
    "output_bytes": pa.int64(),
    "number": pa.int64(),
    "seed": pa.int64(),
    "label": pa.int64(),
    "temperature": pa.float64(),
    "width": pa.int32(),
    "height": pa.int32(),
    "nats": pa.float64(),
    "bits_per_dim": pa.float64(),
    **_MADE_BY,
}
SAMPLES = pa.schema(_SAMPLES_COLUMNS)

_PROBES_COLUMNS: dict[str, pa.DataType] = {
    "of": pa.string(),
    "features": pa.int32(),
    "classes": pa.int32(),
    "train_pictures": pa.int64(),
    "test_pictures": pa.int64(),
    "train_accuracy": pa.float64(),
    "test_accuracy": pa.float64(),
    **_MADE_BY,
}
PROBES = pa.schema(_PROBES_COLUMNS)


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedRow(ManifestRow):
    """A picture in a container: `output_bytes` is its share of the container's bytes.

    relative: the source's path below its collection; source_channels: 1 gray, 3 RGB.
    bits_per_dim: the container's bits over all of its pictures' values.
    """

    relative: str
    position: int | None = None
    source_channels: int | None = None
    bits_per_dim: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CompletedRow(ManifestRow):
    """A picture and its completions; exact: they are draws from the model's conditional."""

    outputs: tuple[str, ...] = ()
    hidden_pixels: int | None = None
    exact: bool | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LikelihoodRow:
    """-log p of one picture."""

    source: str
    label: int | None
    split: str | None
    width: int
    height: int
    channels: int
    nats: float
    bits_per_dim: float
    model: str
    model_digest: str
    config_digest: str
    run: str
    finished_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureRow:
    """One picture's embedding: mean activations of a layer over grid x grid cells."""

    source: str
    label: int | None
    split: str | None
    embedding: list[float]
    layer: int
    grid: int
    model: str
    model_digest: str
    config_digest: str
    run: str
    finished_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleRow:
    """One drawn picture; `number` and `seed` decide its noise. nats: at the temperature 1."""

    output: str
    output_bytes: int
    number: int
    seed: int
    label: int | None
    temperature: float
    width: int
    height: int
    nats: float
    bits_per_dim: float
    model: str
    model_digest: str
    config_digest: str
    run: str
    finished_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeRow:
    """What a linear classifier makes of features, trained on one split, tested on another."""

    of: str
    features: int
    classes: int
    train_pictures: int
    test_pictures: int
    train_accuracy: float
    test_accuracy: float
    model: str
    model_digest: str
    config_digest: str
    run: str
    finished_at: datetime
