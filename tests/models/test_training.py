"""The trainer's laws: equal states and batches lead to equal states; what diverges says so."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from models.training import (
    Batch,
    DivergedError,
    OptimisationConfig,
    Trainer,
    learning_rate_at,
)


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 1))


def _loss(network: nn.Module, batch: Batch, step: int) -> dict[str, Tensor]:
    x, y = batch
    return {"total": (network(x) - y).square().mean()}


def _batch(step: int) -> Batch:
    g = torch.Generator().manual_seed(step)
    x = torch.randn(16, 4, generator=g)
    return x, x.sum(1, keepdim=True)


CONFIG = OptimisationConfig(steps=30, learning_rate=1e-2, warmup=5)


def _run(trainer: Trainer, until: int) -> Trainer:
    while trainer.step < until:
        trainer.advance(_batch(trainer.step))
    return trainer


@pytest.mark.parametrize("cut", [1, 7, 13, 22, 29])
def test_a_restored_trainer_ends_with_the_same_weights_bit_for_bit(cut: int) -> None:
    whole = _run(Trainer(_network(), CONFIG, _loss), 30)
    first = _run(Trainer(_network(), CONFIG, _loss), cut)
    kept = copy.deepcopy(first.state())
    torch.manual_seed(99)  # whatever drew random numbers in between
    second = Trainer(nn.Sequential(*_network().children()), CONFIG, _loss)
    second.restore(kept)
    _run(second, 30)
    for one, other in ((whole.network, second.network), (whole.average, second.average)):
        for a, b in zip(one.parameters(), other.parameters(), strict=True):
            assert torch.equal(a, b)


def test_training_learns() -> None:
    trainer = Trainer(_network(), OptimisationConfig(steps=300, learning_rate=2e-2), _loss)
    first = float(trainer.advance(_batch(0)).losses["total"])
    last = float(_run(trainer, 299).advance(_batch(299)).losses["total"])
    assert last < first / 2
    assert trainer.finished


def test_the_learning_rate_warms_up_and_ends_near_nought() -> None:
    config = OptimisationConfig(steps=1000, learning_rate=1.0, warmup=100)
    assert learning_rate_at(0, config) == pytest.approx(0.01)
    assert learning_rate_at(99, config) == pytest.approx(1.0, abs=0.03)
    assert learning_rate_at(500, config) == pytest.approx(0.5)
    assert learning_rate_at(999, config) < 1e-5


def test_the_average_follows_the_network() -> None:
    network = _network()
    trainer = Trainer(network, CONFIG, _loss)
    start = [p.clone() for p in network.parameters()]
    _run(trainer, 1)
    now = zip(start, network.parameters(), trainer.average.parameters(), strict=True)
    for a, b, mean in now:
        torch.testing.assert_close(mean, a + (b - a) * 0.9)


def test_what_is_no_number_stops_with_step_and_cause() -> None:
    def broken(network: nn.Module, batch: Batch, step: int) -> dict[str, Tensor]:
        total = _loss(network, batch, step)["total"]
        return {"total": total * (math.nan if step == 3 else 1.0), "pixel": total}

    trainer = Trainer(_network(), CONFIG, broken)
    before = copy.deepcopy(_run(trainer, 3).state()["network"])
    with pytest.raises(DivergedError, match=r"the loss is nan at step 3 .*pixel"):
        trainer.advance(_batch(3))
    assert all(torch.equal(v, before[k]) for k, v in trainer.network.state_dict().items())


def test_a_loss_that_explodes_stops_training() -> None:
    def growing(network: nn.Module, batch: Batch, step: int) -> dict[str, Tensor]:
        return {"total": _loss(network, batch, step)["total"] * 3.0**step}

    with pytest.raises(DivergedError, match="wanted a lower learning rate"):
        _run(Trainer(_network(), CONFIG, growing), 30)


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        OptimisationConfig(steps=0)
    with pytest.raises(ValueError, match="learning_rate must be above 0, got 0"):
        OptimisationConfig(learning_rate=0)
