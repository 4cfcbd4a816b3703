"""Laws of feature networks: they are the published ones, layer by layer, and nothing moves them."""

import os
from functools import lru_cache
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from models.features import (
    FeatureKind,
    FeatureNetwork,
    channels_of,
    layer_names,
    random_state,
)
from tasks.features import locate_features
from tasks.storage import read

KINDS: tuple[FeatureKind, ...] = get_args(FeatureKind)
PHOTO = Path(__file__).parents[1] / "images" / "chelsea.jpg"

with_weights = pytest.mark.skipif(
    not os.environ.get("PIXELMILL_FEATURES"),
    reason="PIXELMILL_FEATURES names no folder of published weights",
)


@lru_cache
def state_of(kind: FeatureKind) -> dict[str, Tensor]:
    return random_state(kind, torch.Generator().manual_seed(0))


def picture(side: int = 40, *, seed: int = 0) -> Tensor:
    return torch.rand(2, 3, side, side + 3, generator=torch.Generator().manual_seed(seed))


def photo() -> Tensor:
    """A natural picture, (1, 3, 170, 224) in 0..1."""
    pixels = np.array(Image.open(PHOTO).convert("RGB"))[:, :224]
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


def torchvision_layers(kind: FeatureKind, state: dict[str, Tensor]) -> nn.Sequential:
    """torchvision's own network with this state, its classifier never filled."""
    from torchvision.models import get_model  # seconds to import

    with torch.device("meta"):
        network = get_model(kind, weights=None)
    own = {k.removeprefix("features."): v for k, v in state.items() if "classifier" not in k}
    network.features.load_state_dict(own, assign=True)
    features: nn.Sequential = network.features.eval()
    return features


