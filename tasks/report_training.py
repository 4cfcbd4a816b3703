"""The report of a training: a registry's model with its versions and runs, or one run's folder."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np

from models.images import ImageError
from tasks import storage, tables, versions
from tasks.failures import listed_persistently, persistently
from tasks.report_page import data_uri, page

_POINTS = 600
_PICTURES = 16
_PICTURE_SIDE = 1280
_MOST_BYTES = 8 * 2**20
_RUNS = 20


def is_training(place: str) -> bool:
    """Whether a folder is a registry's model or a training's run, and no bulk destination."""
    marks = ("champion.json", "curve.png", "checkpoint.pt")
    if any(storage.exists(storage.join(place, mark)) for mark in marks):
        return True
    return any(storage.is_folder(storage.join(place, mark)) for mark in ("training", "metrics"))


def write_training_report(place: str, *, output: str | None = None, now: datetime) -> str:
    """Write the page of a registry's model, or of a training run; returns its URI.

    Args:
        place: REGISTRY/<system>/<name>, or a run's folder: .../training/<run>.
        output: the page's own URI; by default report/index.html below the place.
        now: UTC, shown as the page's date.
    Raises:
        NotFoundError: there are neither versions nor metrics.
        ValueError: a record, or a part of the metrics, is damaged.
        StorageError: it cannot be read, or the page not written.
    """
    root = storage.normalise(place)
    folders = _run_folders(root)
    above, _, name = root.rpartition("/")
    registry, _, system = above.rpartition("/")
    known = _versions(registry, system, name) if registry and not folders.get("") else []
    runs = [_run(run or name, folder) for run, folder in folders.items()]
    runs.sort(key=lambda run: (str(run["last_at"]), str(run["run"])), reverse=True)
    if not runs and not known:
        raise storage.NotFoundError(root, f"{root} has no versions of a model and no metrics")
    reigning = versions.champion(registry, system, name) if known else None
    data: dict[str, object] = {
        "system": system if known else "",
        "name": name,
        "generated_at": now.isoformat(timespec="seconds"),
        "champion": None if reigning is None else _champion(reigning),
        "versions": known,
        "runs": runs[:_RUNS],
    }
    target = storage.normalise(output) if output else storage.join(root, "report/index.html")
    made = page("training", f"{name} - pixelmill training", data)
    persistently(lambda: storage.write(target, made))
    return target


def _run_folders(root: str) -> dict[str, str]:
    """Run -> its folder; the run "" is the place itself."""
    if storage.is_folder(storage.join(root, "metrics")):
        return {"": root}
    below = storage.join(root, "training")
    try:
        listed = list(listed_persistently(below))
    except storage.NotFoundError:
        return {}
    uris = [entry.uri for entries in listed for entry in entries]
    runs = {uri[len(below) + 1 :].partition("/")[0] for uri in uris}
    return {run: storage.join(below, run) for run in sorted(runs)}


def _versions(registry: str, system: str, name: str) -> list[dict[str, object]]:
    try:
        found = versions.list_versions(registry, system, name)
    except versions.RegistryError:
        return []  # a run's folder, which has no place of this form
    return [
        {"version": version.version, **asdict(versions.read_record(version))}
        for version in reversed(found)
    ]


def _champion(reigning: versions.Champion) -> dict[str, object]:
    return {
        "version": reigning.version.version,
        "reason": reigning.reason,
        "history": [asdict(promotion) for promotion in reigning.history],
    }


def _run(run: str, folder: str) -> dict[str, object]:
    rows = _metric_rows(folder)
    series = _series(rows)
    steps = [int(str(step)) for one in series for step in _last(one["steps"])]
    return {
        "run": run,
        "series": series,
        "last_step": max(steps, default=0),
        "last_at": max((row["at"].isoformat() for row in rows), default=""),
        "pictures": _pictures(folder),
    }


def _last(steps: object) -> Sequence[object]:
    return steps[-1:] if isinstance(steps, list) else ()


def _metric_rows(folder: str) -> list[dict[str, Any]]:
    """The rows of a run; of a step that a killed run had reached before, the later ones."""
    try:
        listed = list(listed_persistently(storage.join(folder, "metrics")))
    except storage.NotFoundError:
        return []
    rows: dict[tuple[str, str, int], dict[str, Any]] = {}
    for uri in sorted(entry.uri for entries in listed for entry in entries):
        data = persistently(partial(storage.read, uri))
        for row in tables.from_parquet(data).to_pylist():
            key = (row["split"], row["metric"], row["step"])
            if key not in rows or rows[key]["at"] <= row["at"]:
                rows[key] = row
    return list(rows.values())


def _series(rows: list[dict[str, Any]]) -> list[dict[str, object]]:
    by_name: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for row in rows:
        by_name.setdefault((row["split"], row["metric"]), []).append((row["step"], row["value"]))
    order = sorted(by_name, key=lambda name: (name[0], name[1] != "total", name[1]))
    made: list[dict[str, object]] = []
    for split, metric in order:
        steps, values = thinned(sorted(by_name[split, metric]))
        made.append({"split": split, "metric": metric, "steps": steps, "values": values})
    return made


def thinned(points: list[tuple[int, float]]) -> tuple[list[int], list[float]]:
    """At most 600 points: of more, the means of as many neighbours each; the last stays itself."""
    if len(points) <= _POINTS:
        return [step for step, _ in points], [value for _, value in points]
    groups = np.array_split(np.array(points, np.float64), _POINTS - 1)
    steps = [int(group[-1, 0]) for group in groups]
    values = [float(group[:, 1].mean()) for group in groups]
    return [*steps, points[-1][0]], [*values, points[-1][1]]


def _pictures(folder: str) -> list[dict[str, object]]:
    """Validation pictures over the steps, the last one included; small enough for a page."""
    try:
        listed = list(listed_persistently(storage.join(folder, "pictures")))
    except storage.NotFoundError:
        return []
    by_step = {
        int(stem): entry.uri
        for entries in listed
        for entry in entries
        if (stem := entry.uri.rpartition("step-")[2].partition(".")[0]).isdigit()
    }
    steps = sorted(by_step)
    wanted = {steps[i] for i in np.linspace(0, len(steps) - 1, _PICTURES).round().astype(int)}
    made: list[dict[str, object]] = []
    size = 0
    for step in sorted(wanted, reverse=True):
        image = _shown(by_step[step])
        if image is not None and size + len(image) <= _MOST_BYTES:
            size += len(image)
            made.append({"step": step, "image": image})
    return made[::-1]


def _shown(uri: str) -> str | None:
    from models.report_pictures import encoded, fitted  # torch takes seconds to import
    from tasks.report_pictures import read_colours

    try:
        return data_uri(encoded(fitted(read_colours(uri), _PICTURE_SIDE), "webp"), "webp")
    except ImageError:
        return None
