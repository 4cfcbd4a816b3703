"""Laws of the discretised logistic mixture."""

import math

import numpy as np
import pytest
import torch

from models.logistic_mixture import (
    logistic_log_mass,
    mixture_log_likelihood,
    mixture_parameters,
)
from models.pixel_heads import MixtureHead
from models.pixel_probabilities import TOTAL, draw_one, head_code, quantised_probabilities
from models.pixel_sites import Sites


def test_colour_with_10_components_has_the_papers_100_numbers() -> None:
    assert mixture_parameters(3, 10) == 100


@pytest.mark.parametrize("mean", [-3.0, -0.7, 0.0, 0.999, 2.5])
@pytest.mark.parametrize("log_scale", [-9.0, -5.0, -1.0, 3.0])
def test_the_mass_of_all_levels_is_1(mean: float, log_scale: float) -> None:
    x = torch.linspace(-1, 1, 256, dtype=torch.float64)
    where, scale = (torch.tensor(v, dtype=torch.float64) for v in (mean, log_scale))
    mass = logistic_log_mass(x, where, scale, levels=256).exp()
    assert float(mass.sum()) == pytest.approx(1, abs=1e-12)


def test_the_probabilities_of_all_colours_sum_to_1() -> None:
    levels, mixtures = 4, 2
    grid = torch.tensor([(r, g, b) for r in range(4) for g in range(4) for b in range(4)])
    parameters = torch.randn(1, mixture_parameters(3, mixtures), 1, 1, dtype=torch.float64)
    total = mixture_log_likelihood(
        parameters.expand(64, -1, 1, 1), grid.view(64, 3, 1, 1), levels=levels, mixtures=mixtures
    )
    assert float(total.exp().sum()) == pytest.approx(1, abs=1e-12)


def test_far_from_the_mean_the_mass_is_the_tails_and_no_floor() -> None:
    """At 20 scales from the mean: exp(-20) (1 - exp(-width/scale)), nearly."""
    scale = 0.02
    mass = logistic_log_mass(
        torch.tensor(51 / 127.5 - 1, dtype=torch.float64),
        torch.tensor(51 / 127.5 - 1 - 20 * scale, dtype=torch.float64),
        torch.tensor(math.log(scale), dtype=torch.float64),
        levels=256,
    )
    half = 1 / 255 / scale
    assert float(mass) == pytest.approx(-20 + half + math.log(1 - math.exp(-2 * half)), abs=1e-6)


def test_its_integer_probabilities_are_the_likelihoods() -> None:
    """The chain of conditionals, each out of 2^24, multiplies to the joint probability."""
    head = MixtureHead(sites=Sites(channels=3, levels=256), mixtures=5)
    generator = torch.Generator().manual_seed(2)
    parameters = torch.randn(40, head.parameters, 1, 1, generator=generator, dtype=torch.float64)
    symbols = torch.randint(110, 150, (40, 3, 1, 1), generator=generator)
    wanted = head.log_likelihood(parameters, symbols).flatten().numpy()
    levels, numbers = symbols[:, :, 0, 0].numpy(), parameters[:, :, 0, 0].numpy()
    got = np.zeros(40)
    for s in range(3):
        counts = quantised_probabilities(head, numbers, s, levels)
        rows = np.arange(40)
        mass = counts[rows, levels[:, s] + 1] - counts[rows, levels[:, s]]
        got += np.log(mass / TOTAL)
    likely = wanted > -24  # of three symbols, each well above 2^-24
    assert likely.sum() > 10
    assert np.allclose(got[likely], wanted[likely], atol=0.02)


def test_a_search_by_halves_draws_what_the_counts_of_all_levels_say() -> None:
    head = MixtureHead(sites=Sites(channels=3, levels=256), mixtures=5)
    generator = np.random.default_rng(4)
    numbers = generator.normal(size=(300, head.parameters))
    earlier = generator.integers(0, 256, (300, 3))
    room = np.empty(257, dtype=np.int64)
    for s in range(3):
        counts = quantised_probabilities(head, numbers, s, earlier)
        for n, uniform in enumerate(generator.integers(0, TOTAL, 300)):
            level, near = draw_one(head_code(head), numbers[n], earlier[n], s, 1.0, uniform, room)
            assert near or counts[n, level] <= uniform < counts[n, level + 1]
