"""Expanded and collapsed networks compute the same."""

import pytest
import torch
from torch import Tensor

from models.reparameterisation import ExpandedConv, collapsed, expanded
from models.super_resolution import Mill, MillConfig, small_init_


@pytest.fixture
def network() -> Mill:
    mill = Mill(MillConfig(scale=2, width=8, blocks=1))
    small_init_(mill, torch.Generator().manual_seed(0))
    return mill.double()


def _image() -> Tensor:
    return torch.rand(2, 1, 12, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_a_collapsed_network_equals_the_expanded_one(network: Mill) -> None:
    wide = expanded(network, factor=3, generator=torch.Generator().manual_seed(2)).double()
    plain = collapsed(wide)
    assert not any(isinstance(m, ExpandedConv) for m in plain.modules())
    torch.testing.assert_close(plain(_image()), wide(_image()), rtol=0, atol=1e-6)


def test_collapsing_has_the_parameters_of_the_network_that_was_expanded(network: Mill) -> None:
    wide = expanded(network, factor=3, generator=torch.Generator().manual_seed(2))
    names = {name: value.shape for name, value in network.state_dict().items()}
    assert {n: v.shape for n, v in collapsed(wide).state_dict().items()} == names
    assert sum(p.numel() for p in wide.parameters()) > 3 * sum(
        p.numel() for p in network.parameters()
    )


def test_expanding_hardly_changes_what_a_trained_network_computes(network: Mill) -> None:
    wide = expanded(network, factor=4, generator=torch.Generator().manual_seed(3)).double()
    assert (wide(_image()) - network(_image())).abs().max() < 0.02


def test_neither_changes_its_argument(network: Mill) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    collapsed(expanded(network, factor=2, generator=torch.Generator()))
    after = network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_factor_nought_expands_nothing(network: Mill) -> None:
    same = expanded(network, factor=0, generator=torch.Generator())
    assert not any(isinstance(m, ExpandedConv) for m in same.modules())
    with pytest.raises(ValueError, match="expansion must be 0 or more, got -1"):
        expanded(network, factor=-1, generator=torch.Generator())
