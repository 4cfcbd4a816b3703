"""Laws of what a generator is told to draw; of the true morphs that it is judged by."""

import numpy as np
import pytest
import torch

from models.chair_morph_scores import judge_morphs
from models.chair_morphs import Scenes, draw, mixture, morph, turntable, views
from models.chair_shapes import chair_mesh, chair_parameters
from models.chair_truth import true_morph, true_paths
from models.chair_views import Transformation
from models.rendering import projected, render, visible_faces
from tests.chairs import tiny_generator

A, B = mixture({0: 1}, 3), mixture({2: 1}, 3)


def test_a_mixture_s_weights_sum_to_one() -> None:
    torch.testing.assert_close(mixture({0: 3, 2: 1}, 4), torch.tensor([0.75, 0, 0.25, 0]))


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        ({3: 1.0}, "a chair must be 0 to 2, got 3"),
        ({1: -0.5, 0: 1.0}, "a weight must be at least 0, got -0.5 for chair 1"),
        ({1: 0.0}, "one weight at least must be above 0"),
        ({}, "one weight at least must be above 0"),
    ],
)
def test_what_is_no_mixture_is_refused(weights: dict[int, float], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        mixture(weights, 3)


def test_a_morph_goes_from_one_chair_and_view_to_the_other() -> None:
    scenes = morph((A, B), (350.0, 370.0), (20.0, 30.0), 5)
    assert scenes.azimuth.tolist() == [350, 355, 360, 365, 370]
    assert scenes.elevation.tolist() == [20, 22.5, 25, 27.5, 30]
    torch.testing.assert_close(scenes.chair[:, 2], torch.linspace(0, 1, 5))
    torch.testing.assert_close(scenes.chair.sum(1), torch.ones(5))
    with pytest.raises(ValueError, match="at least 2 steps, got 1"):
        morph((A, B), (0, 0), (0, 0), 1)


def test_a_turntable_goes_round_once() -> None:
    scenes = turntable(A, 4, 300.0, 20.0)
    assert scenes.azimuth.tolist() == [300, 30, 120, 210]
    assert torch.equal(scenes.chair, A.expand(4, 3))
    with pytest.raises(ValueError, match="at least 2 pictures, got 1"):
        turntable(A, 1, 0.0, 0.0)


def test_views_are_by_chair_elevation_and_azimuth_and_all_transformed() -> None:
    zoomed = Transformation(zoom=1.1).parameters()
    scenes = views([A, B], [0.0, 90.0], [20.0, 30.0], zoomed)
    assert scenes.azimuth.tolist() == [0, 90, 0, 90] * 2
    assert scenes.elevation.tolist() == [20, 20, 30, 30] * 2
    assert torch.equal(scenes.chair[:4], A.expand(4, 3))
    assert torch.equal(scenes.transformation, zoomed.expand(8, 8))


def test_a_picture_depends_on_its_scene_alone() -> None:
    network = tiny_generator()
    scenes = turntable(A, 100, 0.0, 20.0)
    color, mask = draw(network, scenes)
    one = views([A], [scenes.azimuth[70].item()], [20.0])
    for all_, alone in zip((color, mask), draw(network, one), strict=True):
        assert all_.shape[0] == 100
        torch.testing.assert_close(all_[70:71], alone, atol=1e-5, rtol=1e-4)


def test_scenes_must_fit_each_other_and_the_generator() -> None:
    with pytest.raises(ValueError, match="do not go with"):
        Scenes(
            chair=torch.zeros(2, 3), azimuth=torch.zeros(2), elevation=torch.zeros(1),
            transformation=torch.zeros(2, 8),
        )  # fmt: skip
    with pytest.raises(ValueError, match="the generator knows 3 chairs, got 5"):
        draw(tiny_generator(), views([mixture({0: 1}, 5)], [0.0], [0.0]))


class TestTruth:
    ENDS = (chair_parameters(0, 0), chair_parameters(4, 0))

    def test_a_true_morph_ends_in_the_two_chairs(self) -> None:
        rgb, mask = true_morph(self.ENDS, azimuth=35, elevation=20, size=32, steps=3)
        assert rgb.shape == (3, 3, 32, 32)
        assert mask.shape == (3, 1, 32, 32)
        for k, parameters in ((0, self.ENDS[0]), (2, self.ENDS[1])):
            own, own_mask = render(chair_mesh(parameters), azimuth=35, elevation=20, size=32)
            assert np.array_equal((rgb[k] * 255).round().numpy().transpose(1, 2, 0), own)
            assert np.array_equal((mask[k, 0] * 255).round().numpy(), own_mask)

    def test_points_of_a_chair_that_does_not_change_stay_where_they_are_seen(self) -> None:
        same = (self.ENDS[0], self.ENDS[0])
        places = true_paths(same, azimuth=35, elevation=20, size=32, steps=2, stride=3).places
        assert places.shape[1] > 10
        middles = np.floor(places[0]) + 0.5
        assert np.abs(places[0] - middles).max() < 1e-3
        assert set(((middles - 0.5) % 3).ravel()) == {0}
        assert np.abs(places[1] - places[0]).max() < 1e-9

    def test_points_end_where_their_face_is(self) -> None:
        places = true_paths(self.ENDS, azimuth=35, elevation=20, size=64, steps=5).places
        assert places.shape[1] > 5
        seen = visible_faces(chair_mesh(self.ENDS[1]), azimuth=35, elevation=20, size=64)
        column, row = np.floor(places[-1]).astype(int).T
        assert (seen[row, column] >= 0).mean() > 0.8
        steps = np.linalg.norm(np.diff(places, axis=0), axis=2)
        assert steps.max() < 8

    def test_what_is_seen_is_projected_to_where_it_is_seen(self) -> None:
        mesh = chair_mesh(self.ENDS[0])
        seen = visible_faces(mesh, azimuth=200, elevation=30, size=64)
        _, mask = render(mesh, azimuth=200, elevation=30, size=64)
        assert ((seen >= 0) == (mask > 127)).mean() > 0.97
        row, column = np.argwhere(seen >= 0)[300]
        corners = mesh.vertices[mesh.faces[seen[row, column]]]
        corners = projected(corners, azimuth=200, elevation=30, size=64)[:, :2]
        low, high = corners.min(0), corners.max(0)
        assert (low <= [column + 0.5, row + 0.5]).all()
        assert (high >= [column + 0.5, row + 0.5]).all()

    def test_morphs_are_scored_against_the_truth(self) -> None:
        scores = judge_morphs(tiny_generator(), [(0, 1)], seed=0, elevation=20.0, steps=4)
        told = scores.means
        assert told["morph_rgb_mse"] > told["fade_rgb_mse"] > 0
        assert 0 <= told["morph_mask_iou"] < told["fade_mask_iou"] < 1
        assert told["still_error"] > 0
        assert 0 <= told["tracked_share"] <= 1
        assert [len(row.crops) for row in scores.sheet] == [4, 4]
