"""The super-resolution dataset without Prefect: building it, adding to it, reading it."""

import hashlib
import json
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.degradation import DegradationConfig, crop_to_multiple, degrade, image_generator
from models.images import decode, read_header
from models.pixels import Pixels
from tasks import runs, sr_dataset, storage, tables
from tasks.failures import RequestError
from tasks.picture_pairs import decode_colour
from tasks.runs import RunProgress, StoppedError, TooManyFailedError
from tasks.sr_building import split_of
from tasks.sr_dataset import SrDatasetSummary, checked
from tasks.sr_pairs import DatasetError, EncodedPair, is_dataset, open_sr_dataset, read_pairs
from tasks.sr_request import SrDatasetRequest, check_request
from tests import collections as c
from tests.corpus import bad_images, good_image, saved, smooth_noise

SPLITS = ("train", "validation", "test")
GOOD = {f"sub/{i:03d}.{'jpg' if i % 2 else 'png'}": good_image(i, (51, 38)) for i in range(12, 24)}
SOME, REST = dict(islice(GOOD.items(), 7)), dict(islice(GOOD.items(), 7, None))
SHARES = {"scale": 2, "validation": 0.25, "test": 0.25}


def request(store: str, **options: object) -> SrDatasetRequest:
    places = {"source": storage.join(store, "in"), "destination": storage.join(store, "out")}
    return SrDatasetRequest(**{**SHARES, **places, **options})  # type: ignore[arg-type]


def build(store: str, *, shards: int | None = None, **options: object) -> SrDatasetSummary | None:
    """The flow without Prefect; with a number of shards, it is killed after so many."""
    job, progress = sr_dataset.open_job(request(store, **options)), RunProgress()
    with runs.recorded(job.run, progress):
        sr_dataset.begin(job)
        for shard in islice(sr_dataset.plan(job, progress), shards):
            sr_dataset.run_shard(job, shard, progress)
        return sr_dataset.finish(job, progress) if shards is None else None


def done(store: str, **options: object) -> SrDatasetSummary:
    summary = build(store, **options)  # type: ignore[arg-type]
    assert summary is not None
    return summary


def put(store: str, pictures: dict[str, bytes]) -> None:
    c.put(storage.join(store, "in"), pictures)


def out(store: str) -> str:
    return storage.normalise(storage.join(store, "out"))


def names(store: str, folder: str = "") -> set[str]:
    """Paths below the dataset."""
    root = out(store)
    try:
        found = [e.uri for page in storage.list_pages(storage.join(root, folder)) for e in page]
    except storage.NotFoundError:
        return set()
    return {uri[len(root) + 1 :] for uri in found}


def rows(store: str) -> list[dict[str, Any]]:
    """Every row of every part, superseded ones too."""
    parts = [storage.read(f"{out(store)}/{name}") for name in sorted(names(store, "data"))]
    return [row for data in parts for row in tables.from_parquet(data).to_pylist()]


def pairs(store: str) -> dict[str, dict[str, EncodedPair]]:
    """Split -> source's path -> its pair."""
    start = len(storage.join(storage.normalise(storage.join(store, "in")), "-")) - 1
    return {s: {p.source[start:]: p for p in read_pairs(out(store), s)} for s in SPLITS}


def contents(store: str) -> set[tuple[str, str, bytes, bytes]]:
    return {
        (split, p.source_digest, p.image, p.low)
        for split, found in pairs(store).items()
        for p in found.values()
    }


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def placed(data: bytes) -> str:
    """The split that content belongs in."""
    return split_of(sha(data), seed=0, validation=0.25, test=0.25)


def in_split(split: str, size: tuple[int, int] = (51, 38)) -> bytes:
    """A picture that belongs in that split, and is not in GOOD."""
    pictures = (good_image(seed, size) for seed in range(100, 500))
    return next(data for data in pictures if placed(data) == split)


