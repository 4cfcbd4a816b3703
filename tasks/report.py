"""The report of a bulk run: what a destination's manifest says, as the data of one page."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks import manifest_parts, report_pictures, storage, tables
from tasks.failures import RequestError, persistently
from tasks.report_page import page

Floats = NDArray[np.float64]

_MOST_ROWS = 20_000
_TIMELINE_STEPS = 60
_TIMELINE_RUNS = 20
_BINS = 28
_FAILED_SOURCES = 200
_NUMBERS = ("width", "height", "output_width", "output_height", "source_bytes", "output_bytes")


def write_report(
    destination: str, *, output: str | None = None, sample: int = 12, now: datetime
) -> str:
    """Write the page of a destination; returns its URI.

    Args:
        output: the page's own URI; by default DESTINATION/report/index.html.
        sample: pictures beside the best and the worst.
        now: UTC, shown as the page's date.
    Raises:
        RequestError: a sample below 0.
        NotFoundError: there is no manifest. ValueError: a part of it is damaged.
        StorageError: it cannot be read, or the page not written.
    """
    if sample < 0:
        raise RequestError(f"sample must be at least 0, got {sample}")
    place = storage.normalise(destination)
    rows = manifest_parts.read_rows(place, tables.MANIFEST.names)
    if not len(rows):
        raise storage.NotFoundError(place, f"{place} has no manifest: no run has finished a shard")
    data = report_data(place, rows, manifest_parts.read_runs(place), now=now)
    data["pictures"] = report_pictures.pictures(place, manifest_parts.current(rows), sample)
    target = storage.normalise(output) if output else storage.join(place, "report/index.html")
    made = page("bulk", f"{place} - pixelmill", data)
    persistently(lambda: storage.write(target, made))
    return target


def report_data(
    destination: str, rows: pa.Table, runs: Sequence[dict[str, Any]], *, now: datetime
) -> dict[str, object]:
    """All of a report but its pictures, as JSON holds it.

    Args:
        rows: of all runs, as they stand in the manifest. runs: their records, oldest first.
    """
    current = manifest_parts.current(rows)
    ok = manifest_parts.having(current, "status", "ok")
    return {
        "destination": storage.redact(destination),
        "generated_at": now.isoformat(timespec="seconds"),
        "totals": _totals(current, ok, runs),
        "runs": [_run(record) for record in reversed(runs)],
        "timelines": timelines(rows),
        "histograms": _histograms(ok),
        "stages": {name: float(seconds(current, name).sum()) for name in _STAGES},
        "failures": failures(current),
        "table": table(current),
    }


_STAGES = ("decode", "infer", "encode")


def seconds(rows: pa.Table, stage: str) -> Floats:
    """Seconds of work of each row at a stage; 0 where there was none."""
    return numbers(rows, f"{stage}_s", 0.0)


def numbers(rows: pa.Table, column: str, missing: float = float("nan")) -> Floats:
    """A column as float64."""
    values = rows.column(column).cast(pa.float64()).to_numpy()
    result: Floats = np.nan_to_num(values, nan=missing, posinf=np.inf, neginf=-np.inf)
    return result


def _texts(rows: pa.Table, column: str) -> list[str]:
    return [str(value or "") for value in rows.column(column).to_pylist()]


def _redacted(texts: list[str]) -> list[str]:
    """Each without secrets; all in one go, as a call for each of thousands takes seconds."""
    between = "\n\0\n"  # no secret is taken to go on over the end of a line
    whole = storage.redact(between.join(texts)).split(between)
    return whole if len(whole) == len(texts) else [storage.redact(text) for text in texts]


def _totals(current: pa.Table, ok: pa.Table, runs: Sequence[dict[str, Any]]) -> dict[str, object]:
    psnr, ssim = (numbers(ok, name) for name in ("psnr", "ssim"))
    wall = sum(float(record["seconds"] or 0) for record in runs)
    done = sum(int(record["ok"]) for record in runs if record["seconds"])
    work = sum((seconds(ok, name) for name in _STAGES), np.zeros(len(ok)))
    return {
        "sources": len(current),
        "ok": len(ok),
        "failed": len(current) - len(ok),
        "source_bytes": numbers(ok, "source_bytes", 0).sum(),
        "output_bytes": numbers(ok, "output_bytes", 0).sum(),
        "output_pixels": (numbers(ok, "output_width", 0) * numbers(ok, "output_height", 0)).sum(),
        "per_second": done / wall if wall else None,
        "median_s": float(np.median(work)) if len(work) else None,
        "psnr": _mean_of_known(psnr),
        "ssim": _mean_of_known(ssim),
    }


def _mean_of_known(values: Floats) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _run(record: dict[str, Any]) -> dict[str, object]:
    shown = {name: value for name, value in record.items() if not isinstance(value, datetime)}
    for name in ("started_at", "finished_at"):
        shown[name] = record[name].isoformat(timespec="seconds") if record[name] else None
    for name in ("parameters", "versions"):
        shown[name] = _object(record[name])
    return shown


def _object(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def timelines(rows: pa.Table) -> list[dict[str, object]]:
    """Finished images over the time of each of the newest runs, in up to 60 equal steps."""
    made: list[dict[str, object]] = []
    runs = _texts(rows, "run")
    at = rows.column("finished_at").cast(pa.int64()).to_numpy() / 1e6
    failed = np.array(_texts(rows, "status"), dtype=object) == "failed"
    names = np.array(runs, dtype=object)
    for run in sorted(set(runs), reverse=True)[:_TIMELINE_RUNS]:
        own = names == run
        first, last = float(at[own].min()), float(at[own].max())
        steps = max(1, min(_TIMELINE_STEPS, int((last - first) / 0.5)))
        edges = np.linspace(first, max(last, first + 0.5), steps + 1)
        made.append(
            {
                "run": run,
                "start": first,
                "step_s": float(edges[1] - edges[0]),
                "ok": np.histogram(at[own & ~failed], edges)[0].tolist(),
                "failed": np.histogram(at[own & failed], edges)[0].tolist(),
            }
        )
    return made


def _histograms(ok: pa.Table) -> list[dict[str, object]]:
    work = sum((seconds(ok, name) for name in _STAGES), np.zeros(len(ok)))
    megapixels = numbers(ok, "output_width") * numbers(ok, "output_height") / 1e6
    measured = [
        histogram("Seconds of work per image", "s", work, log=True),
        histogram("Size of the sources", "B", numbers(ok, "source_bytes"), log=True),
        histogram("Size of the outputs", "B", numbers(ok, "output_bytes"), log=True),
        histogram("Output per image", "MP", megapixels, log=True),
        histogram("PSNR", "dB", numbers(ok, "psnr"), log=False),
        histogram("SSIM", "", numbers(ok, "ssim"), log=False),
    ]
    return [one for one in measured if one is not None]


def histogram(title: str, unit: str, values: Floats, *, log: bool) -> dict[str, object] | None:
    """Counts in up to 28 bins, of equal ratio where `log`; None where nothing was measured."""
    known = values[np.isfinite(values)]
    known = known[known > 0] if log else known
    if not len(known):
        return None
    low, high = float(known.min()), float(known.max())
    if low == high:
        low, high = (low / 1.5, high * 1.5) if log else (low - 0.5, high + 0.5)
    bins = int(min(_BINS, max(6, 2 * len(known) ** 0.5)))
    edges = np.geomspace(low, high, bins + 1) if log else np.linspace(low, high, bins + 1)
    edges[0], edges[-1] = low, high  # rounded, an edge could leave the extremes out
    median, p95 = np.percentile(known, [50, 95])
    return {
        "title": title,
        "unit": unit,
        "log": log,
        "edges": edges.tolist(),
        "counts": np.histogram(known, edges)[0].tolist(),
        "median": float(median),
        "p95": float(p95),
    }


def failures(current: pa.Table) -> list[dict[str, object]]:
    """Failed sources by kind, the most frequent first, each with up to 200 of its sources."""
    failed = manifest_parts.having(current, "status", "failed")
    by_kind: dict[str, list[tuple[str, str]]] = {}
    columns = (_texts(failed, name) for name in ("error_type", "source", "error"))
    for kind, source, error in zip(*columns, strict=True):
        by_kind.setdefault(kind or "unknown", []).append((source, error))
    ordered = sorted(by_kind.items(), key=lambda item: (-len(item[1]), item[0]))
    return [
        {
            "kind": kind,
            "count": len(found),
            "sources": _redacted([source for source, _ in found[:_FAILED_SOURCES]]),
            "errors": _redacted([error for _, error in found[:_FAILED_SOURCES]]),
        }
        for kind, found in ordered
    ]


def table(current: pa.Table) -> dict[str, object]:
    """The rows of the page's table in columns, by source: if too many, failed and latest first."""
    shown = current
    if len(current) > _MOST_ROWS:
        shown = current.sort_by([("status", "ascending"), ("finished_at", "descending")])
        shown = shown.slice(0, _MOST_ROWS).sort_by("source")
    sources = _redacted(_texts(shown, "source"))
    prefix = common_folder(sources)
    runs = sorted(set(_texts(shown, "run")))
    kinds = sorted(set(_texts(shown, "error_type")) - {""})
    columns: dict[str, object] = {
        "source": [source[len(prefix) :] for source in sources],
        "ok": [int(status == "ok") for status in _texts(shown, "status")],
        "kind": [kinds.index(k) if k else -1 for k in _texts(shown, "error_type")],
        "error": _redacted(_texts(shown, "error")),
        "output": _redacted(_texts(shown, "output")),
        "run": [runs.index(run) for run in _texts(shown, "run")],
        "at": (shown.column("finished_at").cast(pa.int64()).to_numpy() // 1_000_000).tolist(),
    }
    columns |= {name: shown.column(name).to_pylist() for name in _NUMBERS}
    columns |= {name: np.round(seconds(shown, name), 4).tolist() for name in _STAGES}
    for name in ("psnr", "ssim"):
        values = numbers(shown, name)
        if np.isfinite(values).any():
            columns[name] = np.round(values, 4).tolist()
    return {
        "total": len(current),
        "prefix": prefix,
        "runs": runs,
        "kinds": kinds,
        "columns": columns,
    }


def common_folder(uris: Sequence[str]) -> str:
    """The longest beginning that ends with a slash and that all have."""
    if not uris:
        return ""
    low, high = min(uris), max(uris)
    same = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), len(low))
    return low[: low.rfind("/", 0, same) + 1]
