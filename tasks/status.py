"""How far a destination is, from its manifest and run records alone: also while a run is going."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks import collection, manifest_parts, storage
from tasks.collection import DoneIndex
from tasks.manifest_parts import having

_COLUMNS = [
    "source", "source_bytes", "output_bytes", "status", "error_type", "decode_s", "infer_s",
    "encode_s", "run", "finished_at",
]  # fmt: skip
_SILENT_FOR = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class Status:
    """Counts of current rows, bytes, work in seconds, and where the newest run is.

    `to_do` and `eta_s` are None where they cannot be known: a run that is going has not written
    down how much it found. Times are ISO 8601, UTC; `per_second` is images of the newest run.
    """

    destination: str
    done: int
    failed: int
    to_do: int | None
    failures: dict[str, int]
    source_bytes: int
    output_bytes: int
    seconds: dict[str, float]
    run: str | None
    run_state: str | None
    run_source: str | None
    run_images: int
    per_second: float
    eta_s: float | None
    last_finished_at: str | None


def read_status(destination: str, *, source: str | None = None, now: datetime) -> Status:
    """How far a destination is at a time, UTC.

    Args:
        source: what is to be done in all; without it that is known of finished runs alone.
    Raises:
        NotFoundError: there is no run and no manifest there.
        ValueError: a part or a record is damaged. StorageError: something cannot be read.
    """
    place = storage.normalise(destination)
    runs = manifest_parts.read_runs(place)
    rows = manifest_parts.read_rows(place, _COLUMNS)
    if not runs and not len(rows):
        raise storage.NotFoundError(place, f"no run has written anything to {place}")
    newest = runs[-1] if runs else {}
    current = manifest_parts.current(rows)
    done = len(having(current, "status", "ok"))
    to_do = _to_do(place, source, newest, current)
    own = having(rows, "run", str(newest.get("run")))
    rate = _rate(own, newest.get("started_at"))
    last = pc.max(rows.column("finished_at")).as_py()
    state = _state(newest, last, now)
    eta = to_do / rate if to_do is not None and rate and state == "running" else None
    return Status(
        destination=place,
        done=done,
        failed=len(current) - done,
        to_do=to_do,
        failures=_failures(current),
        source_bytes=_sum(current, "source_bytes"),
        output_bytes=_sum(current, "output_bytes"),
        seconds={stage: _seconds(rows, stage) for stage in ("decode", "infer", "encode")},
        run=_text(newest.get("run")),
        run_state=state,
        run_source=_text(newest.get("source")),
        run_images=len(own),
        per_second=rate,
        eta_s=eta,
        last_finished_at=last.isoformat() if last else None,
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _sum(rows: pa.Table, column: str) -> int:
    return int(pc.sum(rows.column(column)).as_py() or 0)


def _seconds(rows: pa.Table, stage: str) -> float:
    return float(pc.sum(rows.column(f"{stage}_s").cast(pa.float64())).as_py() or 0)


def _failures(current: pa.Table) -> dict[str, int]:
    kinds = having(current, "status", "failed").column("error_type").to_pylist()
    found = Counter(str(kind or "unknown") for kind in kinds)
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _to_do(
    destination: str, source: str | None, newest: dict[str, object], current: pa.Table
) -> int | None:
    """What of a source the newest run's parameters have not made, nor that run tried in vain."""
    if source is None:
        if newest.get("status") != "done":
            return None
        known = [newest[name] for name in ("found", "already_done", "ok", "failed")]
        found, already, ok, failed = (int(str(number)) for number in known)
        return max(0, found - already - ok - failed)
    done = collection.read_done(destination)
    digest = str(newest.get("config_digest"))
    missing = sum(_missing(page, done, digest) for page in _images(source))
    tried = len(having(having(current, "run", str(newest.get("run"))), "status", "failed"))
    return max(0, missing - tried)


