"""Laws of the generator's training: what a step sees, what is minimised, what is scored."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.chair_networks import ChairGenerator, GeneratorConfig, chair_init_
from models.chair_pictures import ChairPictures, evenly, fewer_azimuths, gathered, reduced
from models.chair_training import ChairProblem, ChairTraining, errors, loss_of
from models.chair_views import Transformation, identity, transformation_vector
from models.training import Trainer
from tests.chairs import TINY, discs

CONFIG = replace(TINY, classes=2, inputs=16, trunk=32, cells=8, widths=(8,), upsampling="resize")
TRAINING = ChairTraining(
    network=CONFIG, steps=60, batch_size=8, learning_rate=1e-2, warmup=5, ema_decay=0.9
)


def problem(training: ChairTraining = TRAINING) -> ChairProblem:
    network = ChairGenerator(training.network)
    chair_init_(network, torch.Generator().manual_seed(training.seed))
    views = discs()
    return ChairProblem(
        network=network,
        loss=loss_of(training.network, color_weight=training.color_weight),
        views=views,
        validation=views,
        config=training,
    )


def test_a_batch_depends_on_the_seed_and_the_step_alone() -> None:
    first = problem().batch(4, 0, 1)
    for same in zip(first, problem().batch(4, 0, 1), strict=True):
        assert torch.equal(*same)
    for other in (
        problem().batch(5, 0, 1),
        problem(replace(TRAINING, seed=1)).batch(4, 0, 1),
    ):
        assert not torch.equal(first[4], other[4])


def test_processes_share_a_batch() -> None:
    whole = problem().batch(3, 0, 1)
    parts = [problem().batch(3, rank, 2) for rank in (0, 1)]
    for k, tensor in enumerate(whole):
        assert torch.equal(tensor[0::2], parts[0][k])
        assert torch.equal(tensor[1::2], parts[1][k])


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_as_many_views_are_transformed_as_was_asked_for(share: float) -> None:
    own = problem(replace(TRAINING, transformed=share, batch_size=400))
    parameters = own.batch(0, 0, 1)[4]
    moved = (parameters != identity(len(parameters))).all(1).float().mean()
    assert float(moved) == pytest.approx(share, abs=0.08)


class Recorder(nn.Module):
    """Keeps what it is told; draws nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Tensor] = []

    def forward(self, *told: Tensor) -> tuple[Tensor, Tensor]:
        self.told = list(told)
        count = len(told[0])
        return torch.zeros(count, 3, 32, 32), torch.zeros(count, 1, 32, 32)


def told_of(batch: tuple[Tensor, ...]) -> list[Tensor]:
    recorder = Recorder()
    loss_of(CONFIG, color_weight=10.0)(recorder, batch, 0)
    return recorder.told


def test_the_network_is_told_class_angles_and_transformation() -> None:
    rgb, mask, chair, _, _ = problem().batch(0, 0, 1)
    angles = torch.tensor([[30.0, 60.0]]).expand(8, 2)
    zoomed = Transformation(zoom=1.1, shift_x=0.04).parameters().expand(8, -1)
    seen = told_of((rgb, mask, chair, angles, zoomed))
    assert torch.equal(seen[0], F.one_hot(chair, 2).float())
    # a port told sin, cos, sin, sin
    wanted = [0.5, 3**0.5 / 2, 3**0.5 / 2, 0.5]
    torch.testing.assert_close(seen[1], torch.tensor([wanted]).expand(8, 4))
    torch.testing.assert_close(seen[2], transformation_vector(zoomed))


def test_without_a_transformation_the_network_is_told_zeros() -> None:
    """A port told ones, whatever was done to the picture."""
    rgb, mask, chair, angles, _ = problem().batch(0, 0, 1)
    assert not told_of((rgb, mask, chair, angles, identity(8)))[2].any()


def test_view_and_mask_are_transformed_as_the_network_is_told() -> None:
    views = discs()
    plain = identity(len(views))
    moved = Transformation(shift_x=0.25).parameters().expand(len(views), -1)
    angles = torch.stack([views.azimuth, views.elevation], 1)

    class Perfect(nn.Module):
        """Draws the views, moved by a quarter of the picture or not."""

        def __init__(self, by: int) -> None:
            super().__init__()
            self.by = by

        def forward(self, *_told: Tensor) -> tuple[Tensor, Tensor]:
            rgb, mask = views.floats()
            drawn = F.pad(torch.cat([rgb - (1 - mask), mask], 1), [self.by, 0, 0, 0])[..., :32]
            return drawn[:, :3], drawn[:, 3:]

    loss = loss_of(replace(CONFIG, mask="squared"), color_weight=10.0)
    for parameters, by in ((plain, 0), (moved, 8)):
        batch = (views.rgb, views.mask, views.chair, angles, parameters)
        assert float(loss(Perfect(by), batch, 0)["total"]) < 1e-6
        wrong = loss(Perfect(8 - by), batch, 0)
        assert min(float(wrong["color"]), float(wrong["mask"])) > 0.01


