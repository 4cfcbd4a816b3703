"""Laws of losses: distances that are 0 for equals, known on simple pictures, and leave the rest."""

from functools import lru_cache
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from models.features import FeatureNetwork, random_state
from models.losses import (
    SrLossConfig,
    charbonnier,
    l1,
    mse,
    perceptual_distance,
    sr_loss,
    total_variation,
)

DISTANCES = (mse, l1, charbonnier)
seeds = st.integers(0, 1000)


def pictures(seed: int, *shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.rand(2, *shape, generator=generator)
    return x, y


@lru_cache
def network(*layers: str) -> FeatureNetwork:
    state = random_state("squeezenet1_0", torch.Generator().manual_seed(0))
    return FeatureNetwork("squeezenet1_0", state, layers=layers)


def perceptual(**options: Any) -> SrLossConfig:
    layers = options.pop("perceptual_layers", ("relu1", "fire2"))
    return SrLossConfig(
        perceptual_weight=0.5, perceptual_layers=layers, perceptual_network="squeezenet1_0",
        **options,
    )  # fmt: skip


@pytest.mark.parametrize("distance", DISTANCES)
@given(seed=seeds)
def test_pixel_distances_are_symmetric_and_0_for_equals_alone(distance: Any, seed: int) -> None:
    x, y = pictures(seed, 2, 1, 5, 4)
    assert distance(x, x) == 0
    assert distance(x, y) == distance(y, x) > 0


def test_pixel_distances_of_a_constant_shift_are_known() -> None:
    x, _ = pictures(0, 2, 1, 6, 6)
    x = x.double()
    assert mse(x, x + 0.3).item() == pytest.approx(0.09)
    assert l1(x, x - 0.3).item() == pytest.approx(0.3)
    assert charbonnier(x, x + 0.3, 0.4).item() == pytest.approx(0.1)  # sqrt(.09 + .16) - .4


@given(seed=seeds, epsilon=st.sampled_from([1e-4, 1e-3, 0.1, 1.0]))
def test_charbonnier_is_within_epsilon_below_l1(seed: int, epsilon: float) -> None:
    x, y = (p.double() for p in pictures(seed, 1, 1, 4, 4))
    assert l1(x, y) - epsilon <= charbonnier(x, y, epsilon) <= l1(x, y)


def test_charbonnier_has_a_gradient_of_0_where_pictures_agree() -> None:
    x, _ = pictures(0, 1, 1, 4, 4)
    moved = x.clone().requires_grad_()
    charbonnier(moved, x).backward()
    assert moved.grad is not None
    assert (moved.grad == 0).all()


@pytest.mark.parametrize("distance", DISTANCES)
def test_unequal_shapes_are_refused_and_never_broadcast(distance: Any) -> None:
    with pytest.raises(ValueError, match=r"got \(2, 1, 4, 4\) and \(1, 1, 4, 4\)"):
        distance(torch.zeros(2, 1, 4, 4), torch.zeros(1, 1, 4, 4))


@pytest.mark.parametrize("epsilon", [0.0, -1.0, float("nan")])
def test_charbonnier_refuses_an_epsilon_without_meaning(epsilon: float) -> None:
    with pytest.raises(ValueError, match="epsilon must be above 0"):
        charbonnier(torch.zeros(2), torch.zeros(2), epsilon)


def test_total_variation_of_a_constant_is_0_and_of_a_unit_step_the_share_of_the_jump() -> None:
    step = torch.zeros(2, 3, 5, 9)
    assert total_variation(step + 0.7) == 0
    step[..., 4:] = 1
    assert total_variation(step).item() == pytest.approx(1 / 8)  # one of the eight differences
    assert total_variation(step.mT).item() == pytest.approx(1 / 8)


def test_total_variation_adds_rows_and_columns() -> None:
    ramp = torch.arange(4.0)[:, None] * 0.2 + torch.arange(6.0) * 0.1
    assert total_variation(ramp).item() == pytest.approx(0.3)  # anisotropic: not sqrt(.05)


@given(seed=seeds)
def test_total_variation_does_not_mind_mirroring_or_a_shift_of_level(seed: int) -> None:
    x = pictures(seed, 1, 1, 5, 7)[0].double()
    expected = total_variation(x).item()
    for other in (x.flip(-1), x.flip(-2), x.mT, x + 0.5, -x):
        assert total_variation(other).item() == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(3,), (1, 1, 1, 5), (1, 1, 5, 1)])