class TestWhatABuildLeaves:
    def test_every_picture_is_in_one_split_with_its_degraded_version(self, store: str) -> None:
        put(store, GOOD)
        summary = done(store)
        found = pairs(store)
        assert sum(map(len, found.values())) == summary.new == len(GOOD)
        assert {split: len(of) for split, of in found.items()} == summary.counts
        assert all(summary.counts.values())
        config = DegradationConfig(scale=2)
        for split, of_split in found.items():
            for name, pair in of_split.items():
                digest = sha(GOOD[name])
                assert pair.source_digest == digest
                assert split == placed(GOOD[name])
                truth = crop_to_multiple(decode_colour(GOOD[name]), 2)
                low = degrade(truth, config, image_generator(0, digest))
                np.testing.assert_array_equal(decode(pair.image).pixels, truth)
                np.testing.assert_array_equal(decode(pair.low).pixels, low)
                assert (pair.width, pair.height) == (50, 38)

    def test_rows_and_parts_say_what_they_are(self, store: str) -> None:
        put(store, GOOD)
        summary = done(store)
        for name in names(store, "data"):
            _, split, part = name.split("/")
            assert part.startswith(f"part-{summary.run}-")
            table = tables.from_parquet(storage.read(f"{out(store)}/{name}"))
            assert table.schema.equals(tables.SR_PAIRS, check_metadata=True)
            assert set(table["split"].to_pylist()) == {split}
            assert table["source"].to_pylist() == sorted(table["source"].to_pylist())
        for row in rows(store):
            assert (row["scale"], row["run"]) == (2, summary.run)
            assert row["image"]["path"].startswith("sub/")
            assert row["image"]["path"].endswith(".png")
            header = read_header(row["image"]["bytes"])
            assert (header.format, header.width, header.height) == ("PNG", 50, 38)

    def test_the_schema_tells_hugging_face_which_columns_are_pictures(self) -> None:
        told = json.loads((tables.SR_PAIRS.metadata or {})[b"huggingface"])
        features = told["info"]["features"]
        assert list(features) == tables.SR_PAIRS.names
        assert features["image"] == features["low"] == {"_type": "Image"}
        assert features["source"] == {"dtype": "string", "_type": "Value"}
        assert features["dhash"] == {"dtype": "int64", "_type": "Value"}
        assert features["finished_at"] == {"dtype": "timestamp[us, tz=UTC]", "_type": "Value"}

    def test_dataset_json_and_the_card_describe_it(self, tmp_path: Path) -> None:
        put(str(tmp_path), {name: GOOD[name] for name in list(GOOD)[:3]})
        summary = done(str(tmp_path), validation=0, test=0)
        told = json.loads((tmp_path / "out/dataset.json").read_bytes())
        assert (told["system"], told["scale"]) == ("sr", 2)
        assert told["counts"] == summary.counts == {"train": 3, "validation": 0, "test": 0}
        card = (tmp_path / "out/README.md").read_text()
        assert card.startswith("---\n")
        assert "path: data/train/*.parquet" in card
        assert "data/test" not in card  # a pattern that nothing matches is an error there

    def test_the_closing_line_says_it_all(self, tmp_path: Path) -> None:
        put(str(tmp_path), {**GOOD, "copy.png": GOOD["sub/012.png"], "bad.png": b""})
        line = done(str(tmp_path)).closing_line()
        assert line.startswith("12 images: ")
        assert "(12 new), 1 failed (1 empty), 1 copies stored once, no near-duplicates" in line
        assert line.endswith(f" s: {out(str(tmp_path))}")

    @pytest.mark.parametrize("kind", ["bicubic", "practical"])
    def test_it_depends_on_the_contents_alone(self, tmp_path: Path, kind: str) -> None:
        one, other = str(tmp_path / "one"), str(tmp_path / "other")
        put(one, GOOD)
        put(other, {f"{i}-renamed.png": data for i, data in enumerate(reversed(GOOD.values()))})
        places = ((one, 3), (other, 5))
        digests = {done(s, degradation=kind, shard_size=n).digest for s, n in places}
        assert len(digests) == 1
        assert contents(one) == contents(other)

    def test_parts_are_cut_by_bytes_too(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tasks.sr_building._PART_BYTES", 8_000)
        put(str(tmp_path), GOOD)
        assert done(str(tmp_path)).new == len(GOOD)
        assert len(names(str(tmp_path), "data")) > 5
        assert len(contents(str(tmp_path))) == len(GOOD)


class TestAddingToIt:
    def test_a_second_run_adds_only_what_is_new_and_a_third_nothing(self, store: str) -> None:
        put(store, SOME)
        assert done(store).new == len(SOME)
        first = names(store, "data")
        put(store, REST)
        second = done(store)
        assert (second.new, second.already_done) == (len(REST), len(SOME))
        assert first < names(store, "data")
        before = names(store)
        third = done(store)
        assert (third.new, third.ok, third.already_done) == (0, 0, len(GOOD))
        assert names(store) - before == {f"runs/run={third.run}.parquet"}
        assert third.digest == second.digest == open_sr_dataset(out(store)).digest

    def test_a_killed_run_is_completed_by_the_next_to_the_same_dataset(self, store: str) -> None:
        whole, killed = storage.join(store, "whole"), storage.join(store, "killed")
        put(whole, GOOD)
        put(killed, GOOD)
        wanted = done(whole)
        build(killed, shards=2, shard_size=3)
        assert sum(open_sr_dataset(out(killed)).counts.values()) == 0  # not committed yet
        assert [list(read_pairs(out(killed), s)) for s in SPLITS] == [[], [], []]
        again = done(killed)
        assert (again.new, again.already_done) == (len(GOOD) - 6, 6)
        assert (again.digest, again.counts) == (wanted.digest, wanted.counts)
        assert contents(killed) == contents(whole)

    def test_what_a_killed_run_has_added_is_not_read_before_another_has_finished(
        self, tmp_path: Path
    ) -> None:
        store = str(tmp_path)
        put(store, SOME)
        before = done(store)
        put(store, REST)
        build(store, shards=1, shard_size=3)
        assert open_sr_dataset(out(store)).digest == before.digest
        assert len(contents(store)) == len(SOME)
        assert done(store).new == len(REST) - 3
        assert len(contents(store)) == len(GOOD)

    def test_being_asked_to_stop_keeps_what_is_finished(self, tmp_path: Path) -> None:
        store = str(tmp_path)
        put(store, GOOD)
        job, progress = sr_dataset.open_job(request(store, shard_size=5)), RunProgress()
        with pytest.raises(StoppedError), runs.recorded(job.run, progress):  # noqa: PT012
            sr_dataset.begin(job)
            for shard in runs.until_stopped(sr_dataset.plan(job, progress), progress):
                sr_dataset.run_shard(job, shard, progress)
                progress.stop.set()
            sr_dataset.finish(job, progress)
        assert len(contents(store)) == 5
        assert done(store).already_done == 5

    def test_an_edited_source_is_read_as_it_is_now(self, store: str) -> None:
        put(store, GOOD | {"edited.png": in_split("train")})
        done(store)
        assert "edited.png" in pairs(store)["train"]
        now = in_split("test", size=(60, 40))
        put(store, {"edited.png": now})
        summary = done(store)
        assert (summary.new, sum(summary.counts.values())) == (1, len(GOOD) + 1)
        found = pairs(store)
        assert "edited.png" not in found["train"]
        assert found["test"]["edited.png"].source_digest == sha(now)
        assert len(rows(store)) == len(GOOD) + 2

    def test_a_source_touched_but_not_changed_adds_no_row(self, tmp_path: Path) -> None:
        store = str(tmp_path)
        put(store, GOOD)
        digest = done(store).digest
        put(store, {"sub/012.png": GOOD["sub/012.png"]})
        again = done(store)
        assert (again.new, again.ok, again.digest) == (0, 1, digest)
        assert done(store).already_done == len(GOOD)
        assert len(rows(store)) == len(GOOD)

    def test_lost_parts_and_a_lost_index_are_mended(self, tmp_path: Path) -> None:
        store = str(tmp_path)
        put(store, GOOD)
        wanted = done(store, shard_size=4)
        lost = sorted(names(store, "data"))[0]
        storage.delete(f"{out(store)}/{lost}")
        assert done(store).digest == wanted.digest
        for name in names(store, "index"):
            storage.delete(f"{out(store)}/{name}")
        with pytest.raises(DatasetError, match="build the dataset again"):
            list(read_pairs(out(store), "train"))
        mended = done(store)
        assert (mended.digest, mended.new) == (wanted.digest, 0)
        assert len(contents(store)) == len(GOOD)

    def test_the_limit_cuts_a_collection_into_runs(self, tmp_path: Path) -> None:
        put(str(tmp_path), GOOD)
        assert [done(str(tmp_path), limit=5).new for _ in range(4)] == [5, 5, 2, 0]

    @pytest.mark.parametrize(
        "options",
        [
            {"scale": 3},
            {"degradation": "practical"},
            {"validation": 0.3},
            {"test": 0.0},
            {"seed": 1},
        ],
    )
    def test_nothing_made_otherwise_is_added(
        self, tmp_path: Path, options: dict[str, object]
    ) -> None:
        store = str(tmp_path)
        put(store, GOOD)
        build(store, shards=1, shard_size=2)
        with pytest.raises(RequestError, match="wants another destination"):
            check_request(request(store, **options))
        storage.delete(f"{out(store)}/dataset.json")
        with pytest.raises(RequestError, match="made with another configuration"):
            sr_dataset.open_job(request(store, **options))


class TestCopies:
    """One content under several names."""

    def test_it_is_stored_once_in_one_split_and_not_read_again(self, store: str) -> None:
        put(store, GOOD | {f"copy-{name[4:]}": data for name, data in GOOD.items()})
        summary = done(store, shard_size=5)
        assert (summary.new, summary.copies, summary.ok) == (len(GOOD), len(GOOD), 2 * len(GOOD))
        digests = [row["source_digest"] for row in rows(store)]
        assert len(set(digests)) == len(digests) == len(GOOD)
        again = done(store)
        assert (again.ok, again.already_done, again.copies) == (0, 2 * len(GOOD), len(GOOD))

    @pytest.mark.parametrize("first", ["a.png", "z.png"])
    def test_a_copy_takes_over_when_its_holder_is_edited(self, tmp_path: Path, first: str) -> None:
        store, shared = str(tmp_path), in_split("train")
        put(store, {first: shared})
        done(store)
        put(store, GOOD | {"m.png": shared})
        assert done(store).copies == 1
        put(store, {first: in_split("validation")})
        summary = done(store)
        assert (summary.new, summary.copies) == (2, 0)
        found = pairs(store)
        assert found["train"]["m.png"].source_digest == sha(shared)
        assert first in found["validation"]
        assert done(store).ok == 0

    def test_a_source_edited_into_a_copy_leaves_its_old_content(self, tmp_path: Path) -> None:
        store = str(tmp_path)
        put(store, GOOD | {"a.png": in_split("train")})
        before = done(store)
        put(store, {"a.png": GOOD["sub/012.png"]})
        summary = done(store)
        assert (summary.new, summary.copies) == (0, 1)
        assert sum(summary.counts.values()) == sum(before.counts.values()) - 1
        assert sha(in_split("train")) not in {digest for _, digest, _, _ in contents(store)}


class TestABadCollection:
    def test_each_bad_image_costs_one_row_and_no_run(self, local_and_s3: str) -> None:
        odd = bad_images()
        put(local_and_s3, GOOD | {f"odd/{name}": data for name, (data, _) in odd.items()})
        summary = done(local_and_s3)
        tiny = {"one-pixel.png", "thin-1x5000.png", "one-frame.gif"}
        bad = {n for n, (_, convertible) in odd.items() if not convertible} | tiny
        (name,) = names(local_and_s3, "failed")
        assert name == f"failed/run={summary.run}.parquet"
        failed = tables.from_parquet(storage.read(f"{out(local_and_s3)}/{name}"))
        by_name = {row["source"].rpartition("/")[2]: row for row in failed.to_pylist()}
        assert bad - {"one-frame.gif"} <= set(by_name) <= bad
        assert len(failed) == len(by_name) == summary.failed
        for row in by_name.values():
            assert len(row["error"].split()) >= 2, row
            assert row["error_type"] not in (None, "Exception"), row
        assert by_name["one-pixel.png"]["error_type"] == "too_small"
        assert by_name["empty.png"]["error_type"] == "empty"
        for split in SPLITS:
            for pair in read_pairs(out(local_and_s3), split):
                assert decode(pair.image).pixels.shape[2] in (1, 3)
                assert decode(pair.image).pixels.dtype == np.uint8

    def test_alpha_is_left_out_and_gray_stays_gray(self, tmp_path: Path) -> None:
        store = str(tmp_path)
        names_of = ("rgba.png", "gray-alpha.png", "gray16.png", "gray.jpg", "cmyk.jpg")
        put(store, {name: bad_images()[name][0] for name in names_of})
        done(store, validation=0, test=0)
        channels = {n: decode(p.image).pixels.shape[2] for n, p in pairs(store)["train"].items()}
        assert channels == {
            "rgba.png": 3, "gray-alpha.png": 1, "gray16.png": 1, "gray.jpg": 1, "cmyk.jpg": 3,
        }  # fmt: skip

    @pytest.mark.parametrize(("scale", "side", "kept"), [(2, 32, 1), (2, 31, 0), (4, 64, 1)])
    def test_a_low_resolution_side_has_sixteen_pixels_or_more(
        self, tmp_path: Path, scale: int, side: int, kept: int
    ) -> None:
        put(str(tmp_path), {"a.png": good_image(0, (90, side)), "b.png": good_image(2, (90, 90))})
        summary = done(str(tmp_path), scale=scale, max_failed=1.0)
        assert summary.new == 1 + kept
        assert summary.failures == ({} if kept else {"too_small": 1})

    def test_too_many_failures_are_told_from_few(self, tmp_path: Path) -> None:
        put(str(tmp_path), GOOD | {"empty.png": b""})
        summary = done(str(tmp_path))
        assert checked(summary, 0.1) is summary
        with pytest.raises(TooManyFailedError, match=r"7\.7% of the images failed"):
            checked(summary, 0.05)

    def test_a_listed_source_that_is_not_there_is_a_failed_row(self, tmp_path: Path) -> None:
        put(str(tmp_path), GOOD)
        listed = "uri\n" + "\n".join(GOOD) + "\nvanished.png\n"
        place = tmp_path / "in" / "list.csv"
        place.write_text(listed)
        summary = done(str(tmp_path), source=str(place))
        assert (summary.new, summary.failures) == (len(GOOD), {"vanished": 1})


class TestLeakage:
    def test_near_duplicates_in_different_splits_are_reported(self, store: str) -> None:
        picture = smooth_noise(7, 120, 160)
        versions = _versions_by_split(picture)
        put(store, GOOD | {f"{split}.jpg": data for split, data in versions.items()})
        summary = done(store)
        assert summary.near_duplicates == 3
        table = tables.from_parquet(storage.read(f"{out(store)}/leakage.parquet"))
        assert table.schema.equals(tables.SR_LEAKAGE)
        assert {(r["split"], r["other_split"]) for r in table.to_pylist()} == {
            ("train", "validation"), ("train", "test"), ("validation", "test"),
        }  # fmt: skip
        for row in table.to_pylist():
            assert row["source"].endswith(f"/{row['split']}.jpg")
            assert row["other"].endswith(f"/{row['other_split']}.jpg")
            assert 0 <= row["distance"] <= 4
        assert "3 near-duplicates across splits" in summary.closing_line()
        assert done(store).near_duplicates == 3

    def test_flat_pictures_are_not_near_duplicates(self, tmp_path: Path) -> None:
        flat = {
            f"{level}.png": saved(Image.new("RGB", (40, 40), (level, level, level)), "PNG")
            for level in range(0, 250, 10)
        }
        put(str(tmp_path), flat)
        summary = done(str(tmp_path))
        assert sum(n > 0 for n in summary.counts.values()) > 1
        assert summary.near_duplicates == 0


def _versions_by_split(picture: Pixels) -> dict[str, bytes]:
    """A JPEG of the picture for each split, of whatever quality puts it there."""
    versions = {}
    for quality in range(60, 96):
        data = saved(Image.fromarray(picture), "JPEG", quality=quality)
        versions[placed(data)] = data
    assert set(versions) == set(SPLITS)
    return versions


class TestSplits:
    def test_shares_are_what_they_should_be_and_the_seed_reshuffles(self) -> None:
        digests = [sha(str(i).encode()) for i in range(4000)]
        ours = [split_of(d, seed=0, validation=0.1, test=0.05) for d in digests]
        assert ours.count("validation") == pytest.approx(400, abs=70)
        assert ours.count("test") == pytest.approx(200, abs=50)
        assert ours != [split_of(d, seed=1, validation=0.1, test=0.05) for d in digests]

    @pytest.mark.parametrize(
        ("validation", "test", "only"), [(0, 0, "train"), (1, 0, "validation"), (0, 1, "test")]
    )
    def test_a_whole_share_takes_all(self, validation: float, test: float, only: str) -> None:
        digests = [sha(str(i).encode()) for i in range(200)]
        assert {split_of(d, seed=0, validation=validation, test=test) for d in digests} == {only}


class TestReading:
    def test_the_order_is_that_of_parts_and_rows_every_time(self, tmp_path: Path) -> None:
        store = str(tmp_path)
        put(store, SOME)
        done(store, shard_size=2, validation=0, test=0)
        put(store, REST)
        done(store, shard_size=2, validation=0, test=0)
        found = [pair.source_digest for pair in read_pairs(out(store), "train")]
        assert found == [pair.source_digest for pair in read_pairs(out(store), "train")]
        assert found == [row["source_digest"] for row in rows(store)]

    def test_one_part_is_read_at_a_time(self, tmp_path: Path) -> None:
        store = str(tmp_path)
        put(store, GOOD)
        done(store, shard_size=2, validation=0, test=0)
        reading = read_pairs(out(store), "train")
        next(reading)
        for name in sorted(names(store, "data"))[1:]:
            storage.delete(f"{out(store)}/{name}")
        next(reading)  # the second row of the first part
        with pytest.raises(storage.NotFoundError):
            next(reading)

    @pytest.mark.parametrize(
        ("told", "words"),
        [
            (None, "is no dataset: it has no dataset.json"),
            (b"{", "dataset.json is damaged"),
            (b"[]", "wanted 'sr'"),
            (b'{"system": "pixels"}', "of the system 'pixels', wanted 'sr'"),
            (b'{"system": "sr"}', "damaged: no 'scale'"),
        ],
    )
    def test_what_is_no_dataset_of_this_kind_is_told(
        self, store: str, told: bytes | None, words: str
    ) -> None:
        put(store, {"a.png": GOOD["sub/012.png"]})
        if told is not None:
            storage.write(f"{out(store)}/dataset.json", told)
        assert is_dataset(out(store)) == (told is not None)
        with pytest.raises(DatasetError, match=words):
            open_sr_dataset(out(store))

    def test_a_picture_or_a_collection_is_no_dataset(self, tmp_path: Path) -> None:
        put(str(tmp_path), GOOD)
        assert not is_dataset(str(tmp_path / "in"))
        assert not is_dataset(str(tmp_path / "in/sub/012.png"))
        assert not is_dataset(str(tmp_path / "nowhere"))

    def test_a_damaged_part_is_told(self, tmp_path: Path) -> None:
        put(str(tmp_path), GOOD)
        done(str(tmp_path), validation=0, test=0)
        for name in names(str(tmp_path), "data"):
            storage.write(f"{out(str(tmp_path))}/{name}", b"PAR1")
        with pytest.raises(DatasetError, match="is damaged"):
            list(read_pairs(out(str(tmp_path)), "train"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scale": 1}, "scale must be 2 to 8, got 1"),
        ({"shard_size": 0}, "shard-size must be 1"),
        ({"validation": 1.5}, "validation must be 0 to 1, got 1.5"),
        ({"max_failed": -1}, "max-failed must be 0 to 1"),
        ({"validation": 0.6, "test": 0.6}, "1 at most together, got 0.6 and 0.6"),
        ({"degradation": "worse"}, "bicubic or practical, got worse"),
    ],
)
def test_a_wrong_request_is_refused(tmp_path: Path, options: dict[str, object], words: str) -> None:
    put(str(tmp_path), GOOD)
    with pytest.raises(RequestError, match=words):
        check_request(request(str(tmp_path), **options))
    with pytest.raises(RequestError, match="must not lie inside the source"):
        check_request(request(str(tmp_path), destination=str(tmp_path / "in/out")))
    with pytest.raises(storage.NotFoundError):
        check_request(request(str(tmp_path), source=str(tmp_path / "nowhere")))
    assert not names(str(tmp_path))