def assert_equal_layers(kind: FeatureKind, state: dict[str, Tensor], rgb: Tensor) -> None:
    """Every layer of ours is the one that torchvision computes at its place."""
    names = layer_names(kind)
    ours = FeatureNetwork(kind, state, layers=names)(rgb)
    x = (rgb - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor(
        [0.229, 0.224, 0.225]
    ).view(3, 1, 1)
    layers = torchvision_layers(kind, state)
    assert len(layers) == len(names)
    with torch.no_grad():
        for name, layer in zip(names, layers, strict=True):
            # a copy: torchvision rectifies in place
            x = layer(x.clone())
            assert torch.equal(ours[name], x), name


def test_vgg_has_the_layers_of_the_published_configurations() -> None:
    counts = {kind: [0, 0, 0] for kind in KINDS}
    for kind in ("vgg16", "vgg19"):
        names = layer_names(kind)
        counts[kind] = [sum(n.startswith(w) for n in names) for w in ("conv", "relu", "pool")]
    assert counts["vgg16"] == [13, 13, 5]
    assert counts["vgg19"] == [16, 16, 5]
    assert layer_names("vgg16")[:6] == (
        "conv1_1", "relu1_1", "conv1_2", "relu1_2", "pool1", "conv2_1",
    )  # fmt: skip
    assert layer_names("vgg19")[-3:] == ("conv5_4", "relu5_4", "pool5")


def test_squeezenet_pools_after_its_first_fourth_and_eighth_layer() -> None:
    assert layer_names("squeezenet1_0") == (
        "conv1", "relu1", "pool1", "fire2", "fire3", "fire4", "pool4",
        "fire5", "fire6", "fire7", "fire8", "pool8", "fire9",
    )  # fmt: skip


def test_parameter_counts_are_the_published_ones() -> None:
    counts = {kind: sum(v.numel() for v in state_of(kind).values()) for kind in KINDS}
    assert counts == {
        "vgg16": 14_714_688,  # 138 M less its three dense layers
        "vgg19": 20_024_384,  # 144 M less these
        "squeezenet1_0": 735_424,  # 1.25 M less its 1x1 classifier
    }


@pytest.mark.parametrize("kind", KINDS)
def test_every_layer_is_the_one_torchvision_computes(kind: FeatureKind) -> None:
    assert_equal_layers(kind, state_of(kind), picture())


@with_weights
@pytest.mark.parametrize("kind", ["vgg16", "squeezenet1_0"])
def test_published_weights_give_torchvision_s_features(kind: FeatureKind) -> None:
    from safetensors.torch import load

    weights = locate_features(None, kind)
    state = {k: v.float() for k, v in load(read(weights.uri)).items()}
    assert_equal_layers(kind, state, photo())


@with_weights
def test_published_vgg16_sees_a_natural_picture_on_caffe_s_scale() -> None:
    from safetensors.torch import load

    state = load(read(locate_features(None, "vgg16").uri))
    seen = FeatureNetwork("vgg16", state, layers=["relu3_3"])(photo())["relu3_3"]
    assert 100 < seen.mean() < 400


@pytest.mark.parametrize("kind", KINDS)
def test_channels_are_those_of_the_layers(kind: FeatureKind) -> None:
    network = FeatureNetwork(kind, state_of(kind), layers=layer_names(kind))
    for layer, seen in network(picture()).items():
        assert seen.shape[:2] == (2, channels_of(kind, layer)), layer


def test_layers_come_in_the_order_asked_whatever_else_is_asked() -> None:
    state, x = state_of("squeezenet1_0"), picture()
    seen = FeatureNetwork("squeezenet1_0", state, layers=["fire4", "relu1", "fire4"])(x)
    assert list(seen) == ["fire4", "relu1"]
    alone = FeatureNetwork("squeezenet1_0", state, layers=["relu1"])(x)
    assert torch.equal(seen["relu1"], alone["relu1"])


def test_a_convolution_is_returned_as_it_was_before_its_rectifier() -> None:
    seen = FeatureNetwork("vgg16", state_of("vgg16"), layers=["conv1_1", "relu1_1"])(picture())
    assert (seen["conv1_1"] < 0).any()
    assert torch.equal(F.relu(seen["conv1_1"]), seen["relu1_1"])


def test_nothing_behind_the_deepest_layer_is_needed_or_built() -> None:
    whole = state_of("vgg16")
    cut = {k: v for k, v in whole.items() if k.split(".")[1] in ("0", "2")}
    network = FeatureNetwork("vgg16", cut, layers=["relu1_2"])
    assert sum(p.numel() for p in network.parameters()) == 3 * 64 * 9 + 64 + 64 * 64 * 9 + 64
    x = picture()
    expected = FeatureNetwork("vgg16", whole, layers=["relu1_2", "relu3_1"])(x)["relu1_2"]
    assert torch.equal(network(x)["relu1_2"], expected)


def test_pooling_takes_the_largest_or_the_mean_of_the_same_windows() -> None:
    x, state = picture(), state_of("vgg19")
    for pooling, pool in (("max", F.max_pool2d), ("average", F.avg_pool2d)):
        seen = FeatureNetwork("vgg19", state, layers=["relu1_2", "pool1"], pooling=pooling)(x)  # type: ignore[arg-type]
        assert torch.equal(seen["pool1"], pool(seen["relu1_2"], 2))


def test_the_mean_colour_of_imagenet_is_zero_and_its_deviation_one() -> None:
    state = state_of("vgg16")
    network = FeatureNetwork("vgg16", state, layers=["conv1_1"])
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1).expand(1, 3, 5, 5)
    assert (network(mean)["conv1_1"] == 0).all()  # biases are 0
    deviation = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    ones = F.conv2d(torch.ones(1, 3, 5, 5), state["features.0.weight"], padding=1)
    torch.testing.assert_close(network(mean + deviation)["conv1_1"], ones)


def test_keys_may_lack_their_prefix_and_halves_are_widened() -> None:
    halves = {k: v.half() for k, v in state_of("squeezenet1_0").items()}
    bare = {k.removeprefix("features."): v.float() for k, v in halves.items()}
    bare["classifier.1.weight"] = torch.zeros(3)
    x = picture()
    seen = [
        FeatureNetwork("squeezenet1_0", s, layers=["fire9"])(x)["fire9"] for s in (halves, bare)
    ]
    assert seen[0].dtype == torch.float32
    assert torch.equal(*seen)


def test_gradients_reach_the_picture_and_never_the_weights() -> None:
    network = FeatureNetwork("vgg16", state_of("vgg16"), layers=["relu2_2"])
    assert not network.training
    x = picture(16).requires_grad_()
    network(x)["relu2_2"].square().mean().backward()
    assert x.grad is not None
    assert x.grad.abs().max() > 0
    assert all(not p.requires_grad and p.grad is None for p in network.parameters())


