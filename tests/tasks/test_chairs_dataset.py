"""The dataset of chairs without Prefect: rendering it, going on after a kill, reading it."""

import json
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pytest

from models.chair_shapes import chair_mesh, chair_parameters
from models.rendering import render
from tasks import chairs_dataset, runs, storage, tables
from tasks.chairs_card import ChairsSummary
from tasks.chairs_dataset import (
    ChairsRequest,
    ChairView,
    check_request,
    open_chairs_dataset,
    read_chairs,
)
from tasks.chairs_parts import splits_of
from tasks.chairs_tables import CHAIRS
from tasks.dataset_parts import SPLITS
from tasks.failures import RequestError
from tasks.runs import RunProgress, StoppedError
from tasks.sr_pairs import DatasetError

SMALL: dict[str, Any] = {"chairs": 5, "azimuths": 4, "size": 24, "seed": 3, "shard_size": 2}


def request(store: str, **options: object) -> ChairsRequest:
    return ChairsRequest(**{"destination": storage.join(store, "out"), **SMALL, **options})


def build(
    store: str, *, shards: int | None = None, backwards: bool = False, **options: object
) -> ChairsSummary | None:
    """The flow without Prefect; with a number of shards, it is killed after so many."""
    job, progress = chairs_dataset.open_job(request(store, **options)), RunProgress()
    with runs.recorded(job.run, progress):
        chairs_dataset.begin(job)
        planned = list(islice(chairs_dataset.plan(job, progress), shards))
        for shard in reversed(planned) if backwards else planned:
            chairs_dataset.run_shard(job, shard, progress)
        return chairs_dataset.finish(job, progress) if shards is None else None


def done(store: str, **options: Any) -> ChairsSummary:
    summary = build(store, **options)
    assert summary is not None
    return summary


def files(store: str) -> dict[str, bytes]:
    """What lies below the dataset, but for the records of runs."""
    root = storage.normalise(storage.join(store, "out"))
    found = [entry.uri for page in storage.list_pages(root) for entry in page]
    named = {uri[len(root) + 1 :]: storage.read(uri) for uri in found}
    return {name: data for name, data in named.items() if not name.startswith("runs/")}


def views(store: str) -> dict[str, list[ChairView]]:
    dataset = open_chairs_dataset(storage.join(store, "out"))
    return {split: list(read_chairs(dataset, split)) for split in SPLITS}


def test_every_view_of_every_chair_is_there_once_as_it_was_rendered(store: str) -> None:
    summary = done(store)
    held = views(store)
    counts = {split: len(own) for split, own in held.items()}
    assert counts == summary.counts == {"train": 30, "validation": 5, "test": 5}
    seen = [(v.chair, v.azimuth, v.elevation) for own in held.values() for v in own]
    wanted = [(c, a, e) for c in range(5) for e in (20.0, 30.0) for a in (0.0, 90.0, 180.0, 270.0)]
    assert sorted(seen) == sorted(wanted)
    for view in (held["test"][1], held["train"][-1]):
        mesh = chair_mesh(chair_parameters(view.chair, SMALL["seed"]))
        rgb, mask = render(mesh, azimuth=view.azimuth, elevation=view.elevation, size=24)
        got_rgb, got_mask = view.pixels()
        assert np.array_equal(got_rgb, rgb)
        assert np.array_equal(got_mask, mask)
    dataset = open_chairs_dataset(storage.join(store, "out"))
    assert (dataset.chairs, dataset.size, dataset.elevations) == (5, 24, (20.0, 30.0))
    assert dataset.azimuths == (0.0, 90.0, 180.0, 270.0)
    assert dataset.names[4] == held["test"][-1].name == "chair-0004"
    assert dataset.digest == summary.digest


