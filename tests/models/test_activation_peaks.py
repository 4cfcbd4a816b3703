"""Laws of the penalty on droplets."""

import pytest
import torch
from torch import nn

from models.activation_peaks import peak_excess, watched_peaks


def test_normal_maps_have_no_excess_and_one_spike_has() -> None:
    maps = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    assert peak_excess(maps) == 0
    maps[0, 0, 3, 4] = 1e4
    # n - 1 equal values and one other: that one is sqrt(n - 1) deviations from the mean
    assert float(peak_excess(maps)) == pytest.approx((64 * 64 - 1) ** 0.5 - 6, rel=1e-3)


def test_scale_and_level_of_a_map_do_not_matter() -> None:
    maps = 100 * torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) ** 30
    assert torch.allclose(peak_excess(maps), peak_excess(5 * maps - 2), rtol=1e-3)


def test_what_is_watched_is_each_output_and_nothing_afterwards() -> None:
    layers = [nn.Conv2d(1, 2, 1), nn.Conv2d(2, 1, 1)]
    x = torch.zeros(1, 1, 8, 8)
    x[0, 0, 0, 0] = 1
    with watched_peaks(layers) as peaks:
        layers[1](layers[0](x))
    assert len(peaks) == 2
    peaks[0].backward()  # type: ignore[no-untyped-call]
    assert layers[0].weight.grad is not None
    layers[0](x)
    assert len(peaks) == 2
