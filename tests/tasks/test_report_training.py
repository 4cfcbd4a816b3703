"""The page of a training says what the registry and the metrics say."""

import json
import re

from tasks import reporting, storage, tables, versions
from tasks.report_training import thinned
from tasks.tables import MetricRow
from tests.corpus import good_image
from tests.manifests import NOON
from tests.versions import publish


def _metrics(folder: str, first: int, steps: range, value: float) -> None:
    rows = [
        MetricRow(run="r", step=step, split=split, metric=metric, value=value, at=NOON)
        for step in steps
        for split, metric in (("train", "total"), ("validation", "psnr"))
    ]
    uri = storage.join(folder, f"metrics/from-{first:09d}.parquet")
    storage.write(uri, tables.to_parquet(rows, tables.METRICS))


def _data(uri: str) -> dict[str, list[dict[str, object]]]:
    held = re.search(r'id="data">(.*?)</script>', storage.read(uri).decode(), re.S)
    assert held is not None
    data: dict[str, list[dict[str, object]]] = json.loads(held[1])
    return data


def test_a_model_s_page_has_versions_champion_curves_and_pictures(store: str) -> None:
    for seed in (1, 2):
        made = publish(store, "ours", seed)
    versions.promote(store, made.system, "ours", 1, reason="the first")
    versions.promote(store, made.system, "ours", 2, reason="<b>better</b>")
    folder = storage.join(store, made.system, "ours")
    run = storage.join(folder, "training", "abc")
    _metrics(run, 0, range(0, 30, 10), 2.0)
    _metrics(run, 20, range(20, 50, 10), 1.0)  # went on from step 20
    for step in (10, 20):
        storage.write(storage.join(run, f"pictures/step-{step:06d}.png"), good_image(step))
    data = _data(reporting.write_page(folder))
    assert [v["version"] for v in data["versions"]] == [2, 1]
    assert data["champion"]["version"] == 2  # type: ignore[call-overload]
    [shown] = data["runs"]
    [loss, psnr] = shown["series"]  # type: ignore[misc]
    assert loss["steps"] == [0, 10, 20, 30, 40]  # type: ignore[index]
    assert loss["values"][:2] == [2.0, 2.0]  # type: ignore[index]
    assert loss["values"][3:] == [1.0, 1.0]  # type: ignore[index]
    assert psnr["split"] == "validation"  # type: ignore[index]
    assert [p["step"] for p in shown["pictures"]] == [10, 20]  # type: ignore[attr-defined]
    assert versions.list_versions(store, made.system, "ours")[-1].version == 2  # none in the way


def test_a_run_s_own_folder_has_a_page_too(store: str) -> None:
    run = storage.join(store, "style", "ours", "training", "abc")
    _metrics(run, 0, range(0, 30, 10), 2.0)
    data = _data(reporting.write_page(run))
    assert data["versions"] == []
    assert [r["run"] for r in data["runs"]] == ["abc"]


def test_long_curves_are_thinned_to_means() -> None:
    points = [(step, float(step % 2)) for step in range(10_000)]
    steps, values = thinned(points)
    assert len(steps) == 600
    assert (steps[-1], values[-1]) == (9999, 1.0)
    assert steps == sorted(steps)
    assert all(abs(value - 0.5) < 0.05 for value in values[:-1])
    assert thinned(points[:5]) == ([0, 1, 2, 3, 4], [0.0, 1.0, 0.0, 1.0, 0.0])
