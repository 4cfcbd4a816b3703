"""Laws of windows: they say of a picture what one look at the whole says."""

from functools import lru_cache

import pytest
import torch
from torch import Tensor

from models.feature_windows import (
    Edge,
    WindowConfig,
    at_least,
    picture_grams,
    windows_of,
)
from models.features import FeatureNetwork, random_state
from models.gram import gram_matrix

LAYERS = ("relu1_1", "relu2_1")
SEES = 16  # pixels; relu2_1 reaches 5


@lru_cache
def network() -> FeatureNetwork:
    state = random_state("vgg16", torch.Generator().manual_seed(0))
    return FeatureNetwork("vgg16", state, layers=LAYERS)


def picture(height: int, width: int) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(height))


def halves(height: int, width: int) -> Tensor:
    masks = torch.zeros(2, 1, height, width)
    masks[0, ..., : width // 2] = 1
    masks[1, ..., width // 2 :] = 1
    return masks


@pytest.mark.parametrize("size", [(20, 300), (64, 65), (200, 129), (1, 1000)])
def test_windows_part_the_picture_and_none_is_much_larger(size: tuple[int, int]) -> None:
    seen = torch.zeros(size)
    for window in windows_of(*size, WindowConfig(side=64, halo=16)):
        rows, columns = window.rows, window.columns
        assert 0 <= rows.first <= rows.start < rows.stop <= rows.last <= size[0]
        seen[rows.start : rows.stop, columns.start : columns.stop] += 1
        assert max(rows.stop - rows.start, columns.stop - columns.start) < 1.5 * 64 + 16
    assert (seen == 1).all()


@pytest.mark.parametrize("size", [(100, 97), (140, 32)])
def test_gram_matrices_summed_over_windows_are_the_whole_picture_s(size: tuple[int, int]) -> None:
    x = picture(*size)
    config = WindowConfig(side=64, halo=SEES)
    assert len(windows_of(*size, config)) > 1
    grams = picture_grams(x, network(), config, layers=LAYERS)
    for name, layer in network()(x).items():
        torch.testing.assert_close(grams[name], gram_matrix(layer), rtol=1e-4, atol=1e-5)


def test_so_are_their_gradients_and_the_whole_is_one_window_s() -> None:
    gradients = []
    for side in (64, 512):
        x = picture(130, 130).requires_grad_()
        grams = picture_grams(x, network(), WindowConfig(side=side, halo=SEES), layers=LAYERS)
        sum(gram.square().sum() for gram in grams.values()).backward()  # type: ignore[union-attr]
        assert x.grad is not None
        gradients.append(x.grad)
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4 * float(gradients[1].abs().max()))


def test_regions_are_those_of_the_whole_and_add_up_to_it() -> None:
    x, masks = picture(128, 160), halves(128, 160)
    small, large = (
        picture_grams(x, network(), WindowConfig(side=s, halo=SEES), layers=LAYERS, masks=masks)
        for s in (64, 512)
    )
    whole = picture_grams(x, network(), WindowConfig(), layers=LAYERS)
    for name in LAYERS:
        torch.testing.assert_close(small[name], large[name], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(large[name].mean(dim=0), whole[name][0], rtol=1e-4, atol=1e-5)
        left = network()(x)[name][..., : network()(x)[name].shape[-1] // 2]
        torch.testing.assert_close(large[name][:1], gram_matrix(left), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side", [64, 512])
def test_a_picture_that_wraps_may_be_rolled(side: int) -> None:
    x = picture(96, 112)
    config = WindowConfig(side=side, halo=SEES, edge="wrap")
    plain, rolled = (
        picture_grams(p, network(), config, layers=LAYERS)
        for p in (x, x.roll((16, 48), dims=(-2, -1)))
    )
    for name in LAYERS:
        torch.testing.assert_close(plain[name], rolled[name], rtol=1e-4, atol=1e-5)


def test_a_picture_smaller_than_its_halo_wraps_and_mirrors_as_often_as_it_takes() -> None:
    x = picture(4, 8)
    edges: tuple[tuple[Edge, Tensor], ...] = (
        ("wrap", x.repeat(1, 1, 9, 5)[..., :36, :40]),
        ("reflect", torch.cat([x, x.flip(-2)], -2).repeat(1, 1, 5, 1)[..., :36, :]),
    )
    for edge, larger in edges:
        if edge == "reflect":
            larger = torch.cat([larger, larger.flip(-1)], -1).repeat(1, 1, 1, 3)[..., :40]
        grams = picture_grams(x, network(), WindowConfig(halo=16, edge=edge), layers=("relu1_1",))
        seen = network()(larger)["relu1_1"]
        inner = seen[..., 16:20, 16:24]
        torch.testing.assert_close(grams["relu1_1"], gram_matrix(inner), rtol=1e-4, atol=1e-5)


def test_a_region_without_positions_is_an_error() -> None:
    masks = torch.zeros(1, 1, 40, 40)
    with pytest.raises(ValueError, match="holds no position of layer relu1_1"):
        picture_grams(picture(40, 40), network(), WindowConfig(), layers=LAYERS, masks=masks)


def test_a_short_picture_is_continued_in_its_mirror() -> None:
    x = torch.tensor([[[[1.0, 2.0]]]])
    assert at_least(x, 5)[0, 0].tolist() == [[1, 2, 2, 1, 1]] * 5
    long = picture(9, 12)
    assert torch.equal(at_least(long, 5), long)


def test_configs_out_of_range_are_refused() -> None:
    for options in ({"side": 48}, {"side": 100}, {"halo": -16}, {"halo": 8}, {"edge": "zero"}):
        with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
            WindowConfig(**options)  # type: ignore[arg-type]
