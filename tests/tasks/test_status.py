"""The status is what the manifests say, while a run goes and after it."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from tasks import status, storage
from tests import collections as c
from tests.corpus import good_image
from tests.manifests import NOON, row, write_run, write_shard


def _read(destination: str, **said: object) -> status.Status:
    return status.read_status(
        destination,
        **{"now": NOON + timedelta(minutes=1), **said},  # type: ignore[arg-type]
    )


def test_a_source_counts_once_by_its_latest_row(store: str) -> None:
    write_shard(store, [row("a.png", failed=True), row("b.png"), row("c.png", failed=True)])
    write_shard(store, [row("a.png", run="run-2", second=60)])
    write_run(store, "run-1")
    write_run(store, "run-2", started_at=NOON + timedelta(seconds=50))
    found = _read(store)
    assert (found.done, found.failed, found.failures) == (2, 1, {"truncated": 1})
    assert (found.run, found.run_images, found.run_state) == ("run-2", 1, "done")
    assert found.output_bytes == 600_000
    assert found.seconds["infer"] == pytest.approx(0.8)  # of every try


def test_rate_and_eta_of_a_run_that_is_going(store: str) -> None:
    source = storage.join(store, "in")
    c.put(source, {f"{i}.png": b"not looked into" for i in range(10)} | {"notes.txt": b"no"})
    destination = storage.join(store, "out")
    tags = {e.uri: e.etag for page in storage.list_pages(source) for e in page}
    uris = [storage.join(storage.normalise(source), f"{i}.png") for i in range(4)]
    rows = [
        row(f"{i}.png", second=i + 1, source=uri, source_etag=tags[uri], failed=i == 3)
        for i, uri in enumerate(uris)
    ]
    write_shard(destination, rows)
    write_run(destination, status="running", found=0, source=source)
    found = _read(destination)
    assert (found.run_state, found.to_do, found.eta_s) == ("running", None, None)
    assert found.per_second == pytest.approx(1.0)
    counted = _read(destination, source=source)
    assert (counted.done, counted.failed, counted.to_do) == (3, 1, 6)
    assert counted.eta_s == pytest.approx(6.0)
    later = _read(destination, now=NOON + timedelta(hours=3))
    assert later.run_state == "silent"


def test_after_a_whole_run_nothing_is_to_do(tmp_path: object) -> None:
    source, destination = f"{tmp_path}/in", f"{tmp_path}/out"
    c.put(source, {"a.png": good_image(0, (9, 9)), "b.png": b"text"})
    c.run(c.request(source, destination))
    for found in (_read(destination), _read(destination, source=source)):
        assert (found.done, found.failed, found.to_do) == (1, 1, 0)
    c.put(source, {"c.png": good_image(1, (9, 9))})
    assert _read(destination, source=source).to_do == 1


def test_where_nothing_was_written_it_says_so(store: str) -> None:
    with pytest.raises(storage.NotFoundError, match="no run has written anything"):
        _read(store)


def test_words_json_and_metrics_say_the_same(store: str) -> None:
    write_shard(store, [row("a.png"), row("b.png", failed=True, error_type='od"d\n')])
    write_run(store)
    found = replace(_read(store), destination='s3://a"b\\c')
    assert json.loads(json.dumps(status.as_record(found)))["done"] == 1
    assert status.as_lines(found, now=NOON)[0] == "done    1"
    lines = status.as_prometheus(found).splitlines()
    place = r'destination="s3://a\"b\\c"'
    assert f'pixelmill_images_total{{{place},status="ok"}} 1' in lines
    assert f'pixelmill_failures_total{{{place},kind="od\\"d\\n"}} 1' in lines
    for line in lines:
        assert line.startswith(("# HELP pixelmill_", "# TYPE pixelmill_", "pixelmill_"))
    names = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(names) == len(set(names)) == 6
