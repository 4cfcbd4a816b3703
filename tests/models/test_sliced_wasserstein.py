"""Laws of the sliced Wasserstein distance: a distance of distributions, whatever their sizes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from models.sliced_wasserstein import (
    SlicedTargets,
    quantiles,
    random_directions,
    sliced_distance,
    sorted_projections,
)

seeds = st.integers(0, 1000)


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def cloud(seed: int, count: int = 40, channels: int = 5) -> Tensor:
    return torch.randn(channels, count, generator=rng(seed), dtype=torch.float64)


def directions(seed: int, channels: int = 5) -> Tensor:
    return random_directions(channels, rng(seed)).double()


@given(seed=seeds)
def test_directions_are_a_rotation_that_the_seed_decides(seed: int) -> None:
    turned = random_directions(7, rng(seed))
    torch.testing.assert_close(turned @ turned.T, torch.eye(7), atol=1e-5, rtol=0)
    assert torch.equal(turned, random_directions(7, rng(seed)))
    assert not torch.equal(turned, random_directions(7, rng(seed + 1)))


@given(seed=seeds)
def test_a_shuffle_of_positions_is_at_distance_0_and_another_cloud_is_not(seed: int) -> None:
    x, own = cloud(seed), directions(seed)
    target = sorted_projections(x, own)
    shuffled = x[:, torch.randperm(40, generator=rng(seed))]
    assert sliced_distance(shuffled, target, own) < 1e-28
    assert sliced_distance(cloud(seed + 1), target, own) > 1e-3


def test_the_distance_of_a_shifted_cloud_is_the_shift_along_the_directions() -> None:
    x, own = cloud(0), directions(0)
    shift = torch.tensor([0.3, -1.0, 0.0, 0.2, 2.0], dtype=torch.float64)[:, None]
    target = sorted_projections(x, own)
    expected = (own @ shift).square().mean() / target.square().mean()
    torch.testing.assert_close(sliced_distance(x + shift, target, own), expected)


def test_the_distance_sees_what_gram_matrices_do_not() -> None:
    signs = torch.tensor([[1.0, -1.0, 1.0, -1.0]], dtype=torch.float64)
    spread = torch.tensor([[2.0, 0.0, 0.0, 0.0]], dtype=torch.float64)  # the same mean of squares
    one = torch.ones(1, 1, dtype=torch.float64)
    assert sliced_distance(signs, sorted_projections(spread, one), one) > 0.1


@pytest.mark.parametrize("times", [2, 3])
def test_a_cloud_repeated_is_the_same_distribution(times: int) -> None:
    x, own = cloud(0, 400), directions(0)
    target = sorted_projections(x, own)
    assert sliced_distance(x.repeat(1, times), target, own) < 1e-3
    assert sliced_distance(x[:, ::times], target, own) < 0.05


def test_quantiles_of_evenly_spread_values_are_evenly_spread() -> None:
    ordered = torch.arange(8.0).expand(2, -1)
    assert quantiles(ordered, 8) is ordered
    assert quantiles(ordered, 4).tolist() == [[0.5, 2.5, 4.5, 6.5]] * 2
    many = quantiles(ordered, 16)[0]
    assert many[0] == 0
    assert many[-1] == 7
    assert torch.allclose(many[1:-1].diff(), torch.full((13,), 0.5))
    assert quantiles(ordered[:, :1], 3).tolist() == [[0.0] * 3] * 2


@given(seed=seeds, scale=st.sampled_from([1e-3, 200.0]))
def test_the_distance_does_not_mind_the_network_s_scale(seed: int, scale: float) -> None:
    x, y, own = cloud(seed), cloud(seed + 1), directions(seed)
    plain = sliced_distance(x, sorted_projections(y, own), own)
    scaled = sliced_distance(scale * x, sorted_projections(scale * y, own), own)
    torch.testing.assert_close(scaled, plain)


def test_targets_turn_with_the_generator() -> None:
    x = cloud(0).float()
    targets, generator = SlicedTargets({"a": x}), rng(0)
    other = cloud(1).float().reshape(1, 5, 8, 5)
    targets.turn(generator)
    first = targets.distance("a", other)
    targets.turn(generator)
    assert targets.distance("a", other) != first
    assert targets.distance("a", x.reshape(1, 5, 4, 10)) < 1e-10


def test_clouds_of_other_channels_or_none_are_refused() -> None:
    for bad in (torch.zeros(4, 9), torch.zeros(5, 0), torch.zeros(1, 5, 9)):
        with pytest.raises(ValueError, match=r"features must be \(5, n\)"):
            sorted_projections(bad, torch.eye(5))