def test_building_a_network_draws_no_random_numbers_and_leaves_the_state_alone() -> None:
    state = {k: v.clone() for k, v in state_of("squeezenet1_0").items()}
    before = torch.get_rng_state()
    network = FeatureNetwork("squeezenet1_0", state, layers=["fire9"])
    network.double()(picture().double())
    assert torch.equal(torch.get_rng_state(), before)
    for key, value in state_of("squeezenet1_0").items():
        assert torch.equal(state[key], value)
        assert state[key].dtype == torch.float32


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("depth", [1, 3, None])
def test_the_smallest_picture_leaves_a_value_and_a_smaller_one_is_refused(
    kind: FeatureKind, depth: int | None
) -> None:
    layer = layer_names(kind)[:depth][-1]
    network = FeatureNetwork(kind, state_of(kind), layers=[layer])
    side = network.minimum_side
    assert network(torch.rand(1, 3, side, side))[layer].numel() > 0
    with pytest.raises(ValueError, match=f"needs {side} pixels a side, got {side}x{side - 1}"):
        network(torch.rand(1, 3, side - 1, side))


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 1, 32, 32), (1, 4, 32, 32)])
def test_what_is_no_rgb_is_refused(shape: tuple[int, ...]) -> None:
    network = FeatureNetwork("vgg16", state_of("vgg16"), layers=["relu1_1"])
    with pytest.raises(ValueError, match=r"rgb must be \(N, 3, H, W\)"):
        network(torch.zeros(shape))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_another_network_s_weights_are_refused(kind: FeatureKind, other: FeatureKind) -> None:
    first = [layer_names(kind)[0]]
    if kind == other:
        FeatureNetwork(kind, state_of(other), layers=first)
        return
    with pytest.raises(ValueError, match=kind):
        FeatureNetwork(kind, state_of(other), layers=first)


def test_a_missing_a_misshapen_and_an_odd_key_are_refused_by_name() -> None:
    def refusal(change: dict[str, object], *without: str) -> str:
        state = {k: v for k, v in state_of("vgg16").items() if k not in without} | change
        with pytest.raises(ValueError) as caught:
            FeatureNetwork("vgg16", state, layers=["relu1_2"])  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "lack features.2.bias, which conv1_2 needs" in refusal({}, "features.2.bias")
    assert "(64, 3, 3, 3), got (2,)" in refusal({"features.0.weight": torch.zeros(2)})
    assert "(64,), got str" in refusal({"features.0.bias": "text"})
    assert "'features.1.weight'" in refusal({"features.1.weight": torch.zeros(2)})
    assert "'epoch'" in refusal({"epoch": torch.zeros(2)})


def test_unknown_networks_layers_and_poolings_are_refused() -> None:
    state = state_of("vgg16")
    with pytest.raises(ValueError, match="no layer 'relu1_3'; wanted one of conv1_1, relu1_1"):
        FeatureNetwork("vgg16", state, layers=["relu1_1", "relu1_3"])
    with pytest.raises(ValueError, match="at least one layer"):
        FeatureNetwork("vgg16", state, layers=[])
    with pytest.raises(ValueError, match="max or average, got 'mean'"):
        FeatureNetwork("vgg16", state, layers=["pool1"], pooling="mean")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one of vgg16, vgg19, squeezenet1_0, got 'vgg11'"):
        layer_names("vgg11")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no layer 'fire1'"):
        channels_of("squeezenet1_0", "fire1")


def test_random_weights_depend_on_the_generator_alone() -> None:
    def draw(seed: int) -> Tensor:
        return random_state("squeezenet1_0", torch.Generator().manual_seed(seed))[
            "features.3.squeeze.weight"
        ]

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


def test_random_weights_keep_the_signal_s_size_through_every_layer() -> None:
    network = FeatureNetwork("vgg19", state_of("vgg19"), layers=["relu1_2", "relu5_4"])
    seen = network(picture(64))
    shallow, deep = (seen[name].square().mean().sqrt() for name in ("relu1_2", "relu5_4"))
    assert 0.1 < deep / shallow < 10  # a gain of 1 instead of He's would leave 2^-7
