"""The texture job without Prefect around it."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from models.images import Picture, decode, encode
from tasks import runs, storage, tables, texturing
from tasks.failures import RequestError
from tasks.runs import RunProgress, RunSummary
from tasks.texturing import TextureRequest, open_job, plan, run_shard
from tests import collections as c
from tests.models.texture_samples import blobs


def _png(pixels: np.ndarray) -> bytes:
    return encode(Picture(pixels=pixels), "png")


GOOD = {f"{i}.png": _png(blobs(16 + i, 20, 1 + 2 * (i % 2), seed=i)) for i in range(3)}


def _request(store: str, **options: object) -> TextureRequest:
    own = {"source": storage.join(store, "in"), "destination": storage.join(store, "out"), "k": 1}
    return TextureRequest(**{**own, **options})  # type: ignore[arg-type]


def _run(request: TextureRequest, progress: RunProgress | None = None) -> RunSummary:
    job, progress = open_job(request), progress or RunProgress()
    with runs.recorded(job.run, progress):
        for shard in runs.until_stopped(plan(job, progress), progress):
            run_shard(job, shard, progress)
    return runs.summarise(job.run, progress)


def _gram(store: str, **options: object) -> TextureRequest:
    small: dict[str, object] = {"method": "gram", "network": "random", "size": "16"}
    return _request(store, **{**small, "iterations": 3, **options})


def test_every_exemplar_becomes_a_texture_and_a_second_run_does_nothing(store: str) -> None:
    c.put(storage.join(store, "in"), {**GOOD, "notes.png": b"no picture"})
    first = _run(_request(store, size="24x18", max_failed=1.0))
    assert (first.ok, first.failed) == (3, 1)
    assert "3 images grown into textures by coherence" in first.closing_line()
    made = [decode(data).pixels for data in c.outputs(storage.join(store, "out")).values()]
    assert {pixels.shape[:2] for pixels in made} == {(18, 24)}
    assert sorted(pixels.shape[2] for pixels in made) == [1, 1, 3]
    again = _run(_request(store, size="24x18", max_failed=1.0))
    assert (again.ok, again.already_done) == (0, 3)
    other_seed = _run(_request(store, size="24x18", seed=1, max_failed=1.0))
    assert other_seed.ok == 3


def test_a_texture_depends_on_seed_and_pixels_and_not_on_name_or_company(tmp_path: str) -> None:
    store = str(tmp_path)
    c.put(storage.join(store, "in"), {"a.png": GOOD["0.png"], "b.png": GOOD["0.png"], **GOOD})
    _run(_request(store))
    made = c.outputs(storage.join(store, "out"))
    assert made["images/a.png"] == made["images/b.png"] == made["images/0.png"]
    assert made["images/0.png"] != made["images/1.png"]


def test_what_cannot_be_an_exemplar_is_one_row_with_a_sentence(tmp_path: str) -> None:
    store = str(tmp_path)
    c.put(storage.join(store, "in"), {"strip.png": _png(blobs(30, 1)), **GOOD})
    summary = _run(_request(store, max_failed=1.0))
    assert summary.failures == {"unsuitable": 1}
    row = c.current_rows(storage.join(store, "out"))[storage.join(store, "in/strip.png")]
    assert "3x3 window" in str(row["error"])


def _rows(store: str, folder: str) -> list[dict[str, object]]:
    place = storage.join(store, f"out/{folder}")
    parts = [e.uri for page in storage.list_pages(place) for e in page]
    return pa.concat_tables(tables.from_parquet(storage.read(uri)) for uri in parts).to_pylist()


def test_the_loss_of_every_iteration_is_in_parquet_and_it_falls(store: str) -> None:
    c.put(storage.join(store, "in"), GOOD)
    _run(_gram(store))
    rows = [row for row in _rows(store, "curves") if row["metric"] == "total"]
    for name in GOOD:
        uri = storage.join(store, f"in/{name}")
        own = sorted((r["step"], r["value"]) for r in rows if str(r["source"]).endswith(name))
        assert [step for step, _ in own] == [0, 1, 2, 3], uri
        values = [value for _, value in own]
        assert values == sorted(values, reverse=True)


def test_a_stopped_image_has_no_row_and_the_next_run_makes_it(tmp_path: str) -> None:
    store = str(tmp_path)
    c.put(storage.join(store, "in"), {"a.png": GOOD["0.png"]})
    progress = RunProgress()
    request = _gram(store, iterations=100_000, size="32")
    job = open_job(request)

    class Stopping(dict[str, float]):
        def __setitem__(self, key: str, value: float) -> None:
            if value > 0:
                progress.stop.set()
            super().__setitem__(key, value)

    progress.under_way = Stopping()
    (shard,) = plan(job, progress)
    assert run_shard(job, shard, progress) == []
    assert progress.failed == 0
    summary = _run(replace(request, iterations=2))
    assert (summary.ok, summary.already_done) == (1, 0)


def test_transparent_places_are_filled_and_a_picture_without_any_is_told(tmp_path: str) -> None:
    store, pixels = str(tmp_path), blobs(40, 40, 3)
    alpha = np.full((40, 40, 1), 255, np.uint8)
    alpha[20:26, 20:26] = 0
    holed = np.concatenate([pixels, alpha], axis=2)
    c.put(storage.join(store, "in"), {"holed.png": _png(holed), "whole.png": _png(pixels)})
    summary = _run(_request(store, inpaint="alpha", max_failed=1.0))
    assert (summary.ok, summary.failures) == (1, {"unsuitable": 1})
    made = decode(c.outputs(storage.join(store, "out"))["images/holed.png"]).pixels
    assert made.shape == (40, 40, 3)
    assert (made[:16] == pixels[:16]).all()


def test_masks_lie_at_the_paths_of_their_pictures(tmp_path: str) -> None:
    store, pixels = str(tmp_path), blobs(40, 40, 3)
    mask = np.zeros((40, 40, 1), np.uint8)
    mask[5:12, 5:12] = 255
    c.put(storage.join(store, "in"), {"a.png": _png(pixels), "b.png": _png(pixels)})
    c.put(storage.join(store, "masks"), {"a.png": _png(mask), "b.png": _png(mask[:9])})
    summary = _run(_request(store, inpaint=storage.join(store, "masks"), max_failed=1.0))
    assert (summary.ok, summary.failures) == (1, {"unsuitable": 1})
    made = decode(c.outputs(storage.join(store, "out"))["images/a.png"]).pixels
    assert (made[mask[..., 0] == 0] == pixels[mask[..., 0] == 0]).all()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"size": "big"}, "size must be like 512 or 640x480"),
        ({"window": 4}, "window must be odd"),
        ({"method": "gram", "exemplars": ("a.png",)}, "exemplars needs the method coherence"),
        ({"guide": "a.png"}, "a guide needs labels"),
        ({"inpaint": "alpha", "size": "64"}, "inpaint keeps each picture's size"),
        ({"iterations": 0}, "iterations must be 1 to 100000"),
        ({"seed": -1}, "seed must be 0 to"),
        ({"max_failed": 2.0}, "max-failed must be 0 to 1"),
    ],
)
def test_a_wrong_request_is_one_sentence(
    tmp_path: str, options: dict[str, object], sentence: str
) -> None:
    c.put(storage.join(str(tmp_path), "in"), {"a.png": GOOD["0.png"]})
    with pytest.raises(RequestError, match=sentence):
        texturing.check_request(_request(str(tmp_path), **options))


def test_what_a_method_does_not_look_at_does_not_do_its_images_again(tmp_path: str) -> None:
    store = str(tmp_path)
    c.put(storage.join(store, "in"), GOOD)
    digests = {
        open_job(_request(store, **options)).provenance.config_digest
        for options in ({}, {"iterations": 7}, {"pooling": "max"}, {"shard_size": 1})
    }
    assert len(digests) == 1
    assert open_job(_request(store, window=5)).provenance.config_digest not in digests


def test_names_come_separated_by_commas_or_one_by_one() -> None:
    assert texturing.names(["relu1_1, pool1", "pool2"]) == ("relu1_1", "pool1", "pool2")
    assert texturing.names(None) is None
