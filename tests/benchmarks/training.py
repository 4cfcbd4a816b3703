"""How busy a training keeps its device: python -m tests.benchmarks.training DATASET [STEPS].

The first steps decode every picture that they draw; idle is what the device waited for batches.
"""

import sys
import tempfile

from models.sr_training import SrTraining
from tasks import sr_training
from tasks.sr_training import TrainSrRequest
from tasks.training import TrainingProgress


def main() -> None:
    dataset = sys.argv[1]
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else 400
    print("| network | steps/s | patches/s | device idle |")
    print("|---|---|---|---|")
    for network in ("mill", "mill-small"):
        with tempfile.TemporaryDirectory() as registry:
            training = SrTraining(
                network=network, steps=steps, validate_every=steps, checkpoint_every=steps
            )
            request = TrainSrRequest(
                dataset=dataset, registry=registry, name="bench", training=training
            )
            progress = TrainingProgress()
            sr_training.train(sr_training.open_job(request), progress)
        rate = steps / (progress.waited_s + progress.busy_s)
        share = f"{progress.idle_share:.1%}"
        print(
            f"| {network} | {rate:.1f} | {rate * training.batch_size:.0f} | {share} |", flush=True
        )


if __name__ == "__main__":
    main()