def test_the_mask_s_target_is_the_coverage_and_not_the_picture() -> None:
    """A port compared the mask with the picture, and made it of the picture."""
    rgb, mask = discs().floats()
    color = rgb.clone()
    exact = {"squared": mask, "softmax": (mask * 2 - 1) * 50}
    for kind, drawn in exact.items():
        config = replace(CONFIG, mask=kind)
        color_error, mask_error = errors(color, drawn, rgb, mask, config)
        assert max(float(color_error), float(mask_error)) < 1e-6
        assert float(errors(color, -drawn, rgb, mask, config)[1]) > 0.1


def test_color_is_asked_for_within_the_mask_only() -> None:
    rgb, mask = discs().floats()
    elsewhere = torch.where(mask > 0, rgb, torch.rand_like(rgb))
    assert float(errors(elsewhere, mask, rgb, mask, CONFIG)[0]) == 0
    within = torch.where(mask > 0, 1 - rgb, rgb)
    assert float(errors(within, mask, rgb, mask, CONFIG)[0]) > 0.01


def test_the_color_s_error_is_weighted() -> None:
    batch = problem().batch(0, 0, 1)
    with torch.no_grad():
        parts = loss_of(CONFIG, color_weight=10.0)(problem().network, batch, 0)
    assert float(parts["total"]) == pytest.approx(
        10 * float(parts["color"]) + float(parts["mask"]), rel=1e-6
    )


@pytest.mark.parametrize("mask", ["softmax", "squared"])
def test_training_learns_the_views_that_it_sees(mask: str) -> None:
    network = replace(CONFIG, mask=mask)
    own = problem(replace(TRAINING, network=network, transformed=0.0))
    before = own.validate(own.network)
    trainer = Trainer(own.network, own.config.optimisation(), own.loss)
    while not trainer.finished:
        trainer.advance(own.batch(trainer.step, 0, 1))
    after = own.validate(trainer.average)
    assert after["validation_mask_iou"] > max(0.8, before["validation_mask_iou"])
    assert after["validation_rgb_mse"] < before["validation_rgb_mse"] / 4
    assert after["validation_nearest_rgb_mse"] == 0
    assert after["validation_nearest_mask_iou"] == 1


class TestFewerViews:
    def test_azimuths_are_spread_evenly(self) -> None:
        assert evenly([0, 30, 60, 90, 60, 0], 2) == (0, 60)
        assert evenly([3.0, 1.0, 2.0], 3) == (1.0, 2.0, 3.0)
        with pytest.raises(ValueError, match="count must be 1 to 2, got 3"):
            evenly([0, 1, 1], 3)

    def test_some_chairs_may_keep_all_of_theirs(self) -> None:
        views = discs(chairs=3)
        seen = ChairTraining(network=CONFIG, azimuths=2, few_from=2).seen(views)
        counts = torch.bincount(seen.chair)
        assert counts.tolist() == [4, 4, 2]
        assert seen.azimuth[seen.chair == 2].tolist() == [0.0, 180.0]
        assert fewer_azimuths(views, 1).sum() == 3
        assert len(ChairTraining(network=CONFIG).seen(views)) == len(views)


class TestPictures:
    def test_views_are_reduced_by_whole_cells(self) -> None:
        pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
        assert reduced(pixels, 2)[0, 0].tolist() == [8, 9, 10]  # of 7.5, 8.5, 9.5
        assert np.array_equal(reduced(pixels, 4), pixels)
        with pytest.raises(ValueError, match="4x4 pixels cannot be reduced to 3"):
            reduced(pixels, 3)

    def test_nothing_is_no_collection(self) -> None:
        with pytest.raises(ValueError, match="there is no view"):
            gathered([], 32)

    def test_shapes_must_go_together(self) -> None:
        views = discs()
        with pytest.raises(ValueError, match="8 chairs do not go with views of the shapes"):
            ChairPictures(
                rgb=views.rgb, mask=views.mask[:, 0], chair=views.chair, azimuth=views.azimuth,
                elevation=views.elevation,
            )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"transformed": 1.5}, "transformed must be 0 to 1, got 1.5"),
        ({"azimuths": 0}, "azimuths must be at least 1, got 0"),
        ({"color_weight": -1.0}, "color_weight must be at least 0, got -1.0"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, float], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        ChairTraining(**changes)  # type: ignore[arg-type]


def test_the_classes_are_the_dataset_s() -> None:
    assert ChairTraining(network=GeneratorConfig(classes=9)).generator(64).classes == 64
