"""Laws of the perceptual distance: its definition, and that tiles do not change it."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.features import FeatureNetwork, random_state
from models.perceptual_distance import LAYERS, relative_perceptual_distance
from models.pixels import Pixels
from tests.corpus import smooth_noise


class Itself(nn.Module):
    """Features that are the pixels, so that the distance can be computed by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, rgb: Tensor) -> dict[str, Tensor]:
        return {"relu1_1": rgb, "relu1_2": rgb * 100}


@pytest.fixture(scope="module")
def vgg() -> FeatureNetwork:
    state = random_state("vgg16", torch.Generator().manual_seed(0))
    return FeatureNetwork("vgg16", state, layers=LAYERS)


def noisy(picture: Pixels, amount: float, seed: int = 0) -> Pixels:
    noise = np.random.default_rng(seed).normal(0, amount, picture.shape)
    return np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)


def test_it_is_the_squared_difference_over_the_reference_s_square() -> None:
    output, reference = np.full((8, 8, 3), 60, np.uint8), np.full((8, 8, 3), 50, np.uint8)
    both = relative_perceptual_distance(
        Itself(), output, reference, layers=("relu1_1", "relu1_2"), tile=4
    )
    assert both == pytest.approx((10 / 50) ** 2, rel=1e-5)  # whatever a layer is scaled by


def test_black_as_reference_is_no_division_by_zero() -> None:
    black = np.zeros((8, 8, 3), np.uint8)
    assert relative_perceptual_distance(Itself(), black, black, layers=("relu1_1",)) == 0
    far = relative_perceptual_distance(Itself(), black + 1, black, layers=("relu1_1",))
    assert far is not None
    assert far > 1


@pytest.mark.parametrize(("height", "width"), [(67, 90), (64, 64), (33, 129), (4, 5)])
def test_tiles_do_not_change_it(vgg: FeatureNetwork, height: int, width: int) -> None:
    reference = smooth_noise(1, height, width)
    output = noisy(reference, 20)
    x, y = (
        vgg(torch.from_numpy(p.copy()).permute(2, 0, 1)[None].float() / 255)
        for p in (output, reference)
    )
    whole = np.mean([float((x[k] - y[k]).square().sum() / y[k].square().sum()) for k in LAYERS])
    for tile in (32, 60, 384):
        found = relative_perceptual_distance(vgg, output, reference, tile=tile)
        assert found == pytest.approx(float(whole), rel=1e-4)


def test_it_is_zero_for_equal_and_grows_with_noise(vgg: FeatureNetwork) -> None:
    reference = smooth_noise(2, 48, 56)
    found = [relative_perceptual_distance(vgg, noisy(reference, a), reference) for a in (0, 5, 40)]
    assert found[0] == 0
    assert found == sorted(found, key=lambda v: v or 0)
    assert len(set(found)) == 3


def test_gray_is_equal_red_green_and_blue(vgg: FeatureNetwork) -> None:
    gray = smooth_noise(3, 24, 20, 1)
    other = noisy(gray, 10)
    assert relative_perceptual_distance(vgg, other, gray) == pytest.approx(
        relative_perceptual_distance(vgg, other.repeat(3, 2), gray.repeat(3, 2)), rel=1e-6
    )


@pytest.mark.parametrize("size", [(3, 40), (40, 3), (1, 1)])
def test_what_is_too_small_to_be_pooled_has_none(
    vgg: FeatureNetwork, size: tuple[int, int]
) -> None:
    picture = np.zeros((*size, 3), np.uint8)
    assert relative_perceptual_distance(vgg, picture, picture) is None


def test_wrong_arguments_are_refused(vgg: FeatureNetwork) -> None:
    a, b = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)
    with pytest.raises(ValueError, match="shapes must be equal"):
        relative_perceptual_distance(vgg, a, b)
    for tile in (0, 2, 30):
        with pytest.raises(ValueError, match=f"multiple of 4, got {tile}"):
            relative_perceptual_distance(vgg, a, a, tile=tile)
