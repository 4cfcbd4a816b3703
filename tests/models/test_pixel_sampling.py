"""Laws of drawing and completing: one noise, one picture, however it is computed."""

from typing import Any

import numpy as np
import pytest
import torch

from models.pixel_completion import complete, is_exact
from models.pixel_heads import SoftmaxHead
from models.pixel_likelihood import nats
from models.pixel_probabilities import TOTAL, drawn, quantised_probabilities
from models.pixel_sampling import Given, draw_noise, sample
from models.pixel_sites import Sites
from models.pixel_stepping import Stepper
from tests.models.pixel_networks import (
    CONVOLUTIONAL,
    NETWORKS,
    gated,
    labels_for,
    pictures,
    pixelcnn,
    rnn,
    size_for,
)


def _noise(network: Any, count: int, seed: int = 0) -> torch.Tensor:
    return draw_noise((count, *size_for(network)), torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_cached_predictive_and_naive_sampling_agree_bit_for_bit(
    name: str, temperature: float
) -> None:
    network = CONVOLUTIONAL[name]()
    noise, labels = _noise(network, 3), labels_for(network, 3)
    naive, *others = (
        sample(network, noise, labels=labels, temperature=temperature, sampler=s)  # type: ignore[arg-type]
        for s in ("naive", "cached", "predictive")
    )
    assert all(torch.equal(naive, other) for other in others)
    assert len(naive.unique()) > 1


def test_recurrent_networks_are_drawn_naively_and_by_prediction() -> None:
    network = rnn(channels=1, levels=2)
    noise = _noise(network, 2)
    naive = sample(network, noise, sampler="naive")
    assert torch.equal(naive, sample(network, noise, sampler="predictive"))
    with pytest.raises(ValueError, match="site by site"):
        sample(network, noise, sampler="cached")


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_stepping_computes_the_network_and_the_same_bits_for_any_batch(name: str) -> None:
    network = CONVOLUTIONAL[name]()
    images, labels = pictures(network, 5), labels_for(network, 5)
    with torch.no_grad():
        whole = network(images, labels).permute(0, 2, 3, 1).numpy()
    all_five = _stepped(network, images, labels)
    assert np.abs(all_five - whole).max() < 1e-5
    one = _stepped(network, images[3:4], None if labels is None else labels[3:4])
    assert np.array_equal(one[0], all_five[3])


def _stepped(network: Any, images: torch.Tensor, labels: torch.Tensor | None) -> Any:
    scaled = network.sites.scaled(network.sites.of(images)).numpy()
    n, _, height, width = scaled.shape
    numbers = None if labels is None else labels.numpy()
    stepper = Stepper(network, batch=n, height=height, width=width, labels=numbers)
    made = np.empty((n, height, width, stepper.parameters), np.float32)
    for y in range(height):
        stepper.begin_row(y)
        for x in range(width):
            stepper.write(y, x, np.ascontiguousarray(scaled[:, :, y, x]))
            made[:, y, x] = stepper.site(y, x)
    return made


def test_pictures_are_drawn_with_the_models_probabilities() -> None:
    """1 x 4 binary pictures: the frequencies of all 16 against exp(-nats), chi-squared."""
    network = gated(channels=1, levels=2)
    noise = draw_noise((20_000, 1, 1, 4), torch.Generator().manual_seed(5))
    made = sample(network, noise).flatten(1).long() @ torch.tensor([8, 4, 2, 1])
    every = torch.tensor([[n >> 3 & 1, n >> 2 & 1, n >> 1 & 1, n & 1] for n in range(16)])
    with torch.no_grad():
        wanted = nats(network, every.view(16, 1, 1, 4)).neg().exp() * 20_000
    counted = torch.bincount(made, minlength=16)
    assert float(((counted - wanted) ** 2 / wanted).sum()) < 37.7  # p = 0.001 at 15 degrees


def test_integer_probabilities_are_a_distribution_that_leaves_no_level_out() -> None:
    head = SoftmaxHead(sites=Sites(channels=1, levels=5))
    parameters = np.array([[0, 0, 0, 0, 0], [60, -60, 0, 1, 2]], dtype=np.float32)
    counts = quantised_probabilities(head, parameters, 0, np.zeros((2, 1), np.int64))
    assert (counts[:, 0] == 0).all()
    assert (counts[:, -1] == TOTAL).all()
    assert (np.diff(counts) >= 1).all()
    assert np.ptp(np.diff(counts[0])) <= 4


def test_a_draw_is_the_level_that_holds_the_uniform() -> None:
    counts = np.array([0, 1000, 1001, TOTAL], dtype=np.int64)
    assert [drawn(counts, u, 3)[0] for u in (0, 999, 1000, 1001, TOTAL - 1)] == [0, 0, 1, 2, 2]
    assert [drawn(counts, u, 3)[1] for u in (0, 990, 1000, 5000, TOTAL - 1)] == [
        False,
        True,
        True,
        False,
        False,
    ]


def test_a_low_temperature_takes_the_likeliest_level_and_a_high_one_any() -> None:
    head = SoftmaxHead(sites=Sites(channels=1, levels=4))
    parameters = np.array([[0.0, 2.0, 1.0, -1.0]], dtype=np.float32)
    earlier = np.zeros((1, 1), np.int64)
    cold = quantised_probabilities(head, parameters, 0, earlier, temperature=0.01)
    hot = quantised_probabilities(head, parameters, 0, earlier, temperature=1000)
    assert np.diff(cold)[0, 1] > 0.99 * TOTAL
    assert np.diff(hot).max() < 0.26 * TOTAL


@pytest.mark.parametrize("sampler", ["naive", "cached", "predictive"])
def test_given_values_are_kept_and_only_what_follows_depends_on_them(sampler: Any) -> None:
    network = gated(levels=4)
    noise, images = _noise(network, 2), pictures(network, 2)
    known = torch.zeros(images.shape, dtype=torch.bool)
    known[:, :, 4, 3] = True
    free = sample(network, noise, sampler=sampler)
    bound = sample(network, noise, given=Given(levels=images, known=known), sampler=sampler)
    assert torch.equal(bound[known], images[known])
    assert torch.equal(free[:, :, :4], bound[:, :, :4])
    assert not torch.equal(free, bound)


def test_a_missing_lower_half_is_exact_and_a_hole_or_a_right_strip_is_not() -> None:
    half, hole, strip = (torch.zeros(6, 6, dtype=torch.bool) for _ in range(3))
    half[3:], hole[2:4, 2:4], strip[:, 4:] = True, True, True
    tail = torch.zeros(6, 6, dtype=torch.bool)
    tail[4, 3:], tail[5:] = True, True
    none = torch.zeros(6, 6, dtype=torch.bool)
    made = is_exact(torch.stack([half, hole, strip, tail, none]))
    assert made.tolist() == [True, False, False, True, True]


def test_completions_differ_where_something_is_missing_and_nowhere_else() -> None:
    network = gated(channels=1, levels=2, run=4, head="joint")
    images = pictures(network, 2)
    missing = torch.zeros(images.shape[2:], dtype=torch.bool)
    missing[5:, 3:] = True  # begins inside a run
    made = complete(network, images, missing, torch.Generator().manual_seed(0), completions=6)
    assert made.images.shape == (2, 6, *images.shape[1:])
    assert made.exact.tolist() == [False, False]
    assert (made.images[..., ~missing] == images[:, None][..., ~missing]).all()
    assert len(torch.unique(made.images.flatten(1, 1).flatten(2)[0], dim=0)) > 1


def test_what_is_missing_is_not_looked_at() -> None:
    network, images = gated(), pictures(gated(), 1)
    missing = torch.zeros(8, 8, dtype=torch.bool)
    missing[4:] = True
    other = images.clone()
    other[:, :, 4:] = 3 - other[:, :, 4:]
    both = [
        complete(network, x, missing, torch.Generator().manual_seed(1)) for x in (images, other)
    ]
    assert torch.equal(both[0].images, both[1].images)


def test_wishes_that_cannot_be_met_are_refused() -> None:
    network = pixelcnn()
    noise = _noise(network, 1)
    with pytest.raises(ValueError, match="temperature"):
        sample(network, noise, temperature=0)
    with pytest.raises(ValueError, match="sampler must be"):
        sample(network, noise, sampler="quick")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="training mode"):
        sample(pixelcnn().train(), noise)
    with pytest.raises(ValueError, match="completions"):
        complete(
            network,
            pictures(network, 1),
            torch.zeros(8, 8, dtype=torch.bool),
            torch.Generator(),
            completions=0,
        )


@pytest.mark.parametrize("name", NETWORKS)
def test_no_picture_at_all_is_no_error(name: str) -> None:
    network = NETWORKS[name]()
    noise = draw_noise((0, *size_for(network)), torch.Generator())
    assert sample(network, noise, labels=labels_for(network, 0)).shape == noise.shape
