"""Laws of the painter's training: what a step sees, and what is scored."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.features import FeatureNetwork, random_state
from models.photographs import middle, reduced
from models.style_feedforward import Painter, PainterConfig, painter_init_
from models.style_loss import StyleLossConfig
from models.style_training import StyleProblem, StyleTraining, loss_of, style_targets
from models.training import Trainer
from tests.corpus import smooth_noise

LOSS = StyleLossConfig(
    network="squeezenet1_0", content_layer="fire2", style_layers=("relu1", "fire2")
)
TRAINING = StyleTraining(
    width=4, blocks=1, steps=8, batch_size=3, crop=32, content_side=40, style_side=32,
    validation_side=32, warmup=1, loss=LOSS,
)  # fmt: skip


def _problem(training: StyleTraining = TRAINING) -> StyleProblem:
    state = random_state("squeezenet1_0", torch.Generator().manual_seed(0))
    features = FeatureNetwork("squeezenet1_0", state, layers=LOSS.layers)
    styles = [torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(k)) for k in (0, 1)]
    targets = style_targets(features, styles, LOSS.style_layers)
    network = Painter(PainterConfig(styles=("a", "b"), width=4, blocks=1))
    painter_init_(network, torch.Generator().manual_seed(training.seed))
    photographs = [smooth_noise(k, 40, 50) for k in range(5)]
    crops = [torch.from_numpy(middle(p, 32) / np.float32(255)) for p in photographs[:2]]
    return StyleProblem(
        network=network,
        loss=loss_of(LOSS, features, targets),
        photographs=photographs,
        validation=[crop.permute(2, 0, 1)[None] for crop in crops],
        config=training,
        features=features,
        targets=targets,
    )


def _trained(training: StyleTraining = TRAINING) -> tuple[StyleProblem, Trainer]:
    problem = _problem(training)
    trainer = Trainer(problem.network, training.optimisation(), problem.loss)
    while not trainer.finished:
        trainer.advance(problem.batch(trainer.step, 0, 1))
    return problem, trainer


def test_a_batch_depends_on_the_seed_and_the_step_alone() -> None:
    problem = _problem()
    first, again, next_, seeded = (
        problem.batch(4, 0, 1)[0],
        _problem().batch(4, 0, 1)[0],
        problem.batch(5, 0, 1)[0],
        _problem(replace(TRAINING, seed=1)).batch(4, 0, 1)[0],
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, next_)
    assert not torch.equal(first, seeded)
    assert first.shape == (3, 3, 32, 32)
    assert 0 <= float(first.min()) < float(first.max()) <= 1


def test_processes_share_a_batch_and_every_style_has_its_turn() -> None:
    problem = _problem()
    crops, styles = problem.batch(2, 0, 1)
    shares = [problem.batch(2, rank, 2) for rank in (0, 1)]
    assert torch.equal(torch.cat([crops[0::2], crops[1::2]]), torch.cat([s[0] for s in shares]))
    assert styles.tolist() == [0, 1, 0]
    assert problem.batch(3, 0, 1)[1].tolist() == [1, 0, 1]


def test_equal_seeds_train_to_equal_weights_and_others_do_not() -> None:
    (_, one), (_, again), (_, other) = (
        _trained(),
        _trained(),
        _trained(replace(TRAINING, seed=5)),
    )
    for name, value in one.average.state_dict().items():
        assert torch.equal(value, again.average.state_dict()[name]), name
    assert not torch.equal(one.average.state_dict()["skip"], other.average.state_dict()["skip"])


def test_training_lowers_the_objective_on_pictures_that_were_not_seen() -> None:
    training = replace(TRAINING, steps=40, learning_rate=5e-3)
    problem, trainer = _trained(training)
    before, after = _problem(training), problem.validate(trainer.average)
    untrained = before.validate(before.network)
    assert untrained["validation_content"] < 0.1
    assert after["validation_style"] < 0.9 * untrained["validation_style"]
    assert after["validation_total"] < untrained["validation_total"]


def test_a_target_may_be_any_blend_of_the_network_s_rows() -> None:
    plain = _problem()
    with torch.no_grad():
        for name, parameter in plain.network.named_parameters():
            if "norm" in name:
                parameter.add_(torch.randn(parameter.shape))
    swapped = replace(
        plain,
        targets={name: gram.flip(0) for name, gram in plain.targets.items()},
        weights=torch.eye(2).flip(0),
    )
    scores = [problem.validate(plain.network) for problem in (plain, swapped)]
    assert scores[0] == pytest.approx(scores[1], rel=1e-5)
    assert scores[0] != pytest.approx(replace(swapped, weights=None).validate(plain.network))


def test_the_sheet_has_a_row_a_photograph_and_a_column_a_style() -> None:
    problem = _problem()
    sheet = problem.pictures(problem.network, ("a", "b")).pixels
    assert sheet.shape == (2 * (256 + 18) + 4, 3 * 260 + 4, 3)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"crop": 30}, "crop must be a multiple of 4, at least 32, got 30"),
        ({"validation_side": 34}, "validation_side must be a multiple of 4"),
        ({"content_side": 28}, "content_side must be at least the crop of 32, got 28"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, int], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        replace(TRAINING, **changes)  # type: ignore[arg-type]


class TestPhotographs:
    """Made equal in kind and size."""

    @pytest.mark.parametrize(
        ("size", "wanted"), [((80, 60), (53, 40)), ((30, 20), (60, 40)), ((90, 300), (40, 80))]
    )
    def test_the_shorter_side_is_the_one_asked_for(
        self, size: tuple[int, int], wanted: tuple[int, int]
    ) -> None:
        assert reduced(smooth_noise(0, *size), 40).shape == (*wanted, 3)

    def test_gray_becomes_rgb_and_a_level_stays(self) -> None:
        gray = np.full((50, 70, 1), 77, np.uint8)
        assert np.array_equal(reduced(gray, 32), np.full((32, 45, 3), 77, np.uint8))
        with pytest.raises(ValueError, match="a side from 1 on"):
            reduced(gray, 0)

    def test_the_middle_is_the_middle(self) -> None:
        pixels = np.arange(25, dtype=np.uint8).reshape(5, 5, 1)
        assert middle(pixels, 3)[..., 0].tolist() == [[6, 7, 8], [11, 12, 13], [16, 17, 18]]
        assert middle(pixels, 9).shape == (5, 5, 1)