def test_the_bytes_do_not_depend_on_order_workers_or_a_kill(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = [str(tmp_path / name) for name in ("straight", "backwards", "killed")]
    done(stores[0])
    monkeypatch.setattr(chairs_dataset, "processors", lambda: 1)
    done(stores[1], backwards=True)
    monkeypatch.setattr(chairs_dataset, "processors", lambda: 5)
    build(stores[2], shards=1)
    with pytest.raises(DatasetError, match=r"is no dataset: it has no dataset\.json"):
        open_chairs_dataset(storage.join(stores[2], "out"))
    summary = done(stores[2])
    assert summary.new == 24  # of 40: the first shard is not rendered again
    first, *others = (files(store) for store in stores)
    assert "data/train/shard-00002.parquet" in first
    assert all(first == other for other in others)
    again = done(stores[2])
    assert (again.new, again.already_done, again.digest) == (0, 40, summary.digest)
    monkeypatch.undo()
    other = done(str(tmp_path / "other"), seed=4)
    assert other.digest != summary.digest


def test_a_stopped_run_commits_whole_shards_only(tmp_path: Any) -> None:
    job, progress = chairs_dataset.open_job(request(str(tmp_path))), RunProgress()

    def stopped_in_the_second_shard() -> None:
        with runs.recorded(job.run, progress):
            chairs_dataset.begin(job)
            for number, shard in enumerate(chairs_dataset.plan(job, progress)):
                if number == 1:
                    progress.stop.set()
                chairs_dataset.run_shard(job, shard, progress)

    with pytest.raises(StoppedError, match="16 images"):
        stopped_in_the_second_shard()
    assert [name for name in files(str(tmp_path)) if name.startswith("shards/")] == [
        "shards/shard-00000.json"
    ]


def test_views_are_held_out_of_every_chair_and_whatever_else_there_is() -> None:
    round_about = [(k * 360 / 31, e) for e in (20.0, 30.0) for k in range(31)]
    shares = {"validation": 0.05, "test": 0.1}
    by_chair = [splits_of(f"chair-{n}", round_about, seed=0, **shares) for n in range(50)]
    for splits in by_chair:
        assert (splits.count("test"), splits.count("validation")) == (6, 3)
    assert len({tuple(splits) for splits in by_chair}) == 50
    tested = sum(np.array(splits) == "test" for splits in by_chair)
    assert tested.max() < 15  # no view is held out of all chairs
    swapped = splits_of("chair-7", round_about[::-1], seed=0, **shares)
    assert swapped[::-1] == by_chair[7]
    assert splits_of("chair-7", round_about, seed=1, **shares) != by_chair[7]
    assert splits_of("chair-7", round_about, seed=0, validation=0, test=0) == ["train"] * 62


def test_hugging_face_sees_pictures_in_the_schema(tmp_path: Any) -> None:
    done(str(tmp_path))
    data = files(str(tmp_path))["data/test/shard-00000.parquet"]
    schema = tables.from_parquet(data).schema
    assert schema.equals(CHAIRS, check_metadata=True)
    told = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert told["image"] == told["mask"] == {"_type": "Image"}
    assert told["azimuth"] == {"dtype": "float64", "_type": "Value"}
    card = files(str(tmp_path))["README.md"].decode()
    assert "  - split: test\n    path: data/test/*.parquet" in card


def test_another_request_wants_another_destination(tmp_path: Any) -> None:
    done(str(tmp_path))
    with pytest.raises(RequestError, match="is a dataset with seed 3; seed 9 wants another"):
        chairs_dataset.open_job(request(str(tmp_path), seed=9))
    other = str(tmp_path / "other")
    storage.write(storage.join(other, "dataset.json"), b'{"system": "sr"}')
    with pytest.raises(RequestError, match="is another dataset"):
        check_request(replace(request(str(tmp_path)), destination=other))
    with pytest.raises(DatasetError, match="of the system 'sr', wanted 'chairs'"):
        open_chairs_dataset(other)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"chairs": 0}, "chairs must be 1 to 1000000, got 0"),
        ({"size": 4}, "size must be 8 to 2048, got 4"),
        ({"elevations": (95.0,)}, r"elevations must be -90 to 90 degrees, got \[95\.0\]"),
        ({"elevations": ()}, "elevations must be"),
        ({"elevations": (20.0, 20.0)}, "elevations must differ"),
        ({"test": 0.6, "validation": 0.5}, r"below 1 together, got 0\.5 and 0\.6"),
    ],
)
def test_a_wrong_request_is_refused(tmp_path: Any, options: Any, sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        check_request(request(str(tmp_path), **options))


def test_a_damaged_dataset_says_what_is_wrong(tmp_path: Any) -> None:
    done(str(tmp_path))
    place = storage.join(str(tmp_path), "out")
    dataset = open_chairs_dataset(place)
    with pytest.raises(ValueError, match="split must be one of train, validation, test"):
        read_chairs(dataset, "trian")
    part = storage.join(place, "data/test/shard-00000.parquet")
    storage.write(part, storage.read(storage.join(place, "data/test/shard-00002.parquet")))
    with pytest.raises(DatasetError, match=r"has 1 rows, dataset\.json says 2"):
        list(read_chairs(dataset, "test"))
    storage.write(part, b"text")
    with pytest.raises(DatasetError, match="is damaged"):
        list(read_chairs(dataset, "test"))
    storage.delete(part)
    with pytest.raises(DatasetError, match="is missing"):
        list(read_chairs(dataset, "test"))
    storage.write(storage.join(place, "dataset.json"), b'{"system": "chairs"}')
    with pytest.raises(DatasetError, match="is damaged: no 'digest'"):
        open_chairs_dataset(place)
