"""Laws of the likelihood: uniform models, sums over all pictures, units, training batches."""

import itertools
import math
from typing import Any

import pytest
import torch

from models.pixel_embedding import embedding, layer_count
from models.pixel_likelihood import bits_per_dimension, mean_nats, nats
from models.pixel_training import PixelProblem, PixelSampler, PixelTraining
from models.pixelcnn import (
    GatedPixelCnn,
    GatedPixelCnnConfig,
    PixelCnn,
    PixelCnnConfig,
    pixelcnn_init_,
)
from models.pixelcnn_pp import PixelCnnPp, PixelCnnPpConfig, pixelcnn_pp_init_
from models.pixelrnn import PixelRnn, PixelRnnConfig
from models.training import Trainer
from tests.models.pixel_networks import gated, pictures, pixelcnn, plus_plus, rnn


@pytest.mark.parametrize(
    "network",
    [
        PixelCnn(PixelCnnConfig(width=3, blocks=1, head_width=3)),
        GatedPixelCnn(GatedPixelCnnConfig(width=3, layers=2, head_width=3)),
        PixelRnn(PixelRnnConfig(width=3, layers=1, head_width=3, recurrence="row")),
    ],
)
def test_a_network_at_its_beginning_is_uniform_exactly_8_bits_a_value(network: Any) -> None:
    pixelcnn_init_(network, torch.Generator().manual_seed(0))
    images = torch.randint(256, (2, 3, 6, 6))
    bits = bits_per_dimension(nats(network, images).double(), 3 * 6 * 6)
    assert torch.allclose(bits, torch.full_like(bits, 8.0), atol=1e-6)


@pytest.mark.parametrize("run", [1, 2, 4])
def test_a_binary_network_at_its_beginning_is_1_bit_a_value(run: int) -> None:
    config = PixelCnnPpConfig(
        channels=1, levels=2, run=run, head="joint", filters=(4,), blocks=(1,)
    )
    network = PixelCnnPp(config)
    pixelcnn_pp_init_(network, torch.Generator().manual_seed(0))
    total = nats(network, torch.randint(2, (2, 1, 4, 8)))
    assert torch.allclose(bits_per_dimension(total, 32), torch.ones(2))


def _all_pictures(levels: int, shape: tuple[int, int, int]) -> torch.Tensor:
    count = math.prod(shape)
    every = list(itertools.product(range(levels), repeat=count))
    return torch.tensor(every).view(-1, *shape)


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (lambda: pixelcnn(channels=1, levels=2), (1, 2, 2)),
        (lambda: pixelcnn(levels=2), (3, 1, 2)),
        (lambda: gated(levels=3), (3, 1, 2)),
        (lambda: gated(channels=1, levels=2, run=2, head="joint"), (1, 2, 4)),
        (lambda: gated(channels=1, levels=2, run=2), (1, 2, 4)),
        (lambda: plus_plus(levels=3, filters=(4,), blocks=(1,)), (3, 1, 2)),
        (lambda: plus_plus(channels=1, levels=3), (1, 2, 2)),
        (lambda: plus_plus(channels=1, levels=2, run=2, head="joint"), (1, 2, 4)),
        (lambda: rnn(channels=1, levels=2, recurrence="row"), (1, 3, 3)),
        (lambda: rnn(levels=2), (3, 1, 2)),
    ],
)
def test_the_probabilities_of_all_pictures_of_a_tiny_space_sum_to_1(
    network: Any, shape: tuple[int, int, int]
) -> None:
    model = network()
    images = _all_pictures(model.sites.levels, shape)
    with torch.no_grad():
        total = nats(model, images).double().neg().exp().sum()
    assert float(total) == pytest.approx(1, abs=2e-5)


def test_the_probabilities_sum_to_1_under_every_class() -> None:
    model, images = gated(channels=1, levels=2, classes=3), _all_pictures(2, (1, 2, 3))
    with torch.no_grad():
        for label in range(3):
            total = nats(model, images, torch.full((64,), label)).double().neg().exp().sum()
            assert float(total) == pytest.approx(1, abs=2e-5)


