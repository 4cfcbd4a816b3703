"""Laws of drawing pictures by a job: the seed decides, shards resume, sheets are shown."""

from dataclasses import replace
from pathlib import Path

import pytest

from models.images import decode
from tasks import pixel_drawing, pixel_sampling, runs, storage, tables
from tasks.failures import RequestError
from tasks.pixel_sampling import SampleRequest
from tasks.runs import RunProgress, RunSummary
from tests.pixel_models import binary_model, color_model, slow_model


def _sample(request: SampleRequest, progress: RunProgress | None = None) -> RunSummary:
    job, progress = pixel_sampling.open_job(request), progress or RunProgress()
    with runs.recorded(job.run, progress):
        for shard in pixel_sampling.plan(job, progress):
            pixel_drawing.run_shard(job, shard, progress)
    return runs.summarise(job.run, progress)


def _files(store: str, folder: str = "images") -> dict[str, bytes]:
    """File name -> bytes."""
    pages = storage.list_pages(storage.join(store, folder))
    uris = [entry.uri for page in pages for entry in page]
    return {uri.rpartition("/")[2]: storage.read(uri) for uri in uris}


def test_the_same_seed_gives_the_same_bytes_whatever_shards_and_samplers(store: str) -> None:
    request = SampleRequest(destination=store, model=binary_model(store), count=6, size="8x4")
    first = replace(request, destination=storage.join(store, "a"))
    summary = _sample(first)
    assert summary.ok == 6
    made = _files(first.destination)
    assert len(set(made.values())) == 6
    assert decode(made["000000.png"]).pixels.shape == (4, 8, 1)
    other = replace(
        request, destination=storage.join(store, "b"), shard_size=4, sampler="predictive"
    )
    assert _sample(other).ok == 6
    assert _files(other.destination) == made
    elsewhere = replace(request, destination=storage.join(store, "c"), seed=1)
    _sample(elsewhere)
    assert set(_files(elsewhere.destination).values()).isdisjoint(made.values())


def test_rows_and_sheets_tell_of_every_picture(tmp_path: Path) -> None:
    store = str(tmp_path)
    model = binary_model(store, classes=3)
    _sample(SampleRequest(destination=store, model=model, count=4, size="8", shard_size=3))
    parts = _files(store, "samples").values()
    rows = [row for part in parts for row in tables.from_parquet(part).to_pylist()]
    rows.sort(key=lambda row: row["number"])
    assert [row["label"] for row in rows] == [0, 1, 2, 0], "each class in turn"
    assert all(storage.exists(storage.join(store, row["output"])) for row in rows)
    assert all(row["nats"] > 0 and row["width"] == row["height"] == 8 for row in rows)
    assert len(_files(store, "sheets")) == 2


def test_a_second_run_does_nothing_and_a_stopped_one_is_completed(tmp_path: Path) -> None:
    store = str(tmp_path)
    request = SampleRequest(
        destination=store, model=binary_model(store), count=6, size="8", shard_size=2
    )

    class Stopping(RunProgress):
        def __setattr__(self, name: str, value: object) -> None:
            super().__setattr__(name, value)
            if name == "ok" and value == 3:
                self.stop.set()

    with pytest.raises(runs.StoppedError):
        _sample(request, Stopping())
    rest = _sample(request)
    assert rest.ok + rest.already_done == 6
    assert rest.already_done in (2, 4)
    assert len(_files(store)) == 6
    again = _sample(request)
    assert (again.ok, again.already_done) == (0, 6)


def test_a_recurrent_model_draws_by_prediction(tmp_path: Path) -> None:
    store = str(tmp_path)
    request = SampleRequest(destination=store, model=slow_model(store), count=1, size="4")
    assert _sample(request).ok == 1
    with pytest.raises(RequestError, match="cached sampler runs convolutional models"):
        _sample(replace(request, sampler="cached"))


def test_a_wrong_request_is_one_sentence(tmp_path: Path) -> None:
    store = str(tmp_path)
    request = SampleRequest(destination=store, model=color_model(store))
    for options, sentence in (
        ({"size": "9"}, "multiple of 2"),
        ({"size": "large"}, "size must be like"),
        ({"temperature": 0.0}, "temperature must be"),
        ({"label": 0}, "has no classes"),
        ({"count": 0}, "count must be"),
        ({"seed": -1}, "seed must be"),
    ):
        with pytest.raises(RequestError, match=sentence):
            pixel_sampling.check_request(replace(request, **options))  # type: ignore[arg-type]
