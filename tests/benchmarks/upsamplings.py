"""Four ways to enlarge inside one residual network, trained for the same steps on the same data.

    python -m tests.benchmarks.upsamplings DATASET JUDGED [STEPS]

DATASET is of `pixelmill dataset sr`; JUDGED any high-resolution collection or dataset of its scale.
One thread each, two at a time. Prints the table of docs/results.md.
"""

import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

UPSAMPLINGS = ("bicubic", "unpool", "transposed", "pixelshuffle")


def train_and_judge(upsampling: str, dataset: str, judged: str, steps: int, folder: str) -> str:
    """One row of the table: a network of 16 maps and two residual blocks."""
    import torch

    from models.cards import Card
    from models.checkpoints import write_checkpoint
    from models.classic_upscalers import ResidualFcn, ResidualFcnConfig, classic_init_
    from models.complexity import macs, parameters
    from models.patches import PatchConfig, PatchSampler
    from models.sr_training import SrTraining, loss_of
    from models.training import Trainer
    from tasks.sr_evaluation import EvaluateRequest, evaluate_sr
    from tasks.sr_pairs import open_sr_dataset, read_pairs
    from tasks.staging import stage

    torch.set_num_threads(1)
    scale = open_sr_dataset(dataset).scale
    config = ResidualFcnConfig(scale=scale, width=16, blocks=2, upsampling=upsampling)  # type: ignore[arg-type]
    network = ResidualFcn(config)
    classic_init_(network, torch.Generator().manual_seed(0))
    network = network.to(memory_format=torch.channels_last)
    training = SrTraining(steps=steps, batch_size=16, patch=24)
    place = Path(folder) / upsampling
    pairs = stage(read_pairs(dataset, "train"), place.with_suffix(".pairs"))
    sampler = PatchSampler(pairs, PatchConfig(scale=scale, batch_size=16, patch=24, rescale=(1.0,)))
    trainer = Trainer(
        network, training.optimisation(), loss_of(training, scale=scale, features=None)
    )
    began = time.monotonic()
    while not trainer.finished:
        trainer.advance(sampler.batch(trainer.step))
    seconds = time.monotonic() - began
    values = asdict(config)
    card = Card(architecture="residual_fcn", config=values, metrics={})
    checkpoint = place.with_suffix(".safetensors")
    checkpoint.write_bytes(write_checkpoint(trainer.average, card))
    report = evaluate_sr(EvaluateRequest(model=str(checkpoint), dataset=judged))
    scores = report.means[str(checkpoint)]
    giga = macs(trainer.average, 720 // scale, 1280 // scale) / 1e9
    return (
        f"| {upsampling} | {parameters(trainer.average):,} | {giga:.1f} G | {scores['psnr']:.2f}"
        f" | {scores['ssim']:.4f} | {seconds:.0f} |"
    )


def main() -> None:
    dataset, judged = sys.argv[1:3]
    steps = int(sys.argv[3]) if len(sys.argv) > 3 else 1500
    print("| upsampling | parameters | MACs to 1280x720 | PSNR-Y | SSIM-Y | training s |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(2) as pool:
        work = [
            pool.submit(train_and_judge, u, dataset, judged, steps, folder) for u in UPSAMPLINGS
        ]
        for row in work:
            print(row.result(), flush=True)


if __name__ == "__main__":
    main()
