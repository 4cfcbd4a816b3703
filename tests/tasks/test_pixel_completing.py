"""Laws of completing pictures by a job: what is given stays, exactness is said."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.images import decode
from tasks import pixel_completing, pixel_filling, runs, storage
from tasks.failures import RequestError
from tasks.pixel_completing import CompleteRequest
from tasks.runs import RunProgress, RunSummary
from tests import collections as c
from tests.pixel_models import binary_model, binary_pixels, color_pixels, png

PICTURES = {f"{k}.png": binary_pixels(k) for k in range(2)} | {
    "sub/wide.png": binary_pixels(3, 8, 12)
}


def _complete(request: CompleteRequest) -> RunSummary:
    job, progress = pixel_completing.open_job(request), RunProgress()
    with runs.recorded(job.run, progress):
        for shard in runs.until_stopped(pixel_completing.plan(job, progress), progress):
            pixel_filling.run_shard(job, shard, progress)
    return replace(runs.summarise(job.run, progress), remark=pixel_filling.told(job))


def _request(store: str, **options: object) -> CompleteRequest:
    c.put(storage.join(store, "in"), {name: png(pixels) for name, pixels in PICTURES.items()})
    own = {
        "source": storage.join(store, "in"),
        "destination": storage.join(store, "out"),
        "model": binary_model(store),
        "completions": 2,
    }
    return CompleteRequest(**{**own, **options})  # type: ignore[arg-type]


def _made(request: CompleteRequest) -> dict[str, np.ndarray]:
    found = c.outputs(request.destination)
    return {name.removeprefix("images/"): decode(data).pixels for name, data in found.items()}


def test_what_is_given_stays_and_the_rest_is_drawn_several_times(store: str) -> None:
    request = _request(store)
    summary = _complete(request)
    assert (summary.ok, summary.failed) == (3, 0)
    made = _made(request)
    assert set(made) == {f"{k}/{name}" for k in range(2) for name in PICTURES}
    for name, pixels in PICTURES.items():
        one, two = made[f"0/{name}"], made[f"1/{name}"]
        assert np.array_equal(one[:4], pixels[:4])
        assert np.array_equal(two[:4], pixels[:4])
        assert not np.array_equal(one, two)
    assert "exact draws from the model's conditional" in summary.closing_line()
    rows = c.current_rows(request.destination).values()
    assert all(row["exact"] and len(row["outputs"]) == 2 for row in rows)  # type: ignore[arg-type]
    (sheet,) = [e.uri for p in storage.list_pages(storage.join(store, "out/sheets")) for e in p]
    assert decode(storage.read(sheet)).pixels.shape[1] > 4 * 256
    assert _complete(request).already_done == 3


def test_the_seed_and_the_name_decide_and_not_the_company(tmp_path: Path) -> None:
    store = str(tmp_path)
    request = _request(store)
    _complete(request)
    alone = replace(request, destination=f"{store}/alone", shard_size=1)
    _complete(alone)
    one, two = _made(request), _made(alone)
    assert all(np.array_equal(one[name], two[name]) for name in one)
    other = replace(request, destination=f"{store}/other", seed=1)
    _complete(other)
    assert not all(np.array_equal(one[name], pixels) for name, pixels in _made(other).items())


def test_a_strip_at_the_right_is_said_to_be_no_exact_draw(tmp_path: Path) -> None:
    request = _request(str(tmp_path), hide="right:3")
    summary = _complete(request)
    assert "no exact draws" in summary.closing_line()
    made = _made(request)
    for name, pixels in PICTURES.items():
        assert np.array_equal(made[f"0/{name}"][:, :-3], pixels[:, :-3])


def test_a_mask_hides_where_it_is_white_and_fits_one_size(tmp_path: Path) -> None:
    store = str(tmp_path)
    mask = np.zeros((8, 8, 1), np.uint8)
    mask[2:5, 2:5] = 255
    storage.write(storage.join(store, "mask.png"), png(mask))
    request = _request(store, mask=storage.join(store, "mask.png"), max_failed=1.0)
    summary = _complete(request)
    assert (summary.ok, summary.failures) == (2, {"unsuitable": 1})
    made = _made(request)
    given = mask == 0
    for k in range(2):
        assert np.array_equal(made[f"0/{k}.png"][given], PICTURES[f"{k}.png"][given])


def test_other_pictures_are_made_to_suit_the_model(tmp_path: Path) -> None:
    request = _request(str(tmp_path), size=8)
    c.put(request.source, {"colour.png": png(color_pixels(0, 20, 30))})
    assert _complete(request).ok == 4
    assert _made(request)["0/colour.png"].shape == (8, 8, 1)


def test_a_wrong_request_is_one_sentence(tmp_path: Path) -> None:
    request = _request(str(tmp_path))
    for options, sentence in (
        ({"hide": "middle"}, "what to hide must be"),
        ({"share": 2.0}, "share to hide"),
        ({"completions": 0}, "completions must be"),
        ({"mask": f"{request.source}/0.png", "label": 1}, "has no classes"),
        ({"size": 0}, "size must be"),
    ):
        with pytest.raises(RequestError, match=sentence):
            pixel_completing.check_request(replace(request, **options))  # type: ignore[arg-type]
