"""The stylize flow and command, with Prefect; a kill half way."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tasks import storage
from tests import collections as c
from tests.tasks.test_stylizing import GOOD, tiny_painter


def test_the_flow_paints_a_collection(prefect_server: None, local_and_s3: str) -> None:
    from flows.stylize import stylize

    source, destination = (storage.join(local_and_s3, name) for name in ("in", "out"))
    c.put(source, GOOD)
    c.put(local_and_s3, {"painter.safetensors": tiny_painter()})
    model = storage.join(local_and_s3, "painter.safetensors")
    summary = stylize(source, destination, ("dots=1", "lines=3"), model=model, shard_size=2)
    assert (summary.ok, summary.failed) == (4, 0)
    assert sorted(c.outputs(destination)) == [f"images/{name}" for name in sorted(GOOD)]


def test_the_command_tells_what_it_did_or_what_was_wrong(
    prefect_server: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.cli import app

    monkeypatch.delenv("PIXELMILL_REGISTRY", raising=False)
    source, destination = str(tmp_path / "in"), str(tmp_path / "out")
    c.put(source, GOOD)
    model = str(tmp_path / "painter.safetensors")
    c.put(str(tmp_path), {"painter.safetensors": tiny_painter()})
    command = ["stylize", source, destination, "--model", model, "--style"]
    wrong = CliRunner().invoke(app, [*command, "sunflowers"])
    assert wrong.exit_code == 2
    assert "paints dots, lines, got sunflowers" in wrong.output
    done = CliRunner().invoke(app, [*command, "dots"])
    assert done.exit_code == 0, done.output
    assert "4 images stylized by" in done.output