def test_total_variation_refuses_what_has_no_differences(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="2 pixels a side"):
        total_variation(torch.zeros(shape))


def test_perceptual_distance_is_the_mean_over_layers_of_the_mean_square() -> None:
    x = {"a": torch.zeros(2, 3, 4, 4), "b": torch.zeros(2, 5, 2, 2)}
    y = {"a": torch.ones(2, 3, 4, 4), "b": torch.full((2, 5, 2, 2), 3.0)}
    assert perceptual_distance(x, y) == (1 + 9) / 2  # 1/(C H W) ||.||^2 of each, not their sum
    assert perceptual_distance(x, y) == perceptual_distance(y, x)
    assert perceptual_distance(y, y) == 0
    y["a"][0] = 0
    assert perceptual_distance(x, y) == (0.5 + 9) / 2  # the mean over the batch


def test_perceptual_distance_of_narrow_features_is_computed_wide() -> None:
    x = {"a": torch.full((1, 1, 300, 300), 200.0, dtype=torch.float16)}
    y = {"a": torch.full((1, 1, 300, 300), -200.0, dtype=torch.float16)}
    assert perceptual_distance(x, y).item() == pytest.approx(160_000)  # float16 ends at 65,504


@pytest.mark.parametrize("other", [{}, {"b": torch.zeros(1, 1, 2, 2)}])
def test_perceptual_distance_refuses_other_layers_or_none(other: dict[str, Tensor]) -> None:
    with pytest.raises(ValueError, match="same layers, at least one"):
        perceptual_distance({"a": torch.zeros(1, 1, 2, 2)} if other else {}, other)
    with pytest.raises(ValueError, match="shapes must be equal"):
        perceptual_distance({"a": torch.zeros(1, 1, 2, 2)}, {"a": torch.zeros(1, 1, 2, 3)})


def test_the_total_is_the_weighted_sum_of_the_parts() -> None:
    x, y = pictures(1, 2, 1, 64, 64)
    config = perceptual(pixel="mse", pixel_weight=3.0, tv_weight=0.1)
    parts = sr_loss(x, y, config, scale=4, features=network("relu1", "fire2"))
    assert sorted(parts) == ["perceptual", "pixel", "total", "tv"]
    weighted = 3 * parts["pixel"] + 0.5 * parts["perceptual"] + 0.1 * parts["tv"]
    torch.testing.assert_close(parts["total"], weighted)
    inner_x, inner_y = (p[..., 8:-8, 8:-8] for p in (x, y))
    assert parts["pixel"] == mse(inner_x, inner_y)
    assert parts["tv"] == total_variation(inner_x)
    seen = [network("relu1", "fire2")(p.repeat(1, 3, 1, 1)) for p in (inner_x, inner_y)]
    torch.testing.assert_close(parts["perceptual"], perceptual_distance(*seen))


@pytest.mark.parametrize(
    ("name", "distance"), [("mse", mse), ("l1", l1), ("charbonnier", charbonnier)]
)
def test_the_pixel_term_is_the_one_asked_for(name: Any, distance: Any) -> None:
    x, y = pictures(2, 1, 1, 16, 16)
    parts = sr_loss(x, y, SrLossConfig(pixel=name, border=0), scale=2, features=None)
    assert sorted(parts) == ["pixel", "total"]
    assert parts["pixel"] == parts["total"] == distance(x, y)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("border", [0, 1, 2])
def test_the_border_counts_in_low_resolution_pixels(scale: int, border: int) -> None:
    config = SrLossConfig(border=border, tv_weight=1.0)
    flat = torch.full((1, 1, 8 * scale, 7 * scale), 0.5)
    cut = border * scale
    at_the_border, within = flat.clone(), flat.clone()
    if cut:
        at_the_border[..., :cut, :] = at_the_border[..., -cut:] = 1.0
        assert sr_loss(at_the_border, flat, config, scale=scale, features=None)["total"] == 0
    within[..., cut, cut] = 1.0
    assert sr_loss(within, flat, config, scale=scale, features=None)["pixel"] > 0


