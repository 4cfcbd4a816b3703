"""Kill a training outright five times, each time later, and compare it with one left alone.

python -m tests.benchmarks.training_kills
"""

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from tasks import storage
from tasks.sr_training import SrTrainingJob
from tests.tasks.test_sr_training import ROOT, SCRIPT, _job, make_dataset

KILLS, SEED = 5, 7


def step_of(checkpoint: Path) -> int:
    """The step that a checkpoint is of; -1 before there is one."""
    if not checkpoint.exists():
        return -1
    return int(torch.load(checkpoint, weights_only=True)["step"])


def written(checkpoint: Path) -> int:
    """When it was written; 0 before there is one."""
    return checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0


def run(job: SrTrainingJob, *, kill_after_s: float | None) -> None:
    """The training in a process of its own, killed so many seconds after its next checkpoint."""
    request, checkpoint = job.request, Path(job.folder) / "checkpoint.pt"
    before = written(checkpoint)
    command = [sys.executable, "-c", SCRIPT, request.dataset, request.registry]
    with subprocess.Popen(command, cwd=ROOT) as process:
        if kill_after_s is not None:
            while written(checkpoint) == before and process.poll() is None:
                time.sleep(0.001)
            time.sleep(kill_after_s)
            process.kill()


def main() -> None:
    """Prints where each kill hit, and whether the weights' bytes are equal at the end."""
    pause = random.Random(SEED)
    with tempfile.TemporaryDirectory() as folder:
        dataset = make_dataset(folder)
        whole, killed = (_job(dataset, f"{folder}/{name}") for name in ("whole", "killed"))
        run(whole, kill_after_s=None)
        checkpoint = Path(killed.folder) / "checkpoint.pt"
        for kill in range(KILLS):
            run(killed, kill_after_s=pause.uniform(0, 0.05))
            print(f"kill {kill + 1}: the checkpoint is of step {step_of(checkpoint)}", flush=True)
        run(killed, kill_after_s=None)
        ends = [storage.read(f"{job.folder}/model.safetensors") for job in (whole, killed)]
        print("equal" if ends[0] == ends[1] else "NOT equal", f"({len(ends[0])} bytes)")


if __name__ == "__main__":
    main()
