"""Laws of our own networks: sizes as published, how far they see, what they start from."""

import pytest
import torch
from torch import Tensor, nn

from models.receptive_field import receptive_radius
from models.resampling import bicubic_upscale
from models.super_resolution import Mill, MillConfig, Scale, Srcnn, SrcnnConfig, small_init_


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def perturbed_radius(network: nn.Module, scale: int, side: int, at: int) -> int:
    """Source pixels between a changed input pixel and the farthest output pixel that changes."""
    network = network.double().eval()
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(1, 1, side, side, generator=generator, dtype=torch.float64)
    changed = x.clone()
    changed[0, 0, at, at] += 10
    with torch.no_grad():
        touched = (network(x) != network(changed))[0, 0].nonzero() // scale
    return int((touched - at).abs().max())


def randomised(network: nn.Module, seed: int) -> nn.Module:
    """Weights large enough that the far end of the field still reaches the output."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        nn.init.uniform_(parameter, 0.02, 0.1, generator=generator)
    return network


def test_parameter_counts_are_the_published_ones() -> None:
    small = Srcnn(SrcnnConfig(kernels=(9, 1, 5)))
    assert parameters(small) == 8_129  # published: 8K
    assert parameters(Srcnn(SrcnnConfig(kernels=(9, 5, 5)))) == 57_281  # published: 57K
    assert parameters(Mill(MillConfig(scale=4, width=32, blocks=4))) == 79_216


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_networks_enlarge_by_their_scale(scale: Scale) -> None:
    x = torch.rand(2, 1, 5, 7, generator=torch.Generator().manual_seed(0))
    for network in (
        Mill(MillConfig(scale=scale, width=4, blocks=1)),
        Srcnn(SrcnnConfig(scale=scale, widths=(4, 4))),
    ):
        assert network(x).shape == (2, 1, 5 * scale, 7 * scale)


def test_mill_of_4_blocks_sees_10_pixels_and_no_more() -> None:
    network = randomised(Mill(MillConfig()), 0)
    measured = receptive_radius(network, channels=1, scale=4, limit=16)
    assert measured == 10  # ten 3x3 convolutions: one pixel each
    assert perturbed_radius(network, 4, side=33, at=16) == measured


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_mill_sees_two_pixels_a_block_and_two_more(blocks: int) -> None:
    network = randomised(Mill(MillConfig(scale=2, width=4, blocks=blocks)), blocks)
    measured = receptive_radius(network, channels=1, scale=2, limit=14)
    assert measured == 2 * blocks + 2 == perturbed_radius(network, 2, side=29, at=14)


@pytest.mark.parametrize("kernels", [(9, 1, 5), (9, 5, 5)])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_srcnn_sees_as_far_as_a_changed_pixel_reaches(
    scale: Scale, kernels: tuple[int, int, int]
) -> None:
    config = SrcnnConfig(scale=scale, kernels=kernels, widths=(4, 3))
    network = randomised(Srcnn(config), scale)
    measured = receptive_radius(network, channels=1, scale=scale, limit=12)
    assert measured == perturbed_radius(network, scale, side=25, at=12)
    # half the kernels, in enlarged pixels, beyond what bicubic reads
    reach = sum(k // 2 for k in kernels)
    assert measured == max((p + reach) // scale + 2 for p in range(scale)) or measured < reach


def test_a_radius_beyond_the_limit_is_the_limit() -> None:
    network = Mill(MillConfig(scale=2, width=2, blocks=4))
    assert receptive_radius(network, channels=1, scale=2, limit=5) == 5


def test_measuring_leaves_the_network_as_it_was() -> None:
    network = Mill(MillConfig(scale=2, width=2, blocks=1)).train()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    receptive_radius(network, channels=1, scale=2, limit=8)
    assert network.training
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_zero_tail_gives_exactly_bicubic(scale: Scale) -> None:
    network = Mill(MillConfig(scale=scale, width=4, blocks=2))
    nn.init.zeros_(network.tail.weight)
    assert network.tail.bias is not None
    nn.init.zeros_(network.tail.bias)
    x: Tensor = torch.rand(2, 1, 9, 8, generator=torch.Generator().manual_seed(3))
    assert torch.equal(network(x), bicubic_upscale(x, scale))


def test_small_weights_start_near_bicubic_and_depend_on_the_generator_alone() -> None:
    networks = [Mill(MillConfig(width=8, blocks=2)) for _ in range(3)]
    for network, seed in zip(networks, (5, 5, 6), strict=True):
        small_init_(network, torch.Generator().manual_seed(seed))
    x = torch.rand(1, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    first, again, other = (network(x) for network in networks)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert 0 < (first - bicubic_upscale(x, 4)).abs().max() < 0.2


def test_autocast_leaves_the_output_float32() -> None:
    x = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for network in (Mill(MillConfig(width=4, blocks=1)), Srcnn(SrcnnConfig(widths=(4, 4)))):
        with torch.autocast("cpu", torch.bfloat16):
            assert network(x).dtype == torch.float32


@pytest.mark.parametrize("blocks", [1, 4])
def test_detail_inside_is_detail_but_for_what_needs_the_outside(blocks: int) -> None:
    network = Mill(MillConfig(scale=2, width=8, blocks=blocks)).double()
    x = torch.rand(2, 1, 40, 33, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    r = network.radius
    with torch.no_grad():
        whole, inside = network.detail(x), network.detail_inside(x)
    torch.testing.assert_close(inside, whole[..., r:-r, r:-r], atol=1e-12, rtol=0)
    assert not torch.equal(network.detail(x[..., 1:, :])[..., :1, :], whole[..., 1:2, :])
