"""Laws of the price of spikes."""

import torch

from models.style_spikes import counted_spikes, spikes
from tests.painters import tiny_painter


def test_noise_has_none_and_a_single_place_costs_its_deviations() -> None:
    noise = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert float(spikes(noise.clamp(-3, 3)).max()) == 0
    flat = torch.zeros(1, 1, 30, 30, dtype=torch.float64)
    flat[..., 4, 7] = 1e6
    # one of n: its deviation is sqrt(n - 1)
    expected = (899**0.5 - 5) ** 2 / 900
    torch.testing.assert_close(spikes(flat), torch.tensor([expected], dtype=torch.float64))


def test_they_do_not_depend_on_scale_and_level_and_a_lower_spike_costs_less() -> None:
    x = torch.randn(1, 2, 32, 32, generator=torch.Generator().manual_seed(1))
    high, low = x.clone(), x.clone()
    high[..., 3, 3], low[..., 3, 3] = 60, 20
    torch.testing.assert_close(spikes(7 * high + 3), spikes(high), rtol=1e-4, atol=0)
    assert float(spikes(high)) > float(spikes(low)) > 0


def test_every_norm_is_looked_at_and_no_longer_than_asked() -> None:
    painter = tiny_painter()
    x, styles = torch.rand(2, 3, 32, 32), torch.eye(3)[:2]
    with counted_spikes(painter) as seen:
        painted = painter(x, styles)
    assert len(seen) == 3 + 2 * painter.config.blocks + 2
    assert all(part.shape == (2,) for part in seen)
    assert torch.equal(painter(x, styles), painted)
    assert len(seen) == 3 + 2 * painter.config.blocks + 2
