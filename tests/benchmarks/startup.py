"""From the shell to the first image: against a trivial Prefect flow, and against a server."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.corpus import good_image

_TRIVIAL = """
from prefect import flow, task
@task
def one(): return 1
@flow
def trivial(): return one()
trivial()
"""


def _timed(command: list[str], env: dict[str, str]) -> float:
    began = time.monotonic()
    ended = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(ended.stderr[-2000:])
    return time.monotonic() - began


def _upscale(source: Path, destination: Path, env: dict[str, str]) -> float:
    program = Path(sys.executable).with_name("pixelmill")
    return _timed([str(program), "upscale", str(source), str(destination)], env)


def main() -> None:
    """Each twice after one start that makes Prefect's database; the better one counts."""
    os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    from prefect.settings import PREFECT_API_URL
    from prefect.testing.utilities import prefect_test_harness

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "in")
        source.mkdir()
        (source / "a.png").write_bytes(good_image(0, (384, 384)))
        env = {
            **os.environ,
            "PREFECT_HOME": folder,
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
            "PREFECT_LOGGING_LEVEL": "CRITICAL",
        }
        trivial = [sys.executable, "-c", _TRIVIAL]
        _timed(trivial, env)
        plain, ours = [], []
        for index in range(2):
            plain.append(_timed(trivial, env))
            ours.append(_upscale(source, Path(folder, f"out-{index}"), env))
        sys.stdout.write(
            f"embedded server: trivial flow {min(plain):.1f} s, one 384x384 image"
            f" {min(ours):.1f} s, {min(ours) - min(plain):+.1f} s\n"
        )
        with prefect_test_harness(server_startup_timeout=120):
            served = {**env, "PREFECT_API_URL": str(PREFECT_API_URL.value())}
            times = [_upscale(source, Path(folder, f"served-{i}"), served) for i in range(3)]
    sys.stdout.write(f"with PREFECT_API_URL: one 384x384 image {min(times):.1f} s\n")


if __name__ == "__main__":
    main()
