"""What a report says is what the manifest says."""

import json
import re
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import report, reporting, storage, tables
from tasks.failures import RequestError
from tasks.report_pictures import choose
from tests import collections as c
from tests.corpus import good_image
from tests.manifests import HOSTILE, NOON, row, write_run, write_shard


def _data(uri: str) -> dict[str, object]:
    held = re.search(r'id="data">(.*?)</script>', storage.read(uri).decode(), re.S)
    assert held is not None
    data: dict[str, object] = json.loads(held[1])
    return data


def test_a_run_s_report_counts_shows_and_lists(local_and_s3: str) -> None:
    source, destination = storage.join(local_and_s3, "in"), storage.join(local_and_s3, "out")
    pictures = {f"{i}.png": good_image(i, (40, 30)) for i in range(5)}
    c.put(source, pictures | {HOSTILE: good_image(7, (20, 20)), "bad.png": b"text"})
    c.run(c.request(source, destination, max_failed=1, shard_size=3))
    uri = reporting.write_page(destination, sample=4)
    assert uri == storage.join(storage.normalise(destination), "report/index.html")
    data = _data(uri)
    assert {k: data["totals"][k] for k in ("sources", "ok", "failed")} == {  # type: ignore[index]
        "sources": 7, "ok": 6, "failed": 1,
    }  # fmt: skip
    [failure] = data["failures"]  # type: ignore[misc]
    assert failure["sources"] == [storage.join(storage.normalise(source), "bad.png")]  # type: ignore[index]
    table = data["table"]
    assert HOSTILE in table["columns"]["source"]  # type: ignore[index]
    shown = data["pictures"]
    assert [len(g["pictures"]) for g in shown["groups"]] == [4, 6, 6]  # type: ignore[index]
    assert all(
        one["aligned"] and one["detail_after"].startswith("data:image/webp;base64,")
        for one in shown["pictures"].values()  # type: ignore[index]
    )
    assert data["runs"][0]["parameters"]["model"] == "bicubic"  # type: ignore[index]


def test_pictures_that_are_gone_are_counted_not_fatal(tmp_path: object) -> None:
    write_shard(str(tmp_path), [row("a.png", source=f"{tmp_path}/gone.png")])
    data = _data(reporting.write_page(str(tmp_path), output=f"{tmp_path}/elsewhere.html"))
    assert data["pictures"]["unreadable"] == 1  # type: ignore[index]
    assert data["pictures"]["pictures"] == {}  # type: ignore[index]


def test_what_was_done_again_counts_once_and_keys_are_not_shown(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-very-secret-key")
    name = "a.png?X-Amz-Signature=a-very-secret-key"
    write_shard(str(tmp_path), [row(name, failed=True, error="no a-very-secret-key")])
    write_shard(str(tmp_path), [row(name, run="run-2", second=9)])
    write_run(str(tmp_path))
    uri = reporting.write_page(str(tmp_path))
    assert _data(uri)["totals"]["sources"] == 1  # type: ignore[index]
    assert b"very-secret" not in storage.read(uri)


def test_without_a_manifest_or_with_a_wrong_sample_it_says_so(store: str) -> None:
    with pytest.raises(storage.NotFoundError, match="no manifest"):
        reporting.write_page(store)
    with pytest.raises(RequestError, match="at least 0, got -1"):
        reporting.write_page(store, sample=-1)


def test_the_extremes_are_by_psnr_where_there_is_one() -> None:
    sizes = {"output_width": 100, "output_height": 100, "decode_s": 0.0, "encode_s": 0.0}
    rows = [
        {"source": str(i), "psnr": float(p), "infer_s": float(i), **sizes}
        for i, p in enumerate((30, 20, 40, 25, 35, 28, 29, 31))
    ]
    by = {title: [r["source"] for r in members] for title, members in choose(rows, 3)}
    assert by["Best PSNR"][0] == "2"
    assert by["Worst PSNR"][:2] == ["1", "3"]
    assert choose(rows, 3) == choose(rows, 3)
    quick = choose([r | {"psnr": None} for r in rows], 3)
    assert [r["source"] for r in quick[2][1]] == ["7", "6", "5", "4", "3", "2"]


def test_timelines_hold_every_row_of_a_run(tmp_path: object) -> None:
    rows = [row(f"{i}.png", second=i * 0.7, failed=i % 5 == 0) for i in range(100)]
    write_shard(str(tmp_path), rows)
    write_shard(str(tmp_path), [row("one.png", run="run-2", second=10**6)])
    second, first = report.timelines(report.manifest_parts.read_rows(str(tmp_path)))
    assert (sum(first["ok"]), sum(first["failed"])) == (80, 20)  # type: ignore[call-overload]
    assert (sum(second["ok"]), second["run"]) == (1, "run-2")  # type: ignore[call-overload]


@given(st.lists(st.floats(1e-6, 1e9), min_size=1, max_size=60), st.booleans())
def test_a_histogram_counts_every_value(values: list[float], log: bool) -> None:
    found = report.histogram("t", "s", np.array([*values, np.nan]), log=log)
    assert found is not None
    edges = found["edges"]
    assert sum(found["counts"]) == len(values)  # type: ignore[call-overload]
    assert edges == sorted(edges)  # type: ignore[type-var]


def test_too_many_rows_keep_the_failed_and_the_latest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "_MOST_ROWS", 3)
    rows = [row(f"{i}.png", second=i, failed=i == 1) for i in range(6)]
    data = tables.to_parquet(rows, tables.MANIFEST)
    held = report.table(tables.from_parquet(data))
    assert held["total"] == 6
    assert held["columns"]["source"] == ["1.png", "4.png", "5.png"]  # type: ignore[index]
    assert NOON + timedelta(seconds=5) == rows[5].finished_at


@pytest.mark.parametrize(
    ("uris", "prefix"),
    [
        (["s3://b/a/1.png", "s3://b/a/2.png"], "s3://b/a/"),
        (["s3://b/a/1.png", "s3://b/ab.png"], "s3://b/"),
        (["/a/b.png"], "/a/"),
        (["x", "y"], ""),
        ([], ""),
    ],
)
def test_the_common_folder(uris: list[str], prefix: str) -> None:
    assert report.common_folder(uris) == prefix