def test_equal_pictures_have_no_loss_but_their_variation() -> None:
    x, _ = pictures(3, 1, 1, 64, 64)
    features = network("relu1", "fire2")
    parts = sr_loss(x, x, perceptual(tv_weight=1.0), scale=2, features=features)
    assert parts["pixel"] == parts["perceptual"] == 0
    assert parts["total"] == parts["tv"] > 0


def test_gradients_reach_the_output_alone() -> None:
    x, y = (p.requires_grad_() for p in (t.clone() for t in pictures(4, 1, 1, 64, 64)))
    features = network("relu1", "fire2")
    config = perceptual(pixel_weight=0.0)
    sr_loss(x, y, config, scale=2, features=features)["total"].backward()
    assert x.grad is not None
    assert x.grad[..., 4:-4, 4:-4].abs().max() > 0
    assert (x.grad[..., :4, :] == 0).all()  # the border
    assert y.grad is None
    assert all(p.grad is None for p in features.parameters())


def test_only_the_layers_of_the_config_count() -> None:
    x, y = pictures(5, 1, 1, 64, 64)
    config = perceptual(perceptual_layers=("fire2",))
    wide, narrow = network("relu1", "fire2", "fire3"), network("fire2")
    one, other = (sr_loss(x, y, config, scale=2, features=f) for f in (wide, narrow))
    assert one["perceptual"] == other["perceptual"]


@pytest.mark.parametrize(
    ("features", "words"),
    [
        (None, "needs features of"),
        (network("relu1"), "got squeezenet1_0's relu1$"),
    ],
)
def test_a_perceptual_weight_needs_its_features(features: Any, words: str) -> None:
    x, y = pictures(6, 1, 1, 64, 64)
    with pytest.raises(ValueError, match=words):
        sr_loss(x, y, perceptual(), scale=2, features=features)
    other = SrLossConfig(perceptual_weight=1.0, perceptual_layers=("pool1",))
    with pytest.raises(ValueError, match="must be vgg16's pool1, got squeezenet1_0's pool1"):
        sr_loss(x, y, other, scale=2, features=network("pool1"))


@pytest.mark.parametrize(
    ("output", "target"),
    [
        ((1, 1, 32, 32), (1, 1, 32, 31)),
        ((2, 1, 32, 32), (1, 1, 32, 32)),
        ((1, 3, 32, 32), (1, 3, 32, 32)),
        ((1, 32, 32), (1, 32, 32)),
    ],
)
def test_what_is_not_two_equal_luma_batches_is_refused(
    output: tuple[int, ...], target: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match=r"must both be \(N, 1, H, W\)"):
        sr_loss(torch.zeros(output), torch.zeros(target), SrLossConfig(), scale=2, features=None)


def test_a_patch_that_is_all_border_is_refused() -> None:
    x = torch.zeros(1, 1, 40, 17)
    with pytest.raises(ValueError, match="a border of 8 leaves nothing of 17x40"):
        sr_loss(x, x, SrLossConfig(border=2), scale=4, features=None)
    sr_loss(x, x, SrLossConfig(border=1, tv_weight=1.0), scale=4, features=None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pixel": "l2"}, "mse, l1 or charbonnier, got 'l2'"),
        ({"pixel_weight": 0.0}, "one above it"),
        ({"tv_weight": -1.0}, "at least 0"),
        ({"perceptual_weight": float("nan")}, "at least 0"),
        ({"border": -1}, "border must be at least 0, got -1"),
        ({"perceptual_weight": 1.0, "perceptual_layers": ()}, "perceptual_layers must be out of"),
        ({"perceptual_weight": 1.0, "perceptual_layers": ("fire2",)}, r"conv1_1, .*got \('fire2'"),
        ({"perceptual_weight": 1.0, "perceptual_network": "vgg11"}, "got 'vgg11'"),
    ],
)
def test_a_config_without_meaning_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SrLossConfig(**options)
