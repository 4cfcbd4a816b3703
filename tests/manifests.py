"""Manifest rows as a run would have written them, without the run."""

from datetime import UTC, datetime, timedelta

from tasks import storage, tables
from tasks.tables import ManifestRow, RunRow

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
HOSTILE = "<img src=x onerror=alert(1)>.png"


def row(
    name: str, *, run: str = "run-1", shard: int = 0, second: float = 0, **said: object
) -> ManifestRow:
    """The row of a source of that name; `failed=True` for one that failed."""
    failed = bool(said.pop("failed", False))
    values: dict[str, object] = {
        "source": f"s3://photos/2026/{name}",
        "source_etag": f"etag of {name}",
        "source_bytes": 20_000,
        "output": None if failed else f"images/{name}",
        "output_bytes": None if failed else 300_000,
        "status": "failed" if failed else "ok",
        "error_type": "truncated" if failed else None,
        "error": "truncated PNG: it ends before the picture does" if failed else None,
        "width": 64, "height": 48,
        "output_width": None if failed else 256,
        "output_height": None if failed else 192,
        "model": "mill-x4", "model_digest": "m", "config_digest": "c",
        "decode_s": 0.01, "infer_s": 0.2, "encode_s": 0.05,
        "run": run, "shard": shard,
        "finished_at": NOON + timedelta(seconds=second),
    }  # fmt: skip
    return ManifestRow(**{**values, **said})  # type: ignore[arg-type]


def write_shard(destination: str, rows: list[ManifestRow]) -> str:
    """A part with these rows of one shard of one run; its URI."""
    name = f"manifest/run={rows[0].run}/shard-{rows[0].shard:06d}.parquet"
    uri = storage.join(storage.normalise(destination), name)
    storage.write(uri, tables.to_parquet(rows, tables.MANIFEST))
    return uri


def write_run(destination: str, run: str = "run-1", **said: object) -> None:
    """A run's record."""
    values: dict[str, object] = {
        "run": run, "job": "upscale", "status": "done", "source": "s3://photos/2026",
        "destination": destination, "parameters": '{"scale": 4}', "model": "mill-x4",
        "model_digest": "m", "config_digest": "c", "device": "cpu", "precision": "fp32",
        "found": 10, "ok": 9, "failed": 1, "seconds": 5.0, "started_at": NOON,
        "finished_at": NOON + timedelta(seconds=5), "versions": "{}",
    }  # fmt: skip
    data = tables.to_parquet([RunRow(**{**values, **said})], tables.RUNS)  # type: ignore[arg-type]
    storage.write(storage.join(destination, f"runs/run={run}.parquet"), data)
