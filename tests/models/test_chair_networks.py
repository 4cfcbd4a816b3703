"""Laws of the generator of chairs: its size, its up-convolutions, what its outputs depend on."""

from dataclasses import asdict
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.chair_networks import (
    PUBLISHED,
    ChairGenerator,
    GeneratorConfig,
    UpConvolution,
    Upsampling,
    chair_init_,
    over_white,
)
from models.chair_views import view_vector
from models.checkpoints import load_network
from tests.chairs import TINY, generator_checkpoint, tiny_generator


@pytest.mark.parametrize(
    ("name", "count", "millions"),
    [
        ("2s-E", 27_313_443, 27.3),
        ("1s-S", 17_907_280, 18),
        ("1s-S-wide", 22_969_744, 23),
        ("1s-S-deep", 18_668_268, 19),
    ],
)
def test_parameters_are_as_many_as_published(name: str, count: int, millions: float) -> None:
    with torch.device("meta"):
        network = ChairGenerator(PUBLISHED[name])
    assert sum(p.numel() for p in network.parameters()) == count
    places = 1 if isinstance(millions, float) else 0
    assert round(count / 1e6, places) == millions


def naive(layer: UpConvolution, x: Tensor, upsampling: Upsampling) -> Tensor:
    """Up-sampling, and then the convolution, as the paper has them."""
    if upsampling == "transposed":
        weight = layer.weight.transpose(0, 1)
        return F.conv_transpose2d(x, weight, layer.bias, stride=2, padding=1)
    if upsampling == "unpool":
        n, c, h, w = x.shape
        large = x.new_zeros(n, c, 2 * h, 2 * w)
        large[:, :, ::2, ::2] = x
    else:
        large = F.interpolate(x, scale_factor=2, mode="nearest")
    return F.conv2d(large, layer.weight, layer.bias, padding=2)


@pytest.mark.parametrize("upsampling", ["unpool", "resize", "transposed"])
def test_an_up_convolution_is_the_up_sampling_and_the_convolution_after_it(
    upsampling: Upsampling,
) -> None:
    generator = torch.Generator().manual_seed(1)
    layer = UpConvolution(3, 5, upsampling)
    with torch.no_grad():
        layer.weight.normal_(generator=generator)
        layer.bias.normal_(generator=generator)
        x = torch.randn(2, 3, 4, 6, generator=generator)
        torch.testing.assert_close(layer(x), naive(layer, x, upsampling), rtol=1e-4, atol=1e-4)


def told(config: GeneratorConfig, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    chair = torch.rand(2, config.classes, generator=generator)
    return chair, torch.randn(2, 4, generator=generator), torch.randn(2, 8, generator=generator)


@pytest.mark.parametrize(
    "changes",
    [
        {"size": 64, "widths": None}, {"size": 128, "widths": (4, 3, 2)}, {"streams": 2},
        {"deep": True}, {"upsampling": "resize"}, {"upsampling": "transposed"},
        {"mask": "squared"}, {"harmonics": 3},
    ],
)  # fmt: skip
def test_every_choice_gives_a_picture_and_a_mask_of_the_size(changes: dict[str, Any]) -> None:
    config = GeneratorConfig(**{**asdict(TINY), **changes})
    network = tiny_generator(config=config)
    color, mask = network(*told(config))
    assert color.shape == (2, 3, config.size, config.size)
    assert mask.shape == (2, 1, config.size, config.size)
    drawn, coverage = network.draw(*told(config))
    for values in (drawn, coverage, over_white(drawn, coverage)):
        assert 0 <= values.min() <= values.max() <= 1


@pytest.mark.parametrize("streams", [1, 2])
def test_the_mask_is_drawn_by_weights_of_its_own_and_is_no_function_of_the_picture(
    streams: int,
) -> None:
    config = GeneratorConfig(**{**asdict(TINY), "streams": streams})
    network = tiny_generator(config=config)
    color, mask = network(*told(config))
    with torch.no_grad():
        network.picture.layers[-1].get_parameter("weight")[:3].neg_()
    other, same = network(*told(config))
    assert not torch.allclose(color, other)
    torch.testing.assert_close(mask, same)


def test_every_input_is_seen() -> None:
    network = tiny_generator()
    inputs = told(TINY)
    for place in range(3):
        changed = [x.clone() for x in inputs]
        changed[place][:, -1] += 1
        for before, after in zip(network(*inputs), network(*changed), strict=True):
            assert (before - after).abs().mean() > 1e-4


def test_harmonics_are_sines_and_cosines_of_multiples_of_the_azimuth() -> None:
    network = tiny_generator(config=GeneratorConfig(**{**asdict(TINY), "harmonics": 4}))
    seen: list[Tensor] = []
    network.view.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0]))
    angles = torch.tensor([0.0, 37.0, 211.0])
    view = view_vector(angles, torch.full((3,), 20.0))
    network(torch.rand(3, 3), view, torch.zeros(3, 8))
    radians = torch.deg2rad(angles)
    wanted = [f(k * radians) for k in (2, 3, 4) for f in (torch.sin, torch.cos)]
    torch.testing.assert_close(seen[0], torch.cat([view, torch.stack(wanted, 1)], 1))


@pytest.mark.parametrize("upsampling", ["unpool", "resize", "transposed"])
@pytest.mark.parametrize("classes", [5, 400])
def test_it_begins_with_signals_that_neither_vanish_nor_grow(
    upsampling: Upsampling, classes: int
) -> None:
    config = GeneratorConfig(
        classes=classes, size=64, deep=True, upsampling=upsampling, inputs=64, trunk=96, cells=24
    )
    network = ChairGenerator(config)
    chair_init_(network, torch.Generator().manual_seed(0))
    sizes = []
    for module in network.picture.layers[:-1]:
        module.register_forward_hook(lambda _m, _i, out: sizes.append(float(out.detach().std())))
    view = torch.tensor([[0.6, 0.8, 0.5, 0.87]])
    chair = F.one_hot(torch.tensor([2]), classes).float()
    with torch.no_grad():
        color, _ = network(chair, view, torch.zeros(1, 8))
    assert all(0.15 < size < 3 for size in sizes), sizes
    assert (color - 0.45).abs().max() < 1.5


def test_a_file_of_half_precision_is_loaded_in_full() -> None:
    data = generator_checkpoint(4)
    network = load_network(data, architecture="chair_generator", name="tiny")
    assert isinstance(network, ChairGenerator)
    assert network.config == TINY
    for a, b in zip(network(*told(TINY)), tiny_generator(4)(*told(TINY)), strict=True):
        assert a.dtype == torch.float32
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"size": 48}, "size must be 32, 64 or 128, got 48"),
        ({"widths": (3, 4)}, r"widths must be 1 positive numbers for 32 pixels, got \[3, 4\]"),
        ({"classes": 0}, "classes must be at least 1, got 0"),
        ({"upsampling": "bilinear"}, "upsampling must be one of unpool, resize, transposed"),
    ],
)
def test_sizes_that_make_no_network_are_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        ChairGenerator(GeneratorConfig(**{**asdict(TINY), **changes}))