def test_the_mean_does_not_depend_on_the_batch() -> None:
    network, images = gated(), pictures(gated(), 5)
    assert mean_nats(network, images, batch_size=2) == pytest.approx(
        float(nats(network, images).detach().mean()), rel=1e-6
    )


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (torch.full((1, 3, 8, 8), 4), "levels must be 0 to 3"),
        (torch.full((1, 3, 8, 8), -1), "levels must be 0 to 3"),
        (torch.zeros(1, 3, 8, 8), "integers"),
        (torch.zeros(1, 1, 8, 8, dtype=torch.uint8), "images must be"),
    ],
)
def test_pictures_that_are_not_of_its_levels_are_refused(images: torch.Tensor, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        nats(gated(), images)


def test_a_batch_depends_on_seed_and_step_alone_and_an_epoch_shows_all() -> None:
    images = torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1).expand(10, 1, 4, 4)
    training = PixelTraining(batch_size=4, mirror=True, crop=3)
    one, two = (PixelSampler(images, None, training) for _ in range(2))
    assert torch.equal(one.batch(7)[0], two.batch(7)[0])
    assert one.batch(0)[0].shape == (4, 1, 3, 3)
    shown = torch.cat([one.batch(n)[0][:, 0, 0, 0] for n in range(5)])
    assert sorted(shown.tolist()) == sorted(list(range(10)) * 2)


def test_processes_share_a_batch_without_overlap() -> None:
    images = torch.arange(8, dtype=torch.uint8).view(8, 1, 1, 1)
    sampler = PixelSampler(images, torch.arange(8), PixelTraining(batch_size=8))
    parts = [sampler.batch(0, rank=r, processes=2) for r in range(2)]
    assert sorted(torch.cat([p[1] for p in parts]).tolist()) == list(range(8))
    assert all(torch.equal(x.flatten().long(), y) for x, y in parts)


def test_training_lowers_the_score_towards_the_data() -> None:
    """Pictures of one random row repeated: all but the first row can be known."""
    generator = torch.Generator().manual_seed(0)
    row = torch.randint(2, (64, 1, 1, 8), generator=generator)
    images = row.expand(64, 1, 8, 8).to(torch.uint8).contiguous()
    config = PixelCnnPpConfig(
        channels=1, levels=2, run=2, head="joint", filters=(8, 8), blocks=(1, 1), dropout=0.0
    )
    network = PixelCnnPp(config)
    pixelcnn_pp_init_(network, generator)
    training = PixelTraining(steps=120, batch_size=16, learning_rate=5e-3, warmup=5)
    problem = PixelProblem(
        network=network, sampler=PixelSampler(images, None, training), validation=images[:16]
    )
    assert problem.validate(network)["validation_bits_per_dimension"] == pytest.approx(1, abs=1e-5)
    trainer = Trainer(network, training.optimisation(), problem.loss)
    while not trainer.finished:
        trainer.advance(problem.batch(trainer.step, 0, 1))
    scores = problem.validate(trainer.average)
    assert scores["validation_bits_per_dimension"] < 0.3
    assert scores["validation_nats"] == pytest.approx(
        scores["validation_bits_per_dimension"] * 64 * math.log(2), rel=1e-5
    )


@pytest.mark.parametrize(
    ("setting", "said"),
    [({"batch_size": 0}, "batch_size"), ({"crop": -1}, "crop"), ({"steps": 0}, "steps")],
)
def test_settings_that_make_no_sense_are_refused(setting: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        PixelTraining(**setting)  # type: ignore[arg-type]


def test_a_crop_larger_than_the_pictures_is_refused() -> None:
    images = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    with pytest.raises(ValueError, match="crop must be at most 4"):
        PixelSampler(images, None, PixelTraining(crop=5))


def test_an_embedding_is_one_vector_a_picture_that_tells_pictures_apart() -> None:
    network, images = gated(), pictures(gated(), 3)
    made = embedding(network, images, 1)
    assert made.shape == (3, 12)
    assert not torch.allclose(made[0], made[1])
    assert torch.allclose(embedding(network, images, 1, batch_size=2), made)
    assert embedding(network, images, -1, grid=2).shape == (3, 24 * 4)


def test_a_layer_that_is_not_there_is_refused() -> None:
    network = gated()
    count = layer_count(network, height=8, width=8)
    assert count == 4
    with pytest.raises(ValueError, match="below 4"):
        embedding(network, pictures(network), count)
