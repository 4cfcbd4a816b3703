"""Laws of the networks of the literature and of the table of presets: sizes, reach, beginnings."""

from dataclasses import asdict
from functools import lru_cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.cards import Card
from models.checkpoints import load_upscaler, write_checkpoint
from models.classic_upscalers import (
    Espcn,
    EspcnConfig,
    Fsrcnn,
    FsrcnnConfig,
    ResidualFcn,
    ResidualFcnConfig,
    unpool,
)
from models.complexity import macs, parameters
from models.receptive_field import receptive_radius
from models.resampling import bicubic_phases, bicubic_upscale
from models.super_resolution import MillConfig
from models.systems import PRESETS, SYSTEMS, preset
from models.upscaling import RADIUS_LIMIT
from tests.models.test_super_resolution import perturbed_radius
from tests.models.test_upscaling import difference, in_tiles, picture, whole

SCALES = (2, 3, 4)
UPSAMPLINGS = ("bicubic", "unpool", "transposed", "pixelshuffle")

GOLDEN = {
    "mill": 79_216,
    "mill-small": 21_184,
    "mill-medium": 45_592,
    "mill-large": 897_744,
    "srcnn-9-1-5": 8_129,
    "srcnn-9-5-5": 57_281,
    "espcn": 24_752,
    "fsrcnn": 12_809,
    "residual-bicubic": 74_593,
    "residual-unpool": 125_857,
    "residual-transposed": 107_425,
    "residual-pixelshuffle": 148_577,
}


def small(architecture: str, scale: int) -> nn.Module:
    """The architecture named, no larger than it must be, with the weights training begins with."""
    name, _, upsampling = architecture.partition("-")
    config: Any = {
        "espcn": lambda: EspcnConfig(scale=scale),  # type: ignore[arg-type]
        "fsrcnn": lambda: FsrcnnConfig(scale=scale, width=8, shrunk=4, mappings=2),  # type: ignore[arg-type]
        "residual": lambda: ResidualFcnConfig(
            scale=scale,  # type: ignore[arg-type]
            width=6,
            blocks=1,
            upsampling=upsampling,  # type: ignore[arg-type]
        ),
    }[name]()
    system = SYSTEMS["residual_fcn" if name == "residual" else name]
    network = system.build(config)
    system.initialise(network, torch.Generator().manual_seed(scale))
    return network


def lively(architecture: str, scale: int) -> nn.Module:
    """The same, adding so much detail that a wrong pixel shows."""
    network = small(architecture, scale)
    with torch.no_grad():
        network.tail.weight.mul_(20)  # type: ignore[operator, union-attr]
    return network


CLASSICS = ("espcn", "fsrcnn", *(f"residual-{u}" for u in UPSAMPLINGS))
every_network = pytest.mark.parametrize("architecture", CLASSICS)
every_scale = pytest.mark.parametrize("scale", SCALES)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@lru_cache
def built(name: str, scale: int) -> nn.Module:
    architecture, config = preset(name, scale)
    return SYSTEMS[architecture].build(config)


def weights(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters() if p.ndim == 4)


def test_presets_have_the_parameters_that_are_written_down() -> None:
    assert {name: parameters(built(name, 4)) for name in PRESETS} == GOLDEN


def test_weights_of_the_published_networks_are_the_published_ones() -> None:
    assert weights(built("srcnn-9-1-5", 4)) == 8_032
    assert weights(built("srcnn-9-5-5", 4)) == 57_184
    assert [weights(built("fsrcnn", s)) for s in SCALES] == [12_464] * 3  # FSRCNN(56,12,4)
    # 5x5x64, 3x3x32, 3x3x(s^2), and a bias a map
    assert [parameters(built("espcn", s)) for s in SCALES] == [21_284, 22_729, 24_752]


def test_mill_is_below_100_thousand_parameters_and_mill_large_below_900() -> None:
    for scale in SCALES:
        assert parameters(built("mill", scale)) <= 100_000
        assert parameters(built("mill-large", scale)) <= 900_000


@every_scale
@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_has_the_scale_asked_for(name: str, scale: int) -> None:
    architecture, config = preset(name, scale)
    assert isinstance(config, SYSTEMS[architecture].config)
    assert config.scale == scale
    assert built(name, scale)(noise(1, 1, 3, 4)).shape == (1, 1, 3 * scale, 4 * scale)


