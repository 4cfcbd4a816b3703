"""Laws of the linear probe: it finds what is linear, and no more."""

import pytest
import torch

from models.linear_probe import linear_probe


def _data(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (count,), generator=generator)
    noise = torch.randn(count, 5, generator=generator)
    noise[:, :3] += 6 * torch.nn.functional.one_hot(labels, 3)
    return noise, labels


def test_classes_that_a_plane_divides_are_told_apart() -> None:
    score = linear_probe(_data(300, 0), _data(200, 1))
    assert score.test > 0.97
    assert (score.classes, score.features) == (3, 5)


def test_labels_that_features_do_not_hold_are_guessed() -> None:
    x, _ = _data(300, 0)
    y, _ = _data(300, 1)
    labels = torch.randint(3, (300,), generator=torch.Generator().manual_seed(5))
    others = torch.randint(3, (300,), generator=torch.Generator().manual_seed(6))
    assert linear_probe((x, labels), (y, others)).test < 0.5


def test_scale_offset_and_dead_features_change_nothing() -> None:
    (x, y), (u, v) = _data(300, 0), _data(200, 1)
    one = linear_probe((x, y), (u, v))
    dead = torch.full((1, 1), 3.0)

    def other(features: torch.Tensor) -> torch.Tensor:
        return torch.cat([features * 100 - 7, dead.expand(len(features), 1)], 1)

    again = linear_probe((other(x), y), (other(u), v))
    assert again.test == pytest.approx(one.test, abs=0.01)


def test_what_cannot_be_probed_is_one_sentence() -> None:
    x, y = _data(10, 0)
    with pytest.raises(ValueError, match="as many labels"):
        linear_probe((x, y[:-1]), (x, y))
    with pytest.raises(ValueError, match="two classes"):
        linear_probe((x, y * 0), (x, y))
