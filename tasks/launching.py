"""A training in several processes: this one launches them, waits, and hands signals on."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict

from models.sr_training import SrTraining
from tasks import runs, sr_training
from tasks.failures import RunAbortedError
from tasks.runs import StoppedError
from tasks.settings import typed
from tasks.sr_training import SrTrainingJob, TrainSrRequest
from tasks.training import TrainingProgress


def train_in_processes(job: SrTrainingJob, progress: TrainingProgress) -> None:
    """Train with `job.request.processes` processes that share each batch.

    Raises:
        StoppedError: `progress.stop` was set; the checkpoint is of the last step.
        RunAbortedError: a process failed; its output says why.
    """
    progress.steps, count = job.request.training.steps, job.request.processes
    threads = str(max(1, (os.cpu_count() or 1) // count))
    environment = {**os.environ, "OMP_NUM_THREADS": threads}
    with subprocess.Popen(_command(job), env=environment) as group:  # noqa: S603 (our own)
        while group.poll() is None:
            if progress.stop.is_set():
                group.send_signal(signal.SIGTERM)
                group.wait()
            time.sleep(0.2)
    if progress.stop.is_set():
        raise StoppedError("stopped; the same command goes on from the last checkpoint")
    if group.returncode:
        raise RunAbortedError(
            f"training in {count} processes ended with exit code {group.returncode}"
        )
    progress.step = progress.steps


def _command(job: SrTrainingJob) -> list[str]:
    """Torch's launcher sets what Accelerate reads: rank, number of processes, meeting place."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    count = ["--nproc-per-node", str(job.request.processes)]
    return [*launcher, *count, "-m", "tasks.launching", json.dumps(asdict(job.request))]


def main() -> None:
    """One of the processes: train this process's share."""
    said = json.loads(sys.argv[1])
    training = typed(SrTraining, said.pop("training"))
    job = sr_training.open_job(TrainSrRequest(**said, training=training))
    progress = TrainingProgress()
    with runs.stop_on_signals(progress.stop):
        sr_training.train(job, progress)


if __name__ == "__main__":
    main()
