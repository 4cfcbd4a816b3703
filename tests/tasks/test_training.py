"""The loop's laws: whatever interrupts a training, it ends with the same weights and rows."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from models.training import Batch, DivergedError, Loss, OptimisationConfig
from tasks import storage
from tasks.runs import StoppedError
from tasks.training import (
    CheckpointMismatchError,
    FitConfig,
    TrainingProgress,
    fit,
    read_metrics,
    write_curve,
)

STEPS = 24


class Killed(BaseException):
    """Stands for a kill: nothing in the loop catches it, and nothing is saved because of it."""


def _squares(network: nn.Module, batch: Batch, step: int) -> dict[str, Tensor]:
    x, y = batch
    return {"total": (network(x) - y).square().mean()}


@dataclass
class Toy:
    """y = sum of x, learned by a small convolution; `at` is called before every batch."""

    network: nn.Module = field(default_factory=lambda: _seeded())
    loss: Loss = _squares
    at: Callable[[int], object] = int

    def batch(self, step: int, rank: int, processes: int, /) -> Batch:
        self.at(step)
        g = torch.Generator().manual_seed(step)
        x = torch.randn(4, 3, 6, 6, generator=g)
        return x, x.sum(1, keepdim=True)

    def validate(self, network: nn.Module, /) -> dict[str, float]:
        x, y = self.batch(10_000, 0, 1)
        with torch.no_grad():
            return {"error": float((network(x) - y).abs().mean())}


def _seeded() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.PReLU(8), nn.Conv2d(8, 1, 1))


def _config(folder: str, run: str = "r", **changes: object) -> FitConfig:
    optimisation = OptimisationConfig(steps=STEPS, learning_rate=1e-2, warmup=3)
    settings = {"validate_every": 6, "checkpoint_every": 4, "optimisation": optimisation}
    return FitConfig(run=run, folder=folder, title="toy", **{**settings, **changes})  # type: ignore[arg-type]


def _kill_at(wanted: int) -> Callable[[int], None]:
    def at(step: int) -> None:
        if step == wanted:
            raise Killed

    return at


def _equal(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> nn.Module:
    """What an uninterrupted training ends with."""
    folder = str(tmp_path_factory.mktemp("whole"))
    return fit(Toy(), _config(folder), TrainingProgress())


def test_killed_at_five_steps_it_ends_with_the_same_weights_bit_for_bit(
    store: str, whole: nn.Module
) -> None:
    for step in (1, 5, 11, 17, 22):
        with pytest.raises(Killed):
            fit(Toy(at=_kill_at(step)), _config(store), TrainingProgress())
    again = fit(Toy(), _config(store), TrainingProgress())
    assert _equal(again, whole)
    rows = [r for r in read_metrics(store, until=STEPS) if r.metric == "error"]
    assert [r.step for r in rows] == [6, 12, 18, 24]


def test_asked_to_stop_it_saves_that_very_step(tmp_path: Path, whole: nn.Module) -> None:
    progress = TrainingProgress()

    def stop_at_nine(step: int) -> None:
        if step == 9:
            progress.stop.set()

    with pytest.raises(StoppedError, match=r"stopped after step \d+ of 24"):
        fit(Toy(at=stop_at_nine), _config(str(tmp_path)), progress)
    second = TrainingProgress()
    again = fit(Toy(), _config(str(tmp_path)), second)
    assert second.began_at == progress.step > 0
    assert _equal(again, whole)


def test_a_finished_run_takes_no_step_more(tmp_path: Path, whole: nn.Module) -> None:
    fit(Toy(), _config(str(tmp_path)), TrainingProgress())
    asked: list[int] = []
    again = fit(Toy(at=asked.append), _config(str(tmp_path)), TrainingProgress())
    assert asked == []
    assert _equal(again, whole)


def test_divergence_leaves_the_last_good_checkpoint(tmp_path: Path) -> None:
    def bad(network: nn.Module, batch: Batch, step: int) -> dict[str, Tensor]:
        total = _squares(network, batch, step)["total"]
        return {"total": total * (float("inf") if step == 9 else 1)}

    with pytest.raises(DivergedError, match="the loss is inf at step 9"):
        fit(Toy(loss=bad), _config(str(tmp_path)), TrainingProgress())
    progress = TrainingProgress()
    fit(Toy(), _config(str(tmp_path)), progress)
    assert progress.began_at == 8


def test_another_networks_checkpoint_is_refused(tmp_path: Path) -> None:
    fit(Toy(), _config(str(tmp_path)), TrainingProgress())
    with pytest.raises(CheckpointMismatchError, match="is of the run r, wanted other"):
        fit(Toy(), _config(str(tmp_path), run="other"), TrainingProgress())
    small = nn.Sequential(nn.Conv2d(3, 1, 1))
    with pytest.raises(CheckpointMismatchError, match="does not fit this training"):
        fit(Toy(network=small), _config(str(tmp_path)), TrainingProgress())


def test_rows_tell_of_every_part_and_the_curve_is_drawn(tmp_path: Path) -> None:
    config = _config(str(tmp_path))
    fit(Toy(), config, TrainingProgress())
    rows = read_metrics(config.folder, until=STEPS)
    assert {(r.split, r.metric) for r in rows} == {
        ("train", "total"),
        ("train", "gradient_norm"),
        ("train", "learning_rate"),
        ("validation", "error"),
    }
    assert storage.read(write_curve(config)).startswith(b"\x89PNG")


def test_waiting_for_batches_is_measured(tmp_path: Path) -> None:
    progress = TrainingProgress()
    fit(Toy(at=lambda _: threading.Event().wait(0.08)), _config(str(tmp_path)), progress)
    assert progress.waited_s > 0.3
    assert 0 < progress.idle_share < 1
