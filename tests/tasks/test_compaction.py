"""Merged parts hold what the small ones held, whatever happens on the way."""

import threading
from datetime import UTC, datetime

import duckdb
import pytest

from tasks import collection, compaction, manifest_parts, storage
from tasks.failures import RequestError
from tasks.runs import RunProgress
from tasks.storage import Entry
from tests import collections as c
from tests.corpus import good_image
from tests.manifests import row, write_run, write_shard

PICTURES = {f"{i:02d}.png": good_image(i, (12, 10)) for i in range(6)}


def _parts(destination: str) -> list[str]:
    place = storage.normalise(destination)
    found = [e.uri[len(place) + 1 :] for p in manifest_parts.list_parts(place) for e in p]
    return sorted(found)


def _current(destination: str) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = manifest_parts.current(
        manifest_parts.read_rows(destination)
    ).to_pylist()
    return rows


def _all(destination: str) -> list[dict[str, object]]:
    table = manifest_parts.read_rows(destination).sort_by(
        [(name, "ascending") for name in ("source", "finished_at", "run", "shard")]
    )
    rows: list[dict[str, object]] = table.to_pylist()
    return rows


def _three_runs(destination: str) -> None:
    """12 sources in 6 shards of a run; four again by a second; one by a third, which is going."""
    for shard in range(6):
        rows = [row(f"{shard}-{i}.png", shard=shard, second=shard, failed=i == 1) for i in (0, 1)]
        write_shard(destination, rows)
    for shard in range(4):
        again = row(f"{shard}-1.png", run="run-2", shard=shard, second=100 + shard)
        write_shard(destination, [again])
    for shard in range(2):
        write_shard(destination, [row("0-0.png", run="run-3", shard=shard, second=200 + shard)])
    write_run(destination, "run-1")
    write_run(destination, "run-2", status="stopped")
    write_run(destination, "run-3", status="running", started_at=datetime.now(UTC))


def test_every_row_stays_in_fewer_parts_and_a_run_under_way_keeps_its_own(
    local_and_s3: str,
) -> None:
    _three_runs(local_and_s3)
    before, current = _all(local_and_s3), _current(local_and_s3)
    done = compaction.compact(local_and_s3)
    assert (done.parts_before, done.parts_after, done.runs_left_alone) == (12, 4, 1)
    assert _all(local_and_s3) == before
    assert _current(local_and_s3) == current
    names = _parts(local_and_s3)
    assert [n for n in names if "run-3" in n] == [
        f"manifest/run=run-3/shard-{n:06d}.parquet" for n in (0, 1)
    ]
    assert compaction.compact(local_and_s3).parts_after == 4
    assert _parts(local_and_s3) == names