def test_unknown_presets_and_scales_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one of mill, mill-small, .*, got 'miller'"):
        preset("miller", 4)
    with pytest.raises(ValueError, match="scale must be 2, 3 or 4, got 5"):
        preset("mill", 5)
    for config in (EspcnConfig, FsrcnnConfig, ResidualFcnConfig):
        with pytest.raises(ValueError, match="scale must be 2, 3 or 4, got 8"):
            config(scale=8)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="bicubic, unpool, transposed, pixelshuffle, got 'deconv'"):
        ResidualFcnConfig(upsampling="deconv")  # type: ignore[arg-type]


def test_the_table_leaves_presets_as_they_are() -> None:
    preset("mill", 2)
    assert PRESETS["mill"] == ("mill", MillConfig(scale=4, width=32, blocks=4))


@every_scale
@every_network
def test_networks_enlarge_by_their_scale_and_add_their_detail_to_bicubic(
    architecture: str, scale: int
) -> None:
    network, x = lively(architecture, scale), noise(2, 1, 5, 7)
    y, detail = network(x), network.detail(x)  # type: ignore[operator]
    assert y.shape == (2, 1, 5 * scale, 7 * scale)
    assert detail.shape == (2, scale**2, 5, 7)
    expected = F.pixel_shuffle(bicubic_phases(x, scale) + detail, scale)
    torch.testing.assert_close(y, expected)
    assert detail.abs().max() > 0.05


@every_network
def test_autocast_leaves_output_and_detail_float32(architecture: str) -> None:
    network = small(architecture, 2)
    with torch.autocast("cpu", torch.bfloat16):
        assert network(noise(1, 1, 8, 8)).dtype == torch.float32
        assert network.detail(noise(1, 1, 8, 8)).dtype == torch.float32  # type: ignore[operator]


@every_scale
@pytest.mark.parametrize("name", PRESETS)
def test_training_begins_near_bicubic_and_depends_on_the_generator_alone(
    name: str, scale: int
) -> None:
    architecture, config = preset(name, scale)
    system, x = SYSTEMS[architecture], noise(1, 1, 12, 12)
    if name == "mill-large":
        config = MillConfig(scale=config.scale, width=64, blocks=3)  # time
    states = []
    for seed in (5, 5, 6):
        network = system.build(config)
        before = torch.get_rng_state()
        system.initialise(network, torch.Generator().manual_seed(seed))
        assert torch.equal(torch.get_rng_state(), before)
        with torch.no_grad():
            assert (network(x) - bicubic_upscale(x, scale)).abs().mean() < 0.03
        states.append(torch.cat([p.detach().flatten() for p in network.parameters()]))
    first, again, other = states
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@every_network
def test_every_parameter_gets_a_gradient_from_the_beginning(architecture: str) -> None:
    network = small(architecture, 4)
    (network(noise(2, 1, 12, 12)) - noise(2, 1, 48, 48, seed=1)).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@every_network
def test_a_few_steps_fit_a_pattern_better_than_bicubic(architecture: str) -> None:
    network, low = small(architecture, 2), noise(4, 1, 8, 8)
    high = low.repeat_interleave(2, -1).repeat_interleave(2, -2)  # nearest: sharper than bicubic
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    start = (bicubic_upscale(low, 2) - high).square().mean()
    for _ in range(60):
        optimiser.zero_grad()
        loss = (network(low) - high).square().mean()
        loss.backward()
        optimiser.step()
    assert loss < 0.7 * start


@pytest.mark.parametrize("factor", [2, 3])
def test_unpooling_puts_the_value_top_left_and_zeros_beside_it(factor: int) -> None:
    x = noise(2, 3, 4, 5) + 0.1
    wide = unpool(x, factor)
    assert wide.shape == (2, 3, 4 * factor, 5 * factor)
    assert torch.equal(wide[..., ::factor, ::factor], x)
    assert (wide != 0).sum() == x.numel()


