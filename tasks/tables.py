"""Every Parquet schema that pixelmill writes, and how rows become bytes and come back."""

import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

UTC_TIME = pa.timestamp("us", tz="UTC")

_MANIFEST_COLUMNS: dict[str, pa.DataType] = {
    "source": pa.string(),
    "source_etag": pa.string(),
    "source_bytes": pa.int64(),
    "output": pa.string(),
    "output_bytes": pa.int64(),
    "status": pa.string(),
    "error_type": pa.string(),
    "error": pa.string(),
    "width": pa.int32(),
    "height": pa.int32(),
    "output_width": pa.int32(),
    "output_height": pa.int32(),
    "model": pa.string(),
    "model_digest": pa.string(),
    "config_digest": pa.string(),
    "psnr": pa.float64(),
    "ssim": pa.float64(),
    "decode_s": pa.float32(),
    "infer_s": pa.float32(),
    "encode_s": pa.float32(),
    "run": pa.string(),
    "shard": pa.int32(),
    "finished_at": UTC_TIME,
}

_RUN_COLUMNS: dict[str, pa.DataType] = {
    "run": pa.string(),
    "job": pa.string(),
    "status": pa.string(),
    "source": pa.string(),
    "destination": pa.string(),
    "parameters": pa.string(),
    "model": pa.string(),
    "model_digest": pa.string(),
    "config_digest": pa.string(),
    "device": pa.string(),
    "precision": pa.string(),
    "found": pa.int64(),
    "left_out": pa.int64(),
    "already_done": pa.int64(),
    "ok": pa.int64(),
    "failed": pa.int64(),
    "source_bytes": pa.int64(),
    "output_bytes": pa.int64(),
    "output_pixels": pa.int64(),
    "seconds": pa.float64(),
    "started_at": UTC_TIME,
    "finished_at": UTC_TIME,
    "versions": pa.string(),
}

_METRIC_COLUMNS: dict[str, pa.DataType] = {
    "run": pa.string(),
    "step": pa.int64(),
    "split": pa.string(),
    "metric": pa.string(),
    "value": pa.float64(),
    "at": UTC_TIME,
}

MANIFEST = pa.schema(_MANIFEST_COLUMNS)
RUNS = pa.schema(_RUN_COLUMNS)
METRICS = pa.schema(_METRIC_COLUMNS)


@dataclass(frozen=True, kw_only=True, slots=True)
class ManifestRow:
    """What happened to one source. Seconds are of work, not of waiting."""

    source: str
    source_etag: str
    source_bytes: int
    output: str | None = None
    output_bytes: int | None = None
    status: Literal["ok", "failed"]
    error_type: str | None = None
    error: str | None = None
    width: int | None = None
    height: int | None = None
    output_width: int | None = None
    output_height: int | None = None
    model: str
    model_digest: str
    config_digest: str
    psnr: float | None = None
    ssim: float | None = None
    decode_s: float | None = None
    infer_s: float | None = None
    encode_s: float | None = None
    run: str
    shard: int
    finished_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRow:
    """One run: `status` is running, done, stopped or failed; versions and parameters are JSON."""

    run: str
    job: str
    status: Literal["running", "done", "stopped", "failed"]
    source: str
    destination: str
    parameters: str
    model: str
    model_digest: str
    config_digest: str
    device: str
    precision: str
    found: int = 0
    left_out: int = 0
    already_done: int = 0
    ok: int = 0
    failed: int = 0
    source_bytes: int = 0
    output_bytes: int = 0
    output_pixels: int = 0
    seconds: float | None = None
    started_at: datetime
    finished_at: datetime | None = None
    versions: str


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricRow:
    """One measured value: of a training at a step, or of an evaluation (step 0)."""

    run: str
    step: int
    split: str
    metric: str
    value: float
    at: datetime


def storable(text: str) -> str:
    """The text as a Parquet string can hold it: bytes that are no UTF-8 become escapes.

    A local file name may be any bytes; Python shows them as lone surrogates.
    """
    return text.encode("utf-8", "backslashreplace").decode()


def to_parquet(rows: Iterable["DataclassInstance"], schema: pa.Schema) -> bytes:
    """Rows -> the bytes of a Parquet file of that schema (zstd)."""
    records = [{f.name: getattr(row, f.name) for f in fields(row)} for row in rows]
    return table_to_parquet(pa.Table.from_pylist(records, schema=schema))


