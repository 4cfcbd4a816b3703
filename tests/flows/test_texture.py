"""The texture flow and command, with Prefect."""

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from models.images import Picture, encode
from tasks import storage
from tests import collections as c
from tests.models.texture_samples import blobs

PICTURES = {f"{i}.png": encode(Picture(pixels=blobs(16, 16, 3, seed=i)), "png") for i in range(2)}


def test_the_flow_makes_textures_and_their_curves(prefect_server: None, store: str) -> None:
    from flows.texture import texture

    source, destination = storage.join(store, "in"), storage.join(store, "out")
    c.put(source, PICTURES)
    summary = texture(source, destination, method="gram", network="random", size="16", iterations=2)
    assert (summary.ok, summary.failed) == (2, 0)
    curves = f"curves/run={summary.run}/shard-000000.parquet"
    assert storage.exists(storage.join(destination, curves))
    assert sorted(c.outputs(destination)) == ["images/0.png", "images/1.png"]


def test_the_command_tells_what_it_did_or_what_was_wrong(
    prefect_server: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["pixelmill"])
    from flows.cli import app

    source, destination = str(tmp_path / "in"), str(tmp_path / "out")
    c.put(source, PICTURES)
    wrong = CliRunner().invoke(app, ["texture", source, destination, "--size", "large"])
    assert wrong.exit_code == 2
    assert "size must be like 512" in wrong.output
    done = CliRunner().invoke(app, ["texture", source, destination, "--size", "20", "--k", "1"])
    assert done.exit_code == 0, done.output
    assert "2 images grown into textures by coherence" in done.output