@every_scale
@every_network
def test_networks_see_as_far_as_a_changed_pixel_reaches(architecture: str, scale: int) -> None:
    network = lively(architecture, scale)
    measured = receptive_radius(network, channels=1, scale=scale, limit=14)
    assert 2 <= measured < 14
    assert measured == perturbed_radius(network, scale, side=29, at=14)


@pytest.mark.parametrize("name", ["espcn", "fsrcnn", *(f"residual-{u}" for u in UPSAMPLINGS)])
def test_no_preset_sees_further_than_a_tile_s_margin(name: str) -> None:
    assert receptive_radius(built(name, 4), channels=1, scale=4, limit=20) < 20 < RADIUS_LIMIT


@every_scale
@every_network
def test_a_checkpoint_comes_back_and_its_tiles_equal_the_whole(
    architecture: str, scale: int
) -> None:
    network = lively(architecture, scale)
    name = architecture if "-" not in architecture else "residual_fcn"
    data = write_checkpoint(
        network,
        Card(architecture=name, config=asdict(network.config), metrics={}),  # type: ignore[arg-type]
    )
    upscaler = load_upscaler(data, name="x")
    x = noise(1, 1, 6, 9)
    assert upscaler.network is not None
    torch.testing.assert_close(upscaler.network(x), network(x), atol=1e-5, rtol=0)
    image = picture("noise", 0, 33, 41, 3, "uint8")
    expected = whole(upscaler, image)
    assert difference(in_tiles(upscaler, image, 16, 3), expected) == 0


def test_mill_and_srcnn_multiply_as_often_as_published() -> None:
    # 3x3 convolutions: 32, eight of 32 to 32, 16 at the end, at each low-resolution pixel
    mill = 9 * (32 + 8 * 32 * 32 + 32 * 16)
    assert macs(built("mill", 4), 180, 320) == mill * 180 * 320 == 4_528_742_400  # 4.5 G
    srcnn = 9 * 9 * 64 + 5 * 5 * 64 * 32 + 5 * 5 * 32
    # a hundredth of 1280x720
    assert macs(built("srcnn-9-5-5", 4), 18, 32) * 100 == srcnn * 1280 * 720  # 52.7 G
    assert round(srcnn * 1280 * 720 / 1e9, 1) == 52.7


@every_scale
def test_espcn_and_fsrcnn_multiply_once_a_weight_and_low_resolution_pixel(scale: int) -> None:
    for name in ("espcn", "fsrcnn"):
        assert macs(built(name, scale), 7, 9) == weights(built(name, scale)) * 7 * 9


def test_the_four_upsamplings_multiply_as_worked_out_by_hand() -> None:
    head, body, tail = 9 * 32, 8 * 9 * 32 * 32, 9 * 32
    steps = {
        "bicubic": 16 * (head + body),
        "unpool": head + body + (4 + 16) * 25 * 32 * 32,
        "transposed": head + body + (1 + 4) * 16 * 32 * 32,
        "pixelshuffle": head + body + (1 + 4) * 9 * 32 * 128,
    }
    for upsampling, most in steps.items():
        counted = macs(built(f"residual-{upsampling}", 4), 6, 5)
        assert counted == (most + 16 * tail) * 30, upsampling


def test_counting_takes_groups_linear_layers_and_channels_and_changes_nothing() -> None:
    network = nn.Sequential(
        nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=2), nn.BatchNorm2d(8), nn.Flatten(),
        nn.Linear(8 * 3 * 2, 10),
    )  # fmt: skip
    network[1].eval()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    assert macs(network, 6, 4, channels=4) == (3 * 3 * 2) * (8 * 3 * 2) + 48 * 10
    assert [m.training for m in network] == [True, False, True, True]
    assert all(not m._forward_hooks for m in network.modules())
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())


@pytest.mark.parametrize("size", [(0, 4, 1), (4, -1, 1), (4, 4, 0)])
def test_counting_refuses_no_picture(size: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="at least 1x1x1"):
        macs(Espcn(EspcnConfig()), size[0], size[1], channels=size[2])


@pytest.mark.parametrize("network", [Fsrcnn(FsrcnnConfig()), ResidualFcn(ResidualFcnConfig())])
def test_parameters_are_every_number_that_is_learned(network: nn.Module) -> None:
    assert parameters(network) == sum(len(p.flatten()) for p in network.parameters())
