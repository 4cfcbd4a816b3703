"""The flows and commands of pixel models, with Prefect."""

import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from models.images import decode
from tasks import storage
from tests import collections as c
from tests.pixel_models import binary_model, binary_pixels, png, put_dataset

PICTURES = {f"{k}.png": png(binary_pixels(k)) for k in range(3)}


@pytest.fixture
def runner(prefect_server: None, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setattr(sys, "argv", ["pixelmill"])
    monkeypatch.delenv("PIXELMILL_REGISTRY", raising=False)
    return CliRunner()


def _done(runner: CliRunner, *words: str, code: int = 0) -> str:
    from flows.cli import app

    result = runner.invoke(app, ["pixels", *words])
    assert result.exit_code == code, result.output
    return result.output


def test_a_collection_is_compressed_and_restored_by_two_commands(
    runner: CliRunner, tmp_path: Path
) -> None:
    store = str(tmp_path)
    source, packed, out = (storage.join(store, name) for name in ("in", "packed", "out"))
    model = binary_model(store)
    c.put(source, PICTURES)
    said = _done(runner, "compress", source, packed, "--model", model)
    assert "3 images compressed by" in said
    assert "bits/dim" in said
    assert "3 images restored by" in _done(runner, "decompress", packed, out, "--model", model)
    for name, data in c.outputs(out).items():
        own = PICTURES[name.removeprefix("images/")]
        assert np.array_equal(decode(data).pixels, decode(own).pixels)
    other = binary_model(storage.join(store, "other"), width=8)
    wrong = storage.join(store, "wrong")
    said = _done(runner, "decompress", packed, wrong, "--model", other, code=3)
    assert "3 images failed, 100.0% where 10.0% is allowed" in said
    said = _done(runner, "compress", source, packed, "--model", "none", code=2)
    assert "there is no pixel model named 'none'" in said


def test_pictures_are_scored_drawn_completed_and_embedded(
    runner: CliRunner, tmp_path: Path
) -> None:
    source, model = str(tmp_path / "in"), binary_model(str(tmp_path))
    c.put(source, PICTURES)
    said = _done(runner, "nll", source, "--model", model)
    assert "bits/dim on average" in said.splitlines()[-1]
    assert len(said.splitlines()) == 4
    drawn = str(tmp_path / "drawn")
    said = _done(runner, "sample", drawn, "--model", model, "--count", "3", "--size", "8x4")
    assert "3 images drawn by" in said
    assert len(c.outputs(drawn)) == 3
    whole = str(tmp_path / "whole")
    said = _done(runner, "complete", source, whole, "--model", model, "--completions", "2")
    assert "exact draws from the model's conditional distribution" in said
    assert len(c.outputs(whole)) == 6
    assert "what to hide must be" in _done(
        runner, "complete", source, whole, "--model", model, "--hide", "x", code=2
    )
    labelled = put_dataset(str(tmp_path / "labelled"), {"train": 20, "test": 10})
    out = str(tmp_path / "out")
    said = _done(runner, "features", labelled, out, "--model", model, "--probe", "--grid", "2")
    assert "a linear probe is right for" in said
    assert "by raw pixels (64 numbers)" in said
