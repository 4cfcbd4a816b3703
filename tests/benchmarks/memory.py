"""Peak memory of `pixelmill upscale`: the imported stack, one small image, one of 12 Mpx."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from tests.corpus import good_image, saved, smooth_noise

_IMPORTS = "import flows.upscale, torch, models.checkpoints, tasks.storage_s3"


def _peak_mb(command: list[str], env: dict[str, str]) -> float:
    """Peak resident megabytes (10^6 bytes) of one process."""
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command} ended with {process.returncode}")
    return usage.ru_maxrss * 1024 / 1e6


def large_photograph() -> bytes:
    """4000x3000 with grain, JPEG."""
    smooth = Image.fromarray(smooth_noise(1, 750, 1000)).resize((4000, 3000))
    rng = np.random.default_rng(0)
    levels = np.asarray(smooth).astype(np.int16) + rng.integers(-6, 7, (3000, 4000, 3))
    return saved(Image.fromarray(levels.clip(0, 255).astype(np.uint8)), "JPEG", quality=92)


def main() -> None:
    """Three lines, in megabytes."""
    program = str(Path(sys.executable).with_name("pixelmill"))
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "PREFECT_HOME": folder}
        stack = _peak_mb([sys.executable, "-c", _IMPORTS], env)
        sys.stdout.write(f"importing the stack     {stack:6.0f} MB\n")
        for name, data in (
            ("384x384", good_image(0, (384, 384))),
            ("4000x3000", large_photograph()),
        ):
            source = Path(folder, name)
            source.mkdir()
            (source / f"{name}.img.jpg").write_bytes(data)
            peak = _peak_mb([program, "upscale", str(source), f"{folder}/out-{name}"], env)
            sys.stdout.write(f"{name:9} x4           {peak:6.0f} MB, {peak - stack:+.0f} MB\n")


if __name__ == "__main__":
    main()
