"""The painter's training flow and its command, with Prefect."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tasks import versions
from tests.painters import training_material
from tests.s3_server import S3Server
from tests.tasks.test_style_training import TRAINING

ROOT = Path(__file__).resolve().parents[2]


def test_the_flow_trains_publishes_and_shows_its_curve_and_pictures(
    prefect_server: None, s3_env: S3Server, tmp_path: Path
) -> None:
    from prefect.client.orchestration import get_client

    from flows.train_style import train_style

    place = f"s3://{s3_env.bucket}/style-{tmp_path.name}"
    photographs, styles, features = training_material(place)
    registry = f"{place}/registry"
    training = replace(TRAINING, steps=4)
    first = train_style(
        photographs, registry, "tiny", list(styles), training=training, features=features
    )
    assert (first.version.ref, first.steps, first.trained) == ("tiny@1", 4, True)
    current = versions.champion(registry, "style", "tiny")
    assert current is not None
    assert current.version == first.version
    wanted = {first.closing_line(), "held-out photographs by tiny"}
    with get_client(sync_client=True) as client:
        shown = {a.description: a for a in client.read_artifacts() if a.description in wanted}
    assert shown.keys() == wanted
    for artifact in shown.values():
        assert artifact.type == "image"
        assert str(artifact.data).startswith("data:image/")
    again = train_style(
        photographs, registry, "tiny", list(styles), training=training, features=features
    )
    assert (again.version, again.trained) == (first.version, False)
    assert "trained before, nothing to do" in again.closing_line()


class TestTheCommand:
    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        from prefect.settings import PREFECT_API_URL

        own = {k: v for k, v in os.environ.items() if k != "PREFECT_LOGGING_LEVEL"}
        return subprocess.run(
            [sys.executable, "-m", "flows.cli", "train", "style", *words],
            cwd=ROOT,
            env={**own, "PREFECT_API_URL": str(PREFECT_API_URL.value())},
            text=True,
            capture_output=True,
            timeout=240,
            check=False,
        )

    @pytest.mark.slow
    def test_it_trains_and_says_so_in_one_line(self, prefect_server: None, tmp_path: Path) -> None:
        photographs, styles, features = training_material(str(tmp_path))
        registry, recipe = str(tmp_path / "registry"), tmp_path / "recipe.toml"
        recipe.write_text(
            "width = 4\nblocks = 1\nsteps = 9\nbatch_size = 1\ncrop = 32\ncontent_side = 32\n"
            "style_side = 32\nvalidation_side = 32\n[loss]\nnetwork = 'squeezenet1_0'\n"
            "content_layer = 'fire2'\nstyle_layers = ['fire2']\n"
        )
        done = self._run(
            photographs, "--registry", registry, "--name", "tiny", "--features", features,
            "--config", str(recipe), "--set", "steps=2",
            "--style", styles[0], "--style", f"blue={styles[1]}",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("tiny@1: 2 steps, 2 styles, objective ")
        assert done.stdout.count("\n") == 1
        record = versions.read_record(versions.resolve(registry, "style", "tiny@1"))
        assert record.config["styles"] == ["stripes", "blue"]

    def test_a_wrong_command_is_one_sentence(self, prefect_server: None, tmp_path: Path) -> None:
        words = tmp_path / "words.jpg"
        words.write_text("these are words")
        wrong = self._run(
            str(tmp_path), "--registry", str(tmp_path), "--name", "tiny", "--style", str(words)
        )
        assert (wrong.returncode, wrong.stdout) == (2, "")
        assert wrong.stderr.startswith("pixelmill: the style ")
        assert wrong.stderr.count("\n") == 1, wrong.stderr
