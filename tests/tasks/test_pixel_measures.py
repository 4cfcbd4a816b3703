"""Laws of scoring and embedding pictures: rows are the model's own, and worth something."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.pixel_embedding import embedding
from models.pixel_likelihood import nats
from tasks import pixel_embedding, pixel_probing, pixel_scoring, runs, storage, tables
from tasks.failures import RequestError
from tasks.pixel_embedding import FeaturesRequest
from tasks.pixel_models import load_pixel_model
from tasks.pixel_scoring import NllReport, NllRequest
from tasks.pixel_tables import ProbeRow
from tasks.runs import RunProgress, RunSummary
from tests import collections as c
from tests.pixel_models import binary_model, binary_pixels, png, put_dataset

PICTURES = {f"{k}.png": binary_pixels(k, 8, 8 + 4 * (k % 2)) for k in range(5)}


def _score(request: NllRequest) -> NllReport:
    job, progress = pixel_scoring.open_job(request), RunProgress()
    with runs.recorded(job.run, progress):
        for shard in runs.until_stopped(pixel_scoring.plan(job, progress), progress):
            pixel_scoring.run_shard(job, shard, progress)
    return pixel_scoring.report(job, progress, kept=request.output is not None)


def _embed(request: FeaturesRequest) -> tuple[RunSummary, tuple[ProbeRow, ...]]:
    job, progress = pixel_embedding.open_job(request), RunProgress()
    with runs.recorded(job.run, progress):
        for shard in runs.until_stopped(pixel_embedding.plan(job, progress), progress):
            pixel_embedding.run_shard(job, shard, progress)
    rows = pixel_probing.probe(job) if request.probe else ()
    return runs.summarise(job.run, progress), rows


def _rows(place: str, folder: str) -> list[dict[str, object]]:
    pages = storage.list_pages(storage.join(place, folder))
    parts = [tables.from_parquet(storage.read(e.uri)) for page in pages for e in page]
    return [row for part in parts for row in part.to_pylist()]


def test_scores_are_the_model_s_and_a_second_run_computes_none(store: str) -> None:
    source, output = storage.join(store, "in"), storage.join(store, "out")
    c.put(source, {**{name: png(p) for name, p in PICTURES.items()}, "bad.png": b"text"})
    model = binary_model(store)
    request = NllRequest(source=source, output=output, model=model, max_failed=1.0)
    report = _score(request)
    network = load_pixel_model(model, "").network
    rows = {str(row["source"]): row for row in _rows(output, "likelihoods")}
    assert len(rows) == report.count == 5
    total = 0.0
    for name, pixels in PICTURES.items():
        levels = torch.from_numpy(pixels // 255).permute(2, 0, 1)[None]
        wanted = float(nats(network, levels))
        row = rows[storage.join(storage.normalise(source), name)]
        assert row["nats"] == pytest.approx(wanted, rel=1e-5)
        bits = wanted / math.log(2) / pixels.size
        assert row["bits_per_dim"] == pytest.approx(bits, rel=1e-5)
        total += wanted
    assert report.nats == pytest.approx(total / 5, rel=1e-5)
    assert any("bad.png" in line for line in report.pictures)
    assert f"{report.nats:.3f} nats" in report.closing_line()
    again = _score(request)
    assert (again.summary.already_done, again.summary.ok) == (5, 0)
    assert again.nats == report.nats


def test_without_an_output_the_scores_are_told_all_the_same(tmp_path: Path) -> None:
    store = str(tmp_path)
    c.put(f"{store}/in", {name: png(p) for name, p in PICTURES.items()})
    report = _score(NllRequest(source=f"{store}/in", model=binary_model(store)))
    assert report.count == len(report.pictures) == 5
    assert "memory://" not in report.closing_line()


def test_a_dataset_is_scored_by_split_and_by_its_labels(tmp_path: Path) -> None:
    store = str(tmp_path)
    source = put_dataset(f"{store}/data-set", {"train": 3, "test": 5})
    model = binary_model(store, classes=2)
    request = NllRequest(source=source, output=f"{store}/out", model=model, split="test")
    assert _score(request).count == 5
    rows = _rows(f"{store}/out", "likelihoods")
    assert {(row["split"], row["label"]) for row in rows} == {("test", 0), ("test", 1)}
    with pytest.raises(storage.NotFoundError, match="has no split 'nothing'"):
        _score(replace(request, split="nothing"))
    bare = put_dataset(f"{store}/bare", {"test": 2}, labels=False)
    report = _score(replace(request, source=bare, output=f"{store}/b", max_failed=1.0))
    assert report.summary.failures == {"no_label": 2}


def test_embeddings_are_the_layer_s_activations(store: str) -> None:
    source, out = storage.join(store, "in"), storage.join(store, "out")
    c.put(source, {name: png(p) for name, p in PICTURES.items()})
    model = binary_model(store)
    request = FeaturesRequest(source=source, destination=out, model=model, layer=-2, grid=2)
    assert _embed(request)[0].ok == 5
    network = load_pixel_model(model, "").network
    for row in _rows(out, "features"):
        pixels = PICTURES[str(row["source"]).rpartition("/")[2]]
        levels = torch.from_numpy(pixels // 255).permute(2, 0, 1)[None]
        wanted = embedding(network, levels, -2, grid=2)[0]
        torch.testing.assert_close(torch.tensor(row["embedding"]), wanted)
    assert _embed(request)[0].already_done == 5


def test_a_probe_sees_what_the_embedding_holds(tmp_path: Path) -> None:
    """The label is the half that is not black: cells see it."""
    store = str(tmp_path)
    source = put_dataset(f"{store}/data-set", {"train": 60, "test": 40})
    request = FeaturesRequest(
        source=source, destination=f"{store}/out", model=binary_model(store), probe=True, grid=2
    )
    summary, rows = _embed(request)
    assert summary.ok == 100
    own, raw = rows
    assert own.test_accuracy > 0.95
    assert (raw.of, raw.features) == ("raw pixels", 64)
    assert own.of == "layer 2, 2x2 cells"
    assert (own.train_pictures, own.test_pictures) == (60, 40)
    assert len(_rows(f"{store}/out", "probes")) == 2
    assert "a linear probe is right for" in pixel_embedding.probe_words(rows)


def test_a_wrong_request_is_one_sentence(tmp_path: Path) -> None:
    store = str(tmp_path)
    c.put(f"{store}/in", {"a.png": png(PICTURES["0.png"])})
    model = binary_model(store)
    request = FeaturesRequest(source=f"{store}/in", destination=f"{store}/out", model=model)
    with pytest.raises(RequestError, match="needs a dataset with labels"):
        _embed(replace(request, probe=True))
    with pytest.raises(ValueError, match="layer must be -4 to 3, got 9"):
        _embed(replace(request, layer=9))
    labelled = put_dataset(f"{store}/data-set", {"train": 2, "test": 2})
    told = binary_model(f"{store}/told", classes=2)
    with pytest.raises(RequestError, match="is told the class"):
        _embed(replace(request, source=labelled, model=told, probe=True))
