"""Ctrl-C as a terminal sends it, to every process of a command, with the server of its own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tests import collections as c
from tests.corpus import good_image

_LIMIT_S = 180


def _wait(there: Path, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + _LIMIT_S
    while not list(there.glob("manifest/*/*.parquet")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "no shard was committed"
        time.sleep(0.1)


def test_it_finishes_what_is_under_way_and_says_so_in_a_sentence(tmp_path: Path) -> None:
    source, destination = tmp_path / "in", tmp_path / "out"
    c.put(str(source), {f"{i:03d}.png": good_image(i, (96, 96)) for i in range(300)})
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    environment |= {"PREFECT_HOME": str(tmp_path / "prefect"), "OMP_NUM_THREADS": "1"}
    options = ("--model", "mill-x4", "--shard-size", "4")
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "upscale", str(source), str(destination), *options],
        env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    try:
        _wait(destination, process)
        below = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)
        said, complained = process.communicate(timeout=_LIMIT_S)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 1, (said, complained)
    assert complained.splitlines()[-1].startswith("pixelmill: "), complained
    assert "Traceback" not in said + complained
    (record,) = c.run_records(str(destination)).to_pylist()
    assert record["status"] == "stopped"
    rows = c.manifest(str(destination)).num_rows
    assert 4 <= rows < 300
    assert len(c.outputs(str(destination))) == rows
    assert below
    assert not any(process.is_running() for process in below), "the server is left behind"
