"""Laws of the scores of chairs."""

import math

import pytest
import torch

from models.chair_pictures import ChairPictures
from models.chair_scores import (
    SCORES,
    generator_scores,
    nearest_scores,
    nearest_views,
    picture_scores,
    stored,
)
from tests.chairs import discs, tiny_generator


def score(*pictures: torch.Tensor) -> dict[str, float]:
    return dict(zip(SCORES, picture_scores(*pictures)[0].tolist(), strict=True))


def test_a_picture_scores_best_against_itself() -> None:
    rgb, mask = discs().floats()
    wanted = torch.tensor([0.0, 0.0, 1.0]).expand(len(rgb), 3)
    assert torch.equal(picture_scores(rgb, mask, rgb, mask), wanted)


def test_scores_are_what_they_are_said_to_be() -> None:
    """Four pixels; the true mask has two of them, ours one of those and another."""
    true, own = torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)
    true[..., 0, :] = 1
    own[..., :, 0] = 0.6
    rgb = torch.zeros(1, 3, 2, 2)
    rgb[0, :, 0, 1] = 0.5  # within the true mask
    rgb[0, 0, 1, 1] = 0.9  # outside, one channel
    told = score(rgb, own, torch.zeros(1, 3, 2, 2), true)
    assert told["rgb_mse"] == pytest.approx((3 * 0.25 + 0.81) / 12)
    assert told["masked_rgb_mse"] == pytest.approx(3 * 0.25 / 6)
    assert told["mask_iou"] == pytest.approx(1 / 3)


def test_two_empty_masks_agree() -> None:
    nothing = torch.zeros(1, 1, 4, 4)
    white = torch.ones(1, 3, 4, 4)
    assert score(white, nothing, white, nothing)["mask_iou"] == 1


def test_pictures_are_judged_as_they_are_stored() -> None:
    color, mask = torch.full((1, 3, 2, 2), 0.5001), torch.full((1, 1, 2, 2), 1.0)
    rgb, _ = stored(color, mask)
    assert torch.equal(rgb, torch.full((1, 3, 2, 2), 128 / 255))


def at(*angles: tuple[float, float], chair: int = 0) -> ChairPictures:
    count = len(angles)
    return ChairPictures(
        rgb=torch.zeros(count, 3, 4, 4, dtype=torch.uint8),
        mask=torch.zeros(count, 1, 4, 4, dtype=torch.uint8),
        chair=torch.full((count,), chair),
        azimuth=torch.tensor([a for a, _ in angles]),
        elevation=torch.tensor([e for _, e in angles]),
    )


@pytest.mark.parametrize(
    ("wanted", "known", "nearest"),
    [
        ((359.0, 20.0), [(330.0, 20.0), (2.0, 20.0)], 1),
        ((0.0, 20.0), [(12.0, 20.0), (0.0, 30.0)], 1),
        ((0.0, 80.0), [(20.0, 80.0), (0.0, 70.0)], 0),  # near the pole azimuths lie close
        ((10.0, 20.0), [(0.0, 20.0), (20.0, 20.0)], 0),  # the first of equals
    ],
)
def test_the_nearest_view_is_the_one_whose_camera_is_nearest(
    wanted: tuple[float, float], known: list[tuple[float, float]], nearest: int
) -> None:
    assert int(nearest_views(at(wanted), at(*known))) == nearest


def test_the_nearest_view_is_of_the_same_chair() -> None:
    with pytest.raises(ValueError, match="chair 1 has no known view to compare with"):
        nearest_views(at((0.0, 0.0), chair=1), at((0.0, 0.0), chair=0))


def test_known_views_score_best_by_memory() -> None:
    views = discs()
    scores = nearest_scores(views, views)
    assert scores[:, 0].max() == 0
    half = views.take(views.azimuth % 180 == 0)
    others = views.take(views.azimuth % 180 != 0)
    assert nearest_scores(others, half)[:, 0].min() > 0.01


def test_a_generator_is_scored_view_by_view_whatever_the_batch() -> None:
    network, views = tiny_generator(), discs(chairs=3, azimuths=30)
    scores = generator_scores(network, views)
    assert scores.shape == (90, 3)
    assert all(math.isfinite(x) for x in scores.flatten().tolist())
    alone = generator_scores(network, views.take([70]))
    torch.testing.assert_close(alone[0], scores[70], atol=1e-4, rtol=0)


def test_a_chair_that_the_generator_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="knows 3 chairs, got a view of chair 3"):
        generator_scores(tiny_generator(), discs(chairs=4))
