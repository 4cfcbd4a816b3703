"""Every Parquet schema that pixelmill writes, and how rows become bytes and come back."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

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

MANIFEST = pa.schema(_MANIFEST_COLUMNS)
RUNS = pa.schema(_RUN_COLUMNS)


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


def storable(text: str) -> str:
    """The text as a Parquet string can hold it: bytes that are no UTF-8 become escapes.

    A local file name may be any bytes; Python shows them as lone surrogates.
    """
    return text.encode("utf-8", "backslashreplace").decode()


def to_parquet(rows: Iterable[ManifestRow] | Iterable[RunRow], schema: pa.Schema) -> bytes:
    """Rows -> the bytes of a Parquet file of that schema (zstd)."""
    records = [{f.name: getattr(row, f.name) for f in fields(row)} for row in rows]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(records, schema=schema), sink, compression="zstd")
    return sink.getvalue()


def from_parquet(data: bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """The table in a Parquet file's bytes, or some of its columns.

    Raises:
        ValueError: the bytes are no Parquet file, or it lacks a column.
    """
    try:
        return pq.read_table(io.BytesIO(data), columns=list(columns) if columns else None)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"not a readable Parquet file: {error}") from error