def table_to_parquet(table: pa.Table) -> bytes:
    """The bytes of a Parquet file (zstd) with that table."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def from_parquet(data: bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """The table in a Parquet file's bytes, or some of its columns.

    Raises:
        ValueError: the bytes are no Parquet file, or it lacks a column.
    """
    wanted = list(columns) if columns else None
    try:
        # not read_table, which imports pyarrow.dataset and, where it is installed, pandas
        with pq.ParquetFile(io.BytesIO(data)) as file:
            if missing := set(wanted or ()) - set(file.schema_arrow.names):
                raise ValueError(f"a Parquet file without the columns {sorted(missing)}")
            return file.read(wanted)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"not a readable Parquet file: {error}") from error


_SR_SCORE_COLUMNS: dict[str, pa.DataType] = {
    "model": pa.string(),
    "model_digest": pa.string(),
    "source": pa.string(),
    "source_digest": pa.string(),
    "scale": pa.int32(),
    "psnr": pa.float64(),
    "ssim": pa.float64(),
    "bicubic_psnr": pa.float64(),
    "perceptual": pa.float64(),
    "infer_s": pa.float64(),
    "width": pa.int32(),
    "height": pa.int32(),
    "run": pa.string(),
    "at": UTC_TIME,
}
SR_SCORES = pa.schema(_SR_SCORE_COLUMNS)

_CLASSIFICATION_COLUMNS: dict[str, pa.DataType] = {
    "source": pa.string(),
    "label": pa.string(),
    "variant": pa.string(),
    "model_digest": pa.string(),
    "predicted": pa.string(),
    "correct": pa.bool_(),
    "as_original": pa.bool_(),
    "scale": pa.int32(),
    "classifier": pa.string(),
    "run": pa.string(),
    "at": UTC_TIME,
}
CLASSIFICATIONS = pa.schema(_CLASSIFICATION_COLUMNS)


@dataclass(frozen=True, kw_only=True, slots=True)
class SrScore:
    """One picture enlarged by one model, against its original of `width` x `height` pixels.

    psnr, ssim and bicubic_psnr are of luma, by the protocol; infinite PSNR: restored exactly.
    """

    model: str
    model_digest: str
    source: str
    source_digest: str
    scale: int
    psnr: float
    ssim: float | None
    bicubic_psnr: float
    perceptual: float | None
    infer_s: float
    width: int
    height: int
    run: str
    at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassificationRow:
    """What a classifier saw in one variant of a picture: original, or enlarged by a model."""

    source: str
    label: str
    variant: str
    model_digest: str | None
    predicted: str
    correct: bool
    as_original: bool
    scale: int
    classifier: str
    run: str
    at: datetime


PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])

_SR_PAIR_COLUMNS: dict[str, pa.DataType] = {
    "image": PICTURE,
    "low": PICTURE,
    "source": pa.string(),
    "source_etag": pa.string(),
    "source_digest": pa.string(),
    "dhash": pa.int64(),
    "width": pa.int32(),
    "height": pa.int32(),
    "split": pa.string(),
    "scale": pa.int32(),
    "config_digest": pa.string(),
    "run": pa.string(),
    "finished_at": UTC_TIME,
}


def hugging_face_schema(columns: dict[str, pa.DataType]) -> pa.Schema:
    """The schema, described so that Hugging Face's `datasets` shows `{bytes, path}` as pictures."""
    features = {
        name: {"_type": "Image"}
        if kind == PICTURE
        else {"dtype": str(kind).replace("double", "float64"), "_type": "Value"}
        for name, kind in columns.items()
    }
    described = json.dumps({"info": {"features": features}})
    return pa.schema(columns, metadata={"huggingface": described})


SR_PAIRS = hugging_face_schema(_SR_PAIR_COLUMNS)

_SR_INDEX_COLUMNS: dict[str, pa.DataType] = {
    "source": pa.string(),
    "source_etag": pa.string(),
    "source_digest": pa.string(),
    "dhash": pa.int64(),
    "split": pa.string(),
    "part": pa.string(),
    "row": pa.int32(),
    "finished_at": UTC_TIME,
}
SR_INDEX = pa.schema(_SR_INDEX_COLUMNS)

SR_FAILURES = pa.schema({"source": pa.string(), "error_type": pa.string(), "error": pa.string()})

_SR_LEAKAGE_COLUMNS: dict[str, pa.DataType] = {
    "source": pa.string(),
    "other": pa.string(),
    "distance": pa.int32(),
    "split": pa.string(),
    "other_split": pa.string(),
}
SR_LEAKAGE = pa.schema(_SR_LEAKAGE_COLUMNS)


@dataclass(frozen=True, kw_only=True, slots=True)
class SrPairRow:
    """A high-resolution picture of width x height pixels and its degraded version, both as PNG."""

    image: dict[Literal["bytes", "path"], bytes | str]
    low: dict[Literal["bytes", "path"], bytes | str]
    source: str
    source_etag: str
    source_digest: str
    dhash: int
    width: int
    height: int
    split: Literal["train", "validation", "test"]
    scale: int
    config_digest: str
    run: str
    finished_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class SrIndexRow:
    """The current state of a source: where its row is; without part and row, that it is a copy."""

    source: str
    source_etag: str
    source_digest: str
    dhash: int
    split: str
    part: str | None
    row: int | None
    finished_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class SrFailure:
    """Why a source is not in the dataset."""

    source: str
    error_type: str
    error: str
