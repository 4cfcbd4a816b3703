"""`pixelmill evaluate`, through Prefect: what is printed, what is left, how it fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from models.classifiers import SmallClassifier, SmallClassifierConfig, write_classifier
from tests import collections as c
from tests.corpus import good_image

GOOD = {f"{label}/{i}.png": good_image(2 * i, (48, 32)) for label in "ab" for i in range(2)}


def test_both_commands_print_a_table_and_leave_their_results(
    prefect_server: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PIXELMILL_FEATURES", "PIXELMILL_REGISTRY"):
        monkeypatch.delenv(name, raising=False)
    source = str(tmp_path / "in")
    c.put(source, GOOD | {"a/bad.png": b"text"})
    network = SmallClassifier(SmallClassifierConfig(classes=("a", "b"), widths=(4, 8, 8)))
    torch.save({}, tmp_path / "no-classifier")
    (tmp_path / "c.safetensors").write_bytes(write_classifier(network, {}))

    from prefect.settings import PREFECT_API_URL

    own = {k: v for k, v in os.environ.items() if k != "PREFECT_LOGGING_LEVEL"}
    env = {**own, "PREFECT_API_URL": str(PREFECT_API_URL.value())}

    def command(*arguments: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-c", "from flows.cli_evaluate import app; app()", *arguments],
            env=env, text=True, capture_output=True, timeout=180, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    code, out, err = command(
        "sr", "bicubic", source, "--compare", "mill-x2", "--output", str(tmp_path / "sr")
    )
    assert code == 0, err
    assert err.count("\n") == err.count("bad.png: not judged: ") == 1
    for words in ("PSNR-Y dB", "GMACs to 720p", "48x32", "not measured"):
        assert words in out, out
    assert out.strip().splitlines()[-1].startswith("4 images judged at x2, 1 failed, bicubic ")
    left = {p.name for p in (tmp_path / "sr").iterdir()}
    assert left == {"results.parquet", "metrics.parquet", "grid.png"}

    code, out, err = command(
        "classification", source, "--classifier", str(tmp_path / "c.safetensors"),
        "--model", "mill-x2", "--output", str(tmp_path / "classified"),
    )  # fmt: skip
    assert code == 0, err
    assert err.count("\n") == err.count("bad.png: not classified: ") == 1
    assert all(words in out for words in ("original", "bicubic", "mill-x2", "100.00%", "95 %"))
    assert {p.name for p in (tmp_path / "classified").iterdir()} == {
        "results.parquet",
        "metrics.parquet",
    }

    for arguments, wanted, words in (
        (("sr", "magic", source), 2, "no model named 'magic'"),
        (("sr", "mill-x2", source, "--scale", "3"), 2, "enlarges 2 times, got scale 3"),
        (("sr", "bicubic", str(tmp_path / "gone")), 1, "gone"),
        (("classification", source, "--classifier", "gone"), 2, "no classifier at gone"),
        (("classification", source, "--classifier", str(tmp_path / "no-classifier")), 2, "damaged"),
    ):
        code, out, err = command(*arguments)
        assert (code, out) == (wanted, ""), (arguments, err)
        assert err.startswith("pixelmill: ")
        assert words in err
        assert err.count("\n") == 1