def test_a_compaction_killed_between_writing_and_deleting_costs_nothing(
    local_and_s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _three_runs(local_and_s3)
    before, current = _all(local_and_s3), _current(local_and_s3)
    deleted: list[str] = []

    def die(part: Entry) -> None:
        if len(deleted) == 2:
            raise KeyboardInterrupt
        deleted.append(part.uri)
        storage.delete(part.uri)

    with monkeypatch.context() as patch:
        patch.setattr(compaction, "_delete_unchanged", die)
        patch.setattr(compaction, "_WORKERS", 1)
        with pytest.raises(KeyboardInterrupt):
            compaction.compact(local_and_s3)
    assert len(deleted) == 2
    assert len(_parts(local_and_s3)) == 12 - 2 + 1
    assert _current(local_and_s3) == current
    done = compaction.compact(local_and_s3)
    assert done.parts_after == 4
    assert _all(local_and_s3) == before  # what stood in two parts stands in one


def test_a_reader_that_meets_a_compaction_half_way_misses_no_row(local_and_s3: str) -> None:
    _three_runs(local_and_s3)
    expected = {r["source"] for r in _all(local_and_s3)}
    met: list[str] = []
    first = threading.Lock()

    def read(uri: str) -> list[str]:
        with first:
            if not met:  # everything is listed, nothing read
                met.append(uri)
                compaction.compact(local_and_s3)
        data = storage.read(uri)
        table = manifest_parts.tables.from_parquet(data, ["source"])
        return [str(source) for source in table.column(0).to_pylist()]

    found = [s for part in manifest_parts.read_parts(local_and_s3, read) for s in part]
    assert set(found) == expected


def test_a_part_done_again_since_it_was_listed_is_kept(
    local_and_s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _three_runs(local_and_s3)
    later = row("5-0.png", shard=5, second=500)
    rows = compaction.merged_rows
    written: list[str] = []

    def done_again_meanwhile(parts: list[object]) -> object:
        if not written:  # while the parts of run-1, which come first, are merged
            written.append(write_shard(local_and_s3, [later]))
        return rows(parts)  # type: ignore[arg-type]

    monkeypatch.setattr(compaction, "merged_rows", done_again_meanwhile)
    compaction.compact(local_and_s3)
    current = {r["source"]: r["finished_at"] for r in _current(local_and_s3)}
    assert current[later.source] == later.finished_at


def test_a_killed_run_is_merged_when_it_has_written_nothing_for_long(local_and_s3: str) -> None:
    for shard in range(3):
        write_shard(local_and_s3, [row(f"{shard}.png", shard=shard)])
    write_run(local_and_s3, status="running")
    assert compaction.compact(local_and_s3, older_than_hours=10**6).runs_left_alone == 1
    assert compaction.compact(local_and_s3, older_than_hours=1).parts_after == 1


def test_a_merged_part_sorts_after_what_it_holds_and_is_about_as_large_as_wanted(
    local_and_s3: str,
) -> None:
    for shard in range(40):
        rows = [row(f"{shard}-{i}.png", shard=shard, second=i) for i in range(5)]
        size = storage.stat(write_shard(local_and_s3, rows)).size
    write_run(local_and_s3)
    first = compaction.compact(local_and_s3, part_bytes=10 * size)
    once = _parts(local_and_s3)
    assert 4 <= first.parts_after <= 5
    second = compaction.compact(local_and_s3)
    assert second.parts_after == 1
    [last] = _parts(local_and_s3)
    assert last > max(once) > "manifest/run=run-1/shard-999999.parquet"
    assert len(_all(local_and_s3)) == 200


def test_values_out_of_range_are_refused(tmp_path: object) -> None:
    with pytest.raises(RequestError, match="at least 0 hours"):
        compaction.compact(str(tmp_path), older_than_hours=-1)


def test_planning_and_the_readme_s_view_say_the_same_before_and_after(tmp_path: object) -> None:
    source, destination = f"{tmp_path}/in", f"{tmp_path}/out"
    c.put(source, PICTURES)
    c.run(c.request(source, destination, shard_size=1))
    c.put(source, {"00.png": good_image(9, (12, 10))})  # edited
    c.run(c.request(source, destination, shard_size=1))

    def view() -> list[tuple[object, ...]]:
        parts = duckdb.read_parquet(f"{destination}/manifest/*/*.parquet")
        return parts.query(
            "manifest",
            "select * from manifest qualify row_number() over"
            " (partition by source order by finished_at desc, run desc) = 1 order by source",
        ).fetchall()

    before, records = view(), len(_parts(destination))
    done = compaction.compact(destination)
    assert (records, done.parts_after) == (7, 2)
    assert view() == before
    assert len(collection.read_done(destination)) == 6
    progress = RunProgress()
    summary = c.run(c.request(source, destination, shard_size=1), progress)
    assert (summary.already_done, summary.ok) == (6, 0)


def test_a_run_in_flight_goes_on_beside_compactions(local_and_s3: str) -> None:
    source, destination = storage.join(local_and_s3, "in"), storage.join(local_and_s3, "out")
    c.put(source, PICTURES)
    c.run(c.request(source, destination, shard_size=1, limit=3))
    job = c.open_job(c.request(source, destination, shard_size=1))
    progress = RunProgress()
    with c.runs.recorded(job.run, progress):
        for shard in c.plan(job, progress):
            c.run_shard(job, shard, progress)
            compaction.compact(destination)
    assert len(collection.read_done(destination)) == 6
    assert {r["source"]: r["status"] for r in _current(destination)} == dict.fromkeys(
        c.sources(source, PICTURES), "ok"
    )
    assert c.run(c.request(source, destination)).to_do == 0
