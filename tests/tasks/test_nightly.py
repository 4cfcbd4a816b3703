"""A night's record and verdict: what is a night, who is to be beaten, what is better."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.sr_training import SrTraining
from tasks import nightly, storage, versions
from tasks.failures import RequestError
from tasks.nightly import NightlySettings, verdict
from tests.tasks.test_sr_training import make_dataset
from tests.versions import publish


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_dataset(str(tmp_path_factory.mktemp("sr")))


def _settings(dataset: str, registry: str, **changes: Any) -> NightlySettings:
    own: dict[str, Any] = {
        "images": str(Path(dataset).parent / "in"),
        "dataset": dataset,
        "registry": registry,
        "name": "own",
        "scale": 2,
        "validation": 0.2,
        "test": 0.2,
        "margin": 0.0,
    }
    return NightlySettings(**{**own, **changes})


class TestTheVerdict:
    def test_equal_is_not_better(self) -> None:
        assert verdict(30.0, 30.0, 0.0)[0] is False

    @pytest.mark.parametrize(
        ("challenger", "promoted"),
        [(30.25, True), (30.125, False), (30.0625, False), (29.0, False)],
    )
    def test_better_is_what_gains_more_than_the_margin(
        self, challenger: float, promoted: bool
    ) -> None:
        assert verdict(30.0, challenger, 0.125)[0] is promoted

    def test_it_says_both_figures_the_gain_and_the_margin(self) -> None:
        assert (
            verdict(30.0, 30.25, 0.1)[1] == "better: 30.250 dB against 30.000 (+0.250, margin 0.1)"
        )
        assert (
            verdict(30.0, 29.5, 0.1)[1]
            == "not better: 29.500 dB against 30.000 (-0.500, margin 0.1)"
        )

    def test_a_score_that_is_no_number_is_not_better(self) -> None:
        assert verdict(30.0, float("nan"), 0.0)[0] is False


class TestTheSettings:
    def test_a_negative_margin_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"margin must be at least 0 dB, got -0\.1"):
            _settings("data", "registry", margin=-0.1)

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"dataset": "memory://n/in/data"}, "the dataset must not lie inside the images"),
            ({"registry": "memory://n/in"}, "the registry must not lie inside the images"),
            ({"name": "a/b"}, "a/b"),
        ],
    )
    def test_what_cannot_be_is_one_sentence(self, changes: dict[str, str], sentence: str) -> None:
        places = {"images": "memory://n/in", "dataset": "memory://n/data"}
        settings = replace(_settings("data", "memory://n/registry"), **places)
        with pytest.raises(RequestError, match=sentence):
            nightly.check_settings(replace(settings, **changes))

    def test_places_become_whole_uris(self, tmp_path: Path) -> None:
        checked = nightly.check_settings(_settings("data", str(tmp_path), images="in"))
        assert checked.images == storage.normalise("in")
        assert checked.dataset == storage.normalise("data")


def test_beginning_a_night_again_gives_the_same_record(dataset: str, store: str) -> None:
    settings = _settings(dataset, store)
    night = nightly.begin(settings)
    assert (night.outcome, night.champion, night.finished_at) == ("begun", None, None)
    told = json.loads(storage.read(storage.join(store, f"sr/own/nights/{night.night}.json")))
    assert told["outcome"] == "begun"
    # the champion of the first beginning counts: the challenger goes on from that
    publish(store, "own", 1)
    versions.promote(store, "sr", "own", 1, reason="by hand")
    assert nightly.begin(settings) == night
    assert nightly.challenge(settings, night).start is None


def test_another_margin_or_training_is_another_night_but_other_places_are_not(
    dataset: str, tmp_path: Path
) -> None:
    settings = _settings(dataset, str(tmp_path))
    first = nightly.begin(settings).night
    training = replace(settings.training, learning_rate=1e-3)
    others = [
        nightly.begin(replace(settings, margin=0.5)).night,
        nightly.begin(replace(settings, training=training)).night,
    ]
    assert len({first, *others}) == 3
    same = replace(settings, images="elsewhere", processes=2, max_failed=0.5, features="vgg.pth")
    assert nightly.begin(same).night == first


def test_a_night_without_held_out_pictures_does_not_begin(tmp_path: Path) -> None:
    dataset = make_dataset(str(tmp_path), count=1)
    settings = _settings(dataset, str(tmp_path / "registry"))
    with pytest.raises(RequestError, match="no picture in its test split, by which a challenger"):
        nightly.begin(settings)
    assert not (tmp_path / "registry").exists()


def test_a_damaged_record_is_told_with_its_place(dataset: str, tmp_path: Path) -> None:
    settings = _settings(dataset, str(tmp_path))
    night = nightly.begin(settings).night
    record = tmp_path / "sr" / "own" / "nights" / f"{night}.json"
    for damaged in ("{", '{"night": 1, "moon": "full"}', "[]"):
        record.write_text(damaged)
        with pytest.raises(ValueError, match=rf"{night}\.json is damaged"):
            nightly.begin(settings)


def test_the_challenger_goes_on_from_the_champion_else_from_what_the_settings_say(
    dataset: str, tmp_path: Path
) -> None:
    settings = _settings(dataset, str(tmp_path), start="mill-x2", training=SrTraining(steps=3))
    assert nightly.challenge(settings, nightly.begin(settings)).start == "mill-x2"
    publish(str(tmp_path), "own", 1)
    versions.promote(str(tmp_path), "sr", "own", 1, reason="by hand")
    later = nightly.begin(replace(settings, margin=1.0))
    order = nightly.challenge(settings, later)
    assert (order.start, order.training, order.name) == ("own@1", settings.training, "own")


class TestTheOpponent:
    """Two versions of random weights: which is better, their scores on the dataset decide."""

    @pytest.fixture(scope="class")
    @staticmethod
    def ranked(dataset: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, int]:
        """Seeds of a worse and a better network."""
        registry = str(tmp_path_factory.mktemp("ranking"))
        made = {publish(registry, "own", seed): seed for seed in (1, 2)}
        settings = _settings(dataset, registry)
        scores = nightly._mean_psnr(settings, [v.ref for v in made])
        worse, better = sorted(made, key=lambda v: scores[v.ref])
        assert scores[worse.ref] < scores[better.ref]
        return made[worse], made[better]

    def test_a_night_killed_after_it_promoted_ends_as_it_would_have(
        self, dataset: str, tmp_path: Path, ranked: tuple[int, int]
    ) -> None:
        registry = str(tmp_path)
        settings = _settings(dataset, registry)
        for seed in ranked:
            challenger = publish(registry, "own", seed)
            if seed == ranked[0]:
                versions.promote(registry, "sr", "own", 1, reason="by hand")
                night = nightly.begin(settings)
        whole = nightly.decide(settings, night, challenger)
        assert (whole.outcome, whole.challenger) == ("promoted", "own@2")
        history = versions.champion(registry, "sr", "own")
        # it was killed between the promotion and its record: the record says begun
        nightly._write(settings, night)
        again = nightly.decide(settings, nightly.begin(settings), challenger)
        assert replace(again, finished_at=None) == replace(whole, finished_at=None)
        assert again.champion_psnr is not None
        assert versions.champion(registry, "sr", "own") == history

    def test_whoever_is_champion_by_then_is_to_be_beaten(
        self, dataset: str, tmp_path: Path, ranked: tuple[int, int]
    ) -> None:
        registry, (worse, better) = str(tmp_path), ranked
        settings = _settings(dataset, registry)
        publish(registry, "own", worse)
        versions.promote(registry, "sr", "own", 1, reason="by hand")
        night = nightly.begin(settings)
        publish(registry, "own", better)
        versions.promote(registry, "sr", "own", 2, reason="by hand, meanwhile")
        weak = publish(registry, "own", worse)
        over = nightly.decide(settings, night, weak)
        assert over.outcome == "kept"
        assert over.why.startswith("not better: ")
        current = versions.champion(registry, "sr", "own")
        assert current is not None
        assert current.version.version == 2

    def test_the_first_version_is_promoted_without_an_opponent(
        self, dataset: str, tmp_path: Path
    ) -> None:
        settings = _settings(dataset, str(tmp_path))
        night = nightly.begin(settings)
        over = nightly.decide(settings, night, publish(str(tmp_path), "own", 1))
        assert (over.outcome, over.champion_psnr) == ("promoted", None)
        assert over.why.startswith("the first version, ")
        report = nightly.report(settings, over, anything_new=True)
        assert "own: own@1 promoted, the first version" in report.closing_line()
        assert "champion own@1, 24 images: " in report.closing_line()
        again = nightly.report(settings, nightly.begin(settings), anything_new=False)
        assert again.closing_line().startswith("own: nothing new among 24 images since the night")
        assert "(own@1 promoted, the first version" in again.closing_line()
