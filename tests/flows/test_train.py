"""The training flow and its command, with Prefect and with real processes."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tasks import storage, versions
from tasks.training import read_metrics
from tests.s3_server import S3Server
from tests.tasks.test_sr_training import TRAINING, make_dataset

ROOT = Path(__file__).resolve().parents[2]
STEPS = 300


def test_the_flow_trains_publishes_and_shows_its_curve_and_does_so_once(
    prefect_server: None, s3_env: S3Server, tmp_path: Path
) -> None:
    from prefect.client.orchestration import get_client

    from flows.train import train_sr

    place = f"s3://{s3_env.bucket}/train-{tmp_path.name}"
    dataset, registry = make_dataset(place), f"{place}/registry"
    first = train_sr(dataset, registry, "tiny", training=TRAINING)
    assert (first.version.ref, first.steps, first.trained) == ("tiny@1", TRAINING.steps, True)
    current = versions.champion(registry, "sr", "tiny")
    assert current is not None
    assert current.version == first.version
    with get_client(sync_client=True) as client:
        shown = [a for a in client.read_artifacts() if first.closing_line() == a.description]
    assert [a.type for a in shown] == ["image"]
    assert str(shown[0].data).startswith("data:image/png;base64,")

    again = train_sr(dataset, registry, "tiny", training=TRAINING)
    assert (again.version, again.trained, again.metrics) == (first.version, False, first.metrics)
    assert "trained before, nothing to do" in again.closing_line()
    longer = train_sr(dataset, registry, "tiny", training=replace(TRAINING, steps=18))
    assert (longer.version.ref, longer.champion) == ("tiny@2", 1)
    assert "version 1 stays champion" in longer.closing_line()


class TestTheCommand:
    def _start(self, dataset: str, registry: str, *options: str) -> subprocess.Popen[str]:
        from prefect.settings import PREFECT_API_URL

        settings = {
            "network": "mill-small", "steps": STEPS, "batch_size": 4, "patch": 12,
            "expansion": 0, "validate_every": STEPS, "checkpoint_every": 20,
        }  # fmt: skip
        words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        own = {k: v for k, v in os.environ.items() if k != "PREFECT_LOGGING_LEVEL"}
        place = ["train", "sr", dataset, "--registry", registry, "--name", "tiny"]
        return subprocess.Popen(
            [sys.executable, "-m", "flows.cli", *place, *words, *options],
            cwd=ROOT,
            env={**own, "PREFECT_API_URL": str(PREFECT_API_URL.value())},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    @pytest.mark.slow
    def test_stopped_it_says_where_and_the_same_command_goes_on(
        self, prefect_server: None, tmp_path: Path
    ) -> None:
        dataset, registry = make_dataset(str(tmp_path)), str(tmp_path / "registry")
        process = self._start(dataset, registry)
        runs = tmp_path / "registry" / "sr" / "tiny" / "training"
        while process.poll() is None and not list(runs.glob("*/checkpoint.pt")):
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=120)
        assert (process.returncode, out) == (1, ""), err
        *_, sentence = err.strip().splitlines()
        told = re.fullmatch(
            rf"pixelmill: stopped after step (\d+) of {STEPS}; the same command goes on from there",
            sentence,
        )
        assert told is not None, err
        assert "Traceback" not in err
        step = int(told[1])
        assert 20 <= step < STEPS
        assert versions.list_versions(registry, "sr", "tiny") == []

        out, err = self._start(dataset, registry).communicate(timeout=240)
        assert f"tiny@1: {STEPS} steps, " in out, err
        assert "the champion" in out
        assert out.strip().endswith(storage.normalise(f"{registry}/sr/tiny/1"))
        (folder,) = runs.iterdir()
        parts = sorted(p.name for p in (folder / "metrics").iterdir())
        assert f"from-{step:09d}.parquet" in parts  # it went on there, not from a checkpoint before
        steps = [r.step for r in read_metrics(str(folder), until=STEPS) if r.metric == "total"]
        assert steps == sorted(set(steps))
        assert len(steps) == len(range(0, STEPS, 10)) + 1

    def test_a_wrong_command_is_one_sentence(self, prefect_server: None, tmp_path: Path) -> None:
        process = self._start(str(tmp_path / "none"), str(tmp_path), "--set", "stepz=5")
        out, err = process.communicate(timeout=120)
        assert (process.returncode, out) == (2, "")
        assert err.startswith("pixelmill: settings have no stepz; there are ")
        assert err.count("\n") == 1
