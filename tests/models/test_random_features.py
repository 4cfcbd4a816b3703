"""Laws of random features: the published filters, by whatever arithmetic is fastest."""

import pytest
import torch
import torch.nn.functional as F

from models.random_features import SIDES, RandomFeatures


def features(seed: int = 0, **options: int) -> RandomFeatures:
    return RandomFeatures(torch.Generator().manual_seed(seed), **({"width": 2} | options))  # type: ignore[arg-type]


def test_every_scale_is_a_rectified_correlation_with_its_filters() -> None:
    network = features()
    x = torch.rand(2, 3, 20, 33, generator=torch.Generator().manual_seed(1))
    for _ in range(2):  # the second time with the kept transforms
        seen = network(x)
        for (name, layer), weight in zip(seen.items(), network.filters, strict=True):
            expected = F.relu(F.conv2d(4 * (x - 0.5), weight, padding=weight.shape[-1] // 2))
            torch.testing.assert_close(layer, expected, atol=1e-4, rtol=1e-4, msg=name)


def test_sizes_may_change_from_call_to_call() -> None:
    network, fresh = features(), features()
    big, small = torch.rand(1, 3, 30, 30), torch.rand(1, 3, 9, 1)
    network(big)
    for name, layer in network(small).items():
        assert torch.equal(layer, fresh(small)[name])


def test_layers_are_named_after_the_published_sides() -> None:
    assert SIDES == (3, 5, 7, 11, 15, 23, 37, 55)
    assert features().layers == tuple(f"scale{side}" for side in SIDES)
    assert list(features()(torch.zeros(1, 3, 4, 4))) == list(features().layers)


def test_the_seed_decides_the_filters_and_gradients_reach_the_picture_alone() -> None:
    x = torch.rand(1, 3, 12, 12).requires_grad_()
    one, same, other = (features(seed)(x)["scale11"] for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    one.square().sum().backward()
    assert x.grad is not None
    assert x.grad.abs().max() > 0
    assert not any(p.requires_grad for p in features().parameters())


def test_responses_are_of_one_size_at_every_scale() -> None:
    seen = features(width=16)(torch.rand(1, 3, 64, 64))
    sizes = [float(layer.square().mean().sqrt()) for layer in seen.values()]
    assert max(sizes) < 4 * min(sizes)


def test_what_is_no_rgb_or_no_filter_is_refused() -> None:
    with pytest.raises(ValueError, match=r"rgb must be \(N, 3, H, W\)"):
        features()(torch.zeros(1, 1, 8, 8))
    with pytest.raises(ValueError, match="odd sides"):
        RandomFeatures(torch.Generator(), sides=(4,))
    with pytest.raises(ValueError, match="got 0 of each"):
        features(width=0)
