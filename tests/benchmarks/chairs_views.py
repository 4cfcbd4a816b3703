"""What a generator makes of views that it has never seen: the paper's inter- and extrapolation.

    python -m tests.benchmarks.chairs_views DATASET [STEPS [CHAIRS]]

One small generator for each row, 64 pixels, trained on the training views that the row keeps; the
error is of all test views from azimuths that it does not keep, of the chairs that lack them.
`few` keeps so many azimuths of every chair; `transfer` of the second half of the chairs alone, so
that the others show how chairs turn; `half` keeps the azimuths below 180 degrees: of those beyond,
nothing is near. `nearest` shows the nearest kept view.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from models.chair_networks import ChairGenerator, GeneratorConfig, chair_init_
from models.chair_pictures import ChairPictures, evenly
from models.chair_scores import generator_scores, nearest_scores
from models.chair_training import ChairProblem, ChairTraining, loss_of
from models.training import Trainer
from tasks.chairs_reading import open_chairs_dataset
from tasks.chairs_training import pictures

NETWORK = GeneratorConfig(
    size=64, deep=True, upsampling="resize", harmonics=1, inputs=128, trunk=256, cells=80,
    widths=(64, 32),
)  # fmt: skip

Kept = Callable[[ChairPictures], Tensor]


@dataclass(frozen=True, kw_only=True)
class Row:
    """kept: which views, (V,) bool. lacking: chairs from this number on lack some."""

    name: str
    kept: Kept
    lacking: int


def rows(azimuths: tuple[float, ...], chairs: int) -> list[Row]:
    """16, 8, 4, 2 and 1 azimuths, of all chairs and of half of them; and half a circle."""
    found = []
    for count in (16, 8, 4, 2, 1):
        chosen = torch.tensor(evenly(azimuths, count))
        for name, first in (("few", 0), ("transfer", chairs // 2)):
            found.append(Row(name=f"{name} {count}", kept=_few(chosen, first), lacking=first))
    for name, first in (("half", 0), ("half, transfer", chairs // 2)):
        found.append(Row(name=name, kept=_half(first), lacking=first))
    return found


def _few(chosen: Tensor, first: int) -> Kept:
    return lambda views: torch.isin(views.azimuth, chosen) | (views.chair < first)


def _half(first: int) -> Kept:
    return lambda views: (views.azimuth < 180) | (views.chair < first)


def trained(views: ChairPictures, training: ChairTraining) -> ChairGenerator:
    network = ChairGenerator(training.network)
    chair_init_(network, torch.Generator().manual_seed(training.seed))
    problem = ChairProblem(
        network=network,
        loss=loss_of(training.network, color_weight=training.color_weight),
        views=views,
        validation=views,
        config=training,
    )
    trainer = Trainer(network, training.optimisation(), problem.loss)
    while not trainer.finished:
        trainer.advance(problem.batch(trainer.step, 0, 1))
    average = trainer.average
    if not isinstance(average, ChairGenerator):
        raise TypeError(f"the network must be a ChairGenerator, got {type(average).__name__}")
    return average


def main() -> None:
    dataset = open_chairs_dataset(sys.argv[1])
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else 3000
    chairs = int(sys.argv[3]) if len(sys.argv) > 3 else 32
    training = ChairTraining(
        network=replace(NETWORK, classes=chairs), steps=steps, batch_size=32, learning_rate=2e-3,
        ema_decay=0.998, transformed=0.2,
    )  # fmt: skip
    every, test = (pictures(dataset, split, chairs=chairs, size=64) for split in ("train", "test"))
    print("| kept | views | RGB MSE | nearest | mask IoU | nearest |")
    print("|---|---|---|---|---|---|")
    for row in rows(dataset.azimuths, chairs):
        seen = every.take(row.kept(every))
        unseen = test.take(~row.kept(test) & (test.chair >= row.lacking))
        own = generator_scores(trained(seen, training), unseen).mean(0)
        nearest = nearest_scores(unseen, seen).mean(0)
        print(
            f"| {row.name} | {len(seen)} | {own[0]:.5f} | {nearest[0]:.5f} | {own[2]:.3f}"
            f" | {nearest[2]:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
