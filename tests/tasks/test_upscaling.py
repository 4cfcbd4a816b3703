"""The upscaling job without Prefect: the same laws over a folder and a real S3 server."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from models.images import decode
from tasks import storage
from tasks.failures import RequestError
from tasks.registry import ModelError
from tasks.runs import RunProgress, StoppedError, TooManyFailedError, checked
from tasks.upscaling import (
    check_request,
    dry_run,
    open_job,
    plan,
    run_shard,
)
from tests import collections as c
from tests.corpus import bad_images, good_image

GOOD = {f"good/{i:03d}.{'jpg' if i % 2 else 'png'}": good_image(i, (48, 32)) for i in range(8)}


def _place(store: str, pictures: dict[str, bytes]) -> tuple[str, str]:
    source, destination = storage.join(store, "in"), storage.join(store, "out")
    c.put(source, pictures)
    return source, destination


class TestABadCollection:
    """Odd and broken pictures among good ones: each costs one row, and no run."""

    def test_every_source_ends_as_one_row_that_says_what_happened(self, local_and_s3: str) -> None:
        odd = bad_images()
        pictures = GOOD | {f"odd/{name}": data for name, (data, _) in odd.items()}
        source, destination = _place(local_and_s3, pictures)
        summary = c.run(c.request(source, destination, shard_size=40))

        rows = c.manifest(destination).to_pylist()
        assert len(rows) == len({row["source"] for row in rows}) == summary.found
        assert summary.ok + summary.failed == summary.found
        for row in rows:
            name = row["source"].removeprefix(storage.normalise(source) + "/")
            convertible = not name.startswith("odd/") or odd[name.removeprefix("odd/")][1]
            assert row["status"] == ("ok" if convertible else "failed"), row
            if row["status"] == "failed":
                assert len(row["error"].split()) >= 2, row
                assert row["error_type"] not in (None, "Exception"), row
                assert row["output"] is None

    def test_no_two_sources_share_an_output_and_all_are_whole(self, store: str) -> None:
        odd = {name: data for name, (data, convertible) in bad_images().items() if convertible}
        source, destination = _place(store, GOOD | odd)
        summary = c.run(c.request(source, destination))

        images = c.outputs(destination)
        assert len(images) == summary.ok
        rows = {row["output"]: row for row in c.current_rows(destination).values()}
        assert set(images) == set(rows)
        for name, data in images.items():
            height, width = decode(data).pixels.shape[:2]
            row = rows[name]
            assert (width, height) == (row["output_width"], row["output_height"])
            assert (width, height) == (2 * row["width"], 2 * row["height"])
            assert len(data) == row["output_bytes"]

    def test_too_many_failures_are_told_from_few(self, store: str) -> None:
        source, destination = _place(store, GOOD | {"empty.png": b""})
        summary = c.run(c.request(source, destination))
        assert checked(summary, 0.2) is summary
        with pytest.raises(TooManyFailedError, match="1 image failed"):
            checked(summary, 0.05)


class TestResuming:
    """Done means a current row that is ok, with the same etag and config."""

    def test_a_second_run_does_nothing_and_an_edited_source_is_done_again(
        self, local_and_s3: str
    ) -> None:
        source, destination = _place(local_and_s3, GOOD)
        assert c.run(c.request(source, destination)).ok == len(GOOD)
        again = c.run(c.request(source, destination))
        assert (again.ok, again.failed, again.already_done) == (0, 0, len(GOOD))
        c.put(source, {"good/000.png": good_image(99, (48, 32))})
        third = c.run(c.request(source, destination))
        assert (third.ok, third.already_done) == (1, len(GOOD) - 1)

    def test_a_failed_image_is_tried_again(self, store: str) -> None:
        source, destination = _place(store, {**GOOD, "late.png": b""})
        assert c.run(c.request(source, destination)).failed == 1
        assert c.run(c.request(source, destination)).failed == 1
        c.put(source, {"late.png": good_image(5, (20, 20))})
        assert c.run(c.request(source, destination)).ok == 1

    def test_other_parameters_are_done_again_and_so_is_going_back(self, store: str) -> None:
        source, destination = _place(store, GOOD)
        for scale in (2, 3, 2):
            assert c.run(c.request(source, destination, scale=scale)).ok == len(GOOD)
        assert c.run(c.request(source, destination, scale=2)).ok == 0

    def test_what_a_new_tile_or_shard_size_changes_is_nothing(self, store: str) -> None:
        source, destination = _place(store, GOOD)
        c.run(c.request(source, destination))
        other = c.request(source, destination, tile=64, shard_size=1, max_failed=0.5)
        assert c.run(other).ok == 0
        assert c.run(replace(other, overwrite=True)).ok == len(GOOD)

    def test_the_limit_cuts_a_collection_into_runs(self, store: str) -> None:
        source, destination = _place(store, GOOD)
        done = [c.run(c.request(source, destination, limit=3)).ok for _ in range(4)]
        assert done == [3, 3, 2, 0]

    def test_shards_and_tiles_do_not_change_a_byte(self, tmp_path: object) -> None:
        source, one = _place(f"{tmp_path}/a", GOOD)
        other = f"{tmp_path}/other"
        options = {"model": "mill-x4", "scale": 4}
        c.run(c.request(source, one, **options))
        c.run(c.request(source, other, **options, shard_size=3))
        assert c.outputs(one) == c.outputs(other)

    def test_stopping_keeps_what_is_finished(self, store: str) -> None:
        source, destination = _place(store, GOOD)
        job, progress = open_job(c.request(source, destination, shard_size=2)), RunProgress()
        add = progress.add
        progress.add = lambda row: (add(row), progress.stop.set())[0]  # type: ignore[method-assign]
        with pytest.raises(StoppedError, match="run it again"):
            c.run(job, progress)
        kept = len(c.current_rows(destination))
        assert 1 <= kept < len(GOOD)
        assert c.run_records(destination).column("status").to_pylist() == ["stopped"]
        assert c.run(c.request(source, destination)).ok == len(GOOD) - kept


def test_an_object_that_vanishes_after_the_listing_is_a_row(store: str) -> None:
    source, destination = _place(store, GOOD)
    job, progress = open_job(c.request(source, destination)), RunProgress()
    shards = list(plan(job, progress))
    storage.delete(storage.join(source, "good/000.png"))
    rows = [row for shard in shards for row in run_shard(job, shard, progress)]
    failed = [row for row in rows if row.status == "failed"]
    assert [row.error_type for row in failed] == ["vanished"]
    assert progress.ok == len(GOOD) - 1


def test_a_dry_run_counts_and_writes_nothing(store: str) -> None:
    others = {"notes.txt": b"x", ".hidden.png": b"x", "sub/._a.jpg": b"x", "Thumbs.db": b"x"}
    source, destination = _place(store, GOOD | others)
    summary = dry_run(open_job(c.request(source, destination)), RunProgress())
    assert (summary.found, summary.to_do, summary.already_done) == (len(GOOD), len(GOOD), 0)
    assert summary.left_out == {"not an image": 1, "hidden": 2, "system file": 1}
    assert not storage.is_folder(destination)


def test_a_reference_is_measured_against(store: str) -> None:
    originals = {f"{i}.png": good_image(2 * i, (64, 48)) for i in range(3)}
    small = {f"{i}.png": good_image(2 * i, (32, 24)) for i in range(3)}
    source, destination = _place(store, small)
    reference = storage.join(store, "originals")
    c.put(reference, {name: originals[name] for name in ("0.png", "1.png")})
    c.run(c.request(source, destination, reference=reference))
    rows = c.current_rows(destination)
    measured = [r["psnr"] for r in rows.values() if r["psnr"] is not None]
    assert len(measured) == 2
    assert all(5 < float(str(v)) < 60 for v in measured)


@pytest.mark.parametrize("wanted", ["png", "webp", "jpeg", "keep"])
def test_every_format_keeps_alpha_gray_and_size(store: str, wanted: str) -> None:
    odd = bad_images()
    pictures = {name: data for name, (data, ok) in odd.items() if ok}
    source, destination = _place(store, pictures)
    summary = c.run(c.request(source, destination, format=wanted))
    too_large = [r for r in c.current_rows(destination).values() if r["status"] == "failed"]
    assert all(r["error_type"] == "too_large_for_format" for r in too_large)
    assert summary.ok == len(pictures) - len(too_large)


class TestWrongRequests:
    """Each wrong request is one sentence, before anything is written."""

    @pytest.mark.parametrize(
        ("options", "error", "words"),
        [
            ({"scale": 5, "model": None}, ModelError, "scale must be 2, 3 or 4, got 5"),
            ({"scale": 9}, RequestError, "scale must be 2, 3 or 4"),
            ({"scale": 3, "model": "mill-x4"}, ModelError, "mill-x4 enlarges 4 times, got scale 3"),
            ({"model": "magic"}, ModelError, "no model named 'magic'"),
            ({"model": "nowhere/model.pth"}, ModelError, "no checkpoint at nowhere/model.pth"),
            ({"tile": 3}, RequestError, "tile must be 16 to 4096, got 3"),
            ({"shard_size": 0}, RequestError, "shard-size must be 1 to"),
            ({"max_failed": 1.5}, RequestError, "max-failed must be 0 to 1"),
        ],
    )
    def test_a_value_out_of_range(
        self, tmp_path: object, options: dict[str, object], error: type[Exception], words: str
    ) -> None:
        source, destination = _place(str(tmp_path), GOOD)
        with pytest.raises(error, match=words):
            open_job(c.request(source, destination, **options))
        assert not storage.is_folder(destination)

    def test_a_destination_inside_the_source_and_the_reverse(self, store: str) -> None:
        source, _ = _place(store, GOOD)
        with pytest.raises(RequestError, match="must not lie inside the source"):
            check_request(c.request(source, storage.join(source, "out")))
        with pytest.raises(RequestError, match="must not lie inside the source"):
            check_request(c.request(source, source))
        with pytest.raises(RequestError, match="must not be the outputs"):
            check_request(c.request(storage.join(store, "images/a"), store))

    def test_a_missing_source(self, store: str) -> None:
        with pytest.raises(storage.NotFoundError):
            check_request(c.request(storage.join(store, "nothing"), storage.join(store, "out")))


def test_the_digest_follows_what_shapes_pixels(tmp_path: object) -> None:
    source, destination = _place(str(tmp_path), GOOD)

    def digest(**options: object) -> str:
        return open_job(c.request(source, destination, **options)).provenance.config_digest

    same = {digest(), digest(tile=64), digest(shard_size=9), digest(overwrite=True)}
    other = {digest(scale=3), digest(format="webp"), digest(model="mill-x4", scale=4)}
    assert len(same) == 1
    assert len(same | other) == 4


def test_runs_beside_each_other_make_the_same_bytes(tmp_path: object) -> None:
    source, destination = _place(str(tmp_path), GOOD)
    jobs = [open_job(c.request(source, f"{destination}-{i}")) for i in range(3)]
    threads = [threading.Thread(target=c.run, args=(job,)) for job in jobs]
    # signals belong to the main thread: elsewhere a run works without them
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results = [c.outputs(f"{destination}-{i}") for i in range(3)]
    assert results[0] == results[1] == results[2]
    assert len(results[0]) == len(GOOD)


def test_secrets_do_not_reach_the_records(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret-value")
    source, destination = _place(f"{tmp_path}/very-secret-value", GOOD)
    c.run(c.request(source, destination))
    records = c.run_records(destination).to_pylist()
    assert "very-secret-value" not in records[0]["parameters"]


def test_an_alpha_picture_keeps_its_channels(tmp_path: object) -> None:
    odd = bad_images()
    name = next(
        n for n, (_, ok) in odd.items() if ok and n.startswith("rgba") and n.endswith("png")
    )
    source, destination = _place(str(tmp_path), {name: odd[name][0]})
    c.run(c.request(source, destination, model="mill-x4", scale=4))
    (data,) = c.outputs(destination).values()
    before, after = decode(odd[name][0]).pixels, decode(data).pixels
    assert after.shape == (4 * before.shape[0], 4 * before.shape[1], before.shape[2])
    assert abs(float(np.mean(after[..., 3])) - float(np.mean(before[..., 3]))) < 4
