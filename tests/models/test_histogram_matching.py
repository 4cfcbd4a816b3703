"""Laws of giving one picture the colours of another."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from models.histogram_matching import match_colours, match_histogram

seeds = st.integers(0, 1000)


def picture(seed: int, height: int = 8, width: int = 9) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def covariance(rgb: Tensor) -> Tensor:
    return torch.cov(rgb.flatten(2)[0].double(), correction=0)


@given(seed=seeds)
def test_a_matched_picture_has_the_reference_s_values_in_its_own_order(seed: int) -> None:
    x, reference = picture(seed), picture(seed + 1).square()
    found = match_histogram(x, reference)
    values, wanted = (p.flatten(2).sort().values for p in (found, reference))
    assert torch.equal(values, wanted)
    for before, after in zip(x.flatten(2)[0], found.flatten(2)[0], strict=True):
        assert torch.equal(before.argsort(), after.argsort())
    assert torch.equal(match_histogram(found, reference), found)


def test_a_reference_of_another_size_gives_its_quantiles() -> None:
    reference = torch.linspace(0, 1, 1001).expand(3, -1)
    found = match_histogram(picture(0, 20, 20) * 0.1, reference).flatten(2).sort().values
    torch.testing.assert_close(found[0, 0], (torch.arange(400) + 0.5) / 400, atol=1e-3, rtol=0)


@given(seed=seeds)
def test_the_linear_match_gives_mean_and_covariance(seed: int) -> None:
    x, reference = picture(seed), 0.4 + 0.1 * picture(seed + 1)
    reference[:, 1] += 0.5 * (reference[:, 0] - 0.4)
    found = match_colours(x, reference)
    torch.testing.assert_close(
        found.mean(dim=(2, 3)), reference.mean(dim=(2, 3)), atol=2e-3, rtol=0
    )
    torch.testing.assert_close(covariance(found), covariance(reference), atol=2e-5, rtol=0.05)


def test_a_picture_with_its_own_colours_stays() -> None:
    x = picture(0)
    torch.testing.assert_close(match_colours(x, x.flip(-1)), x, atol=1e-5, rtol=0)
    assert torch.equal(match_histogram(x, x.flip(-1)), x)


def test_a_picture_of_one_colour_becomes_the_reference_s_mean() -> None:
    reference = picture(1)
    found = match_colours(torch.full((1, 3, 4, 4), 0.2), reference)
    mean = reference.mean(dim=(2, 3), keepdim=True).expand_as(found)
    torch.testing.assert_close(found, mean, atol=1e-5, rtol=0)


def test_references_of_other_channels_or_no_pixels_are_refused() -> None:
    for match in (match_histogram, match_colours):
        for bad in (torch.zeros(1, 1, 4, 4), torch.zeros(3, 0), torch.zeros(4, 9)):
            with pytest.raises(ValueError, match="reference must have 3 channels"):
                match(picture(0), bad)
