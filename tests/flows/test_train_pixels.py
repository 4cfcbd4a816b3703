"""The flows of pixel models, with Prefect: a dataset, a training, an evaluation; their commands."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from flows.cli_dataset_pixels import pixels
from flows.cli_train_pixels import evaluate_pixels as evaluate_command
from flows.cli_train_pixels import train_pixels as train_command
from models.pixel_training import PixelTraining
from tasks import storage
from tasks.settings import read_toml, typed
from tests import collections as c
from tests.corpus import good_image
from tests.pixels import strokes_dataset_at

ROOT = Path(__file__).resolve().parents[2]


def test_from_pictures_to_a_judged_model(prefect_server: None, tmp_path: Path) -> None:
    from prefect.client.orchestration import get_client

    from flows.dataset_pixels import dataset_pixels
    from flows.evaluate_pixels import evaluate_pixels
    from flows.train_pixels import train_pixels

    source, registry = str(tmp_path / "in"), str(tmp_path / "registry")
    dataset = str(tmp_path / "made")
    c.put(source, {f"{n}.png": good_image(2 * n, (24, 20)) for n in range(6)})
    summary = dataset_pixels(
        source, dataset, size=8, patches=4, binary=True, validation=0.3, test=0.3
    )
    assert (summary.new, sum(summary.counts.values())) == (6, 24)
    assert all(summary.counts.values())
    training = PixelTraining(network="digits", steps=2, batch_size=2, warmup=1)
    made = train_pixels(dataset, registry, "own", training=training)
    assert made.trained
    again = train_pixels(dataset, registry, "own", training=training)
    assert (again.trained, again.version) == (False, made.version)
    report = evaluate_pixels("own", dataset, registry=registry, split="test")
    assert (report.model, report.notes) == ("own@1", ())
    assert report.pictures == summary.counts["test"]
    with get_client(sync_client=True) as client:
        said = " ".join(str(a.description) for a in client.read_artifacts())
    for line in (summary.closing_line(), made.closing_line(), "drawn by own@1"):
        assert line in said
    assert c.run_records(dataset).column("status").to_pylist() == ["done"]


def test_a_wrong_command_is_told_in_a_sentence_before_anything_starts(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command("dataset")(pixels)
    app.command("train")(train_command)
    app.command("evaluate")(evaluate_command)
    place, out = strokes_dataset_at(str(tmp_path / "in")), str(tmp_path / "out")
    train = ["train", place, "--registry", out, "--name", "x"]
    for arguments, sentence in (
        (["dataset", str(tmp_path / "in"), out, "--size", "0"], "size must be 1 to 1024, got 0"),
        (train, "network must be named"),
        ([*train, "--set", "stepz=3"], "settings have no stepz; there are "),
        ([*train, "--set", "network=patches", "--set", "crop=9"], "crop must be at most"),
        (["evaluate", "nothing", place, "--registry", ""], "there is no pixel model named"),
    ):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 2, result.output
        assert sentence in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["digits", "patches"])
def test_a_recipe_is_settings_of_a_training(name: str) -> None:
    training = typed(PixelTraining, read_toml(str(ROOT / "docs" / "recipes" / f"{name}.toml")))
    assert training.network == name
    assert storage.exists(str(ROOT / "docs" / "recipes" / f"{name}.toml"))
