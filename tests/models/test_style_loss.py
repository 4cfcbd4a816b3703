"""Laws of the objective of style transfer."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from models.features import FeatureNetwork, random_state
from models.gram import gram_distance, gram_matrix, gram_targets
from models.style_loss import StyleLossConfig, content_distance, style_distance, style_loss

LAYERS = ("relu1", "fire2", "fire3")
CONFIG = StyleLossConfig(network="squeezenet1_0", content_layer="fire2", style_layers=LAYERS)


@pytest.fixture(scope="module")
def features() -> FeatureNetwork:
    state = random_state("squeezenet1_0", torch.Generator().manual_seed(0))
    return FeatureNetwork("squeezenet1_0", state, layers=CONFIG.layers)


def _noise(seed: int, side: int = 40) -> Tensor:
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(seed))


def _objective(features: FeatureNetwork, output: Tensor, style: Tensor) -> dict[str, Tensor]:
    content = features(_noise(1))[CONFIG.content_layer]
    return style_loss(output, features(output), content, gram_targets(features(style)), CONFIG)


def test_a_picture_s_distances_to_itself_are_zero(features: FeatureNetwork) -> None:
    parts = _objective(features, _noise(1), _noise(1))
    assert float(parts["content"]) == 0
    assert float(parts["style"]) == 0
    seen = features(_noise(2))
    assert float(content_distance(seen["fire2"], seen["fire2"])) == 0
    assert float(style_distance(seen, gram_targets(seen), LAYERS)) == 0


def test_the_distance_of_nothing_is_one_and_no_scale_of_the_features_changes_a_distance(
    features: FeatureNetwork,
) -> None:
    one, other = (features(_noise(seed))["fire2"] for seed in (1, 2))
    nothing = torch.zeros_like(one)
    assert float(content_distance(nothing, one)) == pytest.approx(1)
    assert float(gram_distance(gram_matrix(nothing), gram_matrix(one))) == pytest.approx(1)
    for scale in (0.01, 100.0):
        torch.testing.assert_close(
            content_distance(scale * one, scale * other), content_distance(one, other)
        )
        torch.testing.assert_close(
            gram_distance(gram_matrix(scale * one), gram_matrix(scale * other)),
            gram_distance(gram_matrix(one), gram_matrix(other)),
        )


def test_the_gram_matrix_is_a_mean_over_positions() -> None:
    x = torch.tensor([2.0, 3.0])[None, :, None, None].expand(1, 2, 5, 7)
    torch.testing.assert_close(gram_matrix(x), torch.tensor([[[4.0, 6.0], [6.0, 9.0]]]))


def test_the_style_does_not_care_where_things_are(features: FeatureNetwork) -> None:
    seen = features(_noise(1))["fire2"]
    order = torch.randperm(seen[0, 0].numel(), generator=torch.Generator().manual_seed(0))
    moved = seen.flatten(2)[..., order].view_as(seen)
    torch.testing.assert_close(gram_matrix(moved), gram_matrix(seen))
    assert float(content_distance(moved, seen)) > 0.1


def test_the_total_is_the_weighted_sum_and_each_picture_s_own(features: FeatureNetwork) -> None:
    output = torch.cat([_noise(4), _noise(5)])
    content = features(_noise(1))[CONFIG.content_layer].expand(2, -1, -1, -1)
    targets = gram_targets(features(_noise(6)))
    config = replace(CONFIG, content_weight=0.3, style_weight=7.0, tv_weight=2.0)
    parts = style_loss(output, features(output), content, targets, config)
    wanted = 0.3 * parts["content"] + 7 * parts["style"] + 2 * parts["tv"]
    torch.testing.assert_close(parts["total"], wanted)
    alone = style_loss(output[1:], features(output[1:]), content[1:], targets, config)
    for name, value in alone.items():
        torch.testing.assert_close(parts[name][1:], value)


def test_the_gradient_of_every_part_reaches_the_picture(features: FeatureNetwork) -> None:
    for name in ("content", "style", "tv"):
        output = _noise(4).requires_grad_(True)
        _objective(features, output, _noise(6))[name].sum().backward()
        assert output.grad is not None
        assert float(output.grad.abs().max()) > 0


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"network": "resnet"}, "network must be one of vgg16, vgg19, .*, got 'resnet'"),
        ({"content_layer": "relu9_9"}, "squeezenet1_0 has no layer 'relu9_9'"),
        ({"style_layers": ("fire2", "x")}, "squeezenet1_0 has no layer 'x'"),
        ({"style_layers": ()}, "at least one style layer"),
        ({"style_weight": -1.0}, "style_weight must be at least 0, got -1.0"),
        ({"tv_weight": float("nan")}, "tv_weight must be at least 0, got nan"),
    ],
)
def test_a_wrong_config_is_refused(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        replace(CONFIG, **changes)  # type: ignore[arg-type]


def test_features_of_other_shapes_or_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="shapes must be equal"):
        content_distance(torch.zeros(1, 2, 3, 3), torch.zeros(1, 2, 3, 4))
    with pytest.raises(ValueError, match="gram must be"):
        gram_distance(torch.zeros(1, 2, 2), torch.zeros(3, 3))