def _images(source: str) -> Iterator[list[storage.Entry]]:
    by_name = not collection.is_list(source)
    for page in collection.list_collection(storage.normalise(source)):
        yield [
            entry
            for name, entry in page
            if not by_name or collection.reason_to_leave_out(name) is None
        ]


def _missing(page: list[storage.Entry], done: DoneIndex, digest: str) -> int:
    return len(page) - int(np.count_nonzero(done.done(page, digest)))


def _rate(own: pa.Table, started_at: object) -> float:
    last = pc.max(own.column("finished_at")).as_py()
    if last is None or not isinstance(started_at, datetime):
        return 0.0
    return len(own) / float(max(1e-3, (last - started_at).total_seconds()))


def _state(newest: dict[str, object], last: datetime | None, now: datetime) -> str | None:
    """The newest run's status; a running one that has written nothing for long is `silent`."""
    started = newest.get("started_at")
    if newest.get("status") != "running" or not isinstance(started, datetime):
        return _text(newest.get("status"))
    seen = max(started, last) if last else started
    return "silent" if now - seen > _SILENT_FOR else "running"


def as_lines(status: Status, *, now: datetime) -> list[str]:
    """The status in words, a line a matter."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in status.failures.items())
    lines = [
        f"done    {status.done:,}",
        f"failed  {status.failed:,}" + (f" ({kinds})" if kinds else ""),
        f"to do   {_to_do_words(status)}",
    ]
    if status.run is not None:
        lines.append(f"run     {status.run} is {status.run_state}, {status.run_images:,} images")
    lines.append(f"rate    {status.per_second:.2f} images/s")
    if status.eta_s is not None:
        there = now.astimezone(UTC) + timedelta(seconds=status.eta_s)
        lines.append(f"ETA     {_duration(status.eta_s)}, {there:%Y-%m-%d %H:%M} UTC")
    if status.last_finished_at is not None:
        lines.append(f"last    {status.last_finished_at[:19].replace('T', ' ')} UTC")
    return lines


def _to_do_words(status: Status) -> str:
    if status.to_do is not None:
        return f"{status.to_do:,}"
    hint = f" --source {status.run_source}" if status.run_source else " --source SOURCE"
    return f"not known before the run is over; count it with{hint}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def as_record(status: Status) -> dict[str, object]:
    """The status as JSON holds it."""
    return asdict(status)


def as_prometheus(status: Status) -> str:
    """The status in Prometheus's text format, as node exporter's textfile collector reads it."""
    place = _label(status.destination)
    lines: list[str] = []

    def family(name: str, what: str, values: dict[str, float]) -> None:
        lines.extend((f"# HELP pixelmill_{name} {what}", f"# TYPE pixelmill_{name} gauge"))
        for labels, value in values.items():
            lines.append(f'pixelmill_{name}{{destination="{place}"{labels}}} {value:.15g}')

    counts = {"ok": status.done, "failed": status.failed}
    if status.to_do is not None:
        counts["to_do"] = status.to_do
    family("images_total", "Sources by status.", _labelled("status", counts))
    family("failures_total", "Failed sources by kind.", _labelled("kind", status.failures))
    sizes = {"source": status.source_bytes, "output": status.output_bytes}
    family("bytes_total", "Bytes of sources and of outputs.", _labelled("of", sizes))
    family("stage_seconds_total", "Seconds of work.", _labelled("stage", status.seconds))
    family("run_images_per_second", "Rate of the newest run.", {"": status.per_second})
    if status.last_finished_at is not None:
        at = datetime.fromisoformat(status.last_finished_at).timestamp()
        family("last_finished_timestamp_seconds", "When an image was last finished.", {"": at})
    return "\n".join(lines) + "\n"


def _labelled(name: str, values: dict[str, int] | dict[str, float]) -> dict[str, float]:
    return {f',{name}="{_label(key)}"': float(value) for key, value in values.items()}


def _label(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
