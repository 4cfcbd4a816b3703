"""Settings: words and tables into a typed config, or one sentence."""

from pathlib import Path

import pytest

from models.sr_training import SrTraining
from tasks.failures import RequestError
from tasks.settings import merged, parse_assignments, read_toml, typed


def test_words_are_values_of_their_kind() -> None:
    words = ["steps=10", "loss.pixel=mse", "rescale=[1.0, 0.5]", "network=mill"]
    training = typed(SrTraining, parse_assignments(words))
    assert (training.steps, training.loss.pixel, training.rescale) == (10, "mse", (1.0, 0.5))
    assert training.network == "mill"


def test_what_is_set_wins_over_the_file_key_by_key(tmp_path: Path) -> None:
    file = tmp_path / "train.toml"
    file.write_text('steps = 5\nseed = 3\n[loss]\npixel = "mse"\npixel_weight = 2.0\n')
    both = merged(read_toml(str(file)), parse_assignments(["steps=7", "loss.pixel=l1"]))
    training = typed(SrTraining, both)
    assert (training.steps, training.seed) == (7, 3)
    assert (training.loss.pixel, training.loss.pixel_weight) == ("l1", 2.0)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["stepz=3"], "settings have no stepz; there are "),
        (["loss.pixl=l1"], "settings have no loss.pixl"),
        (["steps=many"], r"settings: steps: .*, got 'many'"),
        (["loss.pixel=l3"], r"settings: loss.pixel: .*got 'l3'"),
        (["finish=2"], "finish must be 0 to 1, got 2"),
        (["steps"], "--set wants key=value, got 'steps'"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(words: list[str], sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        typed(SrTraining, parse_assignments(words))


def test_a_file_that_is_no_toml(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("steps = = 3")
    with pytest.raises(RequestError, match=r"a\.toml is no TOML file"):
        read_toml(str(tmp_path / "a.toml"))
