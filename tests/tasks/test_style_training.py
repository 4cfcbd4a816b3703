"""The painter's training as a job: the same request is the same run, stopped or not."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.features import FeatureNetwork
from models.images import decode
from models.style_feedforward import blend_weights
from models.style_loss import StyleLossConfig
from models.style_painting import paint
from models.style_training import StyleTraining
from models.training import Batch
from tasks import painters, storage, style_training, trained, versions
from tasks.champions import change_champion
from tasks.failures import RequestError
from tasks.photographs import split_photographs, stage_photographs
from tasks.runs import StoppedError
from tasks.style_request import StyleTrainingJob, TrainStyleRequest, open_job, read_styles
from tasks.training import TrainingProgress, read_metrics
from tests.corpus import good_image, smooth_noise
from tests.painters import training_material

TRAINING = StyleTraining(
    width=4,
    blocks=1,
    steps=6,
    batch_size=2,
    crop=32,
    content_side=36,
    style_side=32,
    validation_side=32,
    warmup=1,
    validate_every=3,
    checkpoint_every=2,
    loss=StyleLossConfig(
        network="squeezenet1_0", content_layer="fire2", style_layers=("relu1", "fire2")
    ),
)


Material = tuple[str, tuple[str, str], str]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """The loop takes all processors, which tiny maps gain nothing from and a busy machine less."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tasks.training.processors", lambda: 1)
        yield


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, tuple[str, str], str]:
    return training_material(str(tmp_path_factory.mktemp("style")))


def _job(material: Material, registry: str, **changes: object) -> StyleTrainingJob:
    photographs, styles, features = material
    settings = {
        "dataset": photographs, "styles": styles, "features": features,
        "name": "tiny", "training": TRAINING, **changes,
    }  # fmt: skip
    return open_job(TrainStyleRequest(registry=registry, **settings))  # type: ignore[arg-type]


def _trained(job: StyleTrainingJob) -> bytes:
    style_training.train(job, TrainingProgress())
    return storage.read(storage.join(job.folder, "model.safetensors"))


@pytest.fixture(scope="module")
def whole(material: Material, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The weights of a training that nobody interrupted."""
    return _trained(_job(material, str(tmp_path_factory.mktemp("whole"))))


def test_a_training_ends_in_a_version_with_pictures_and_is_not_done_twice(
    material: Material, store: str
) -> None:
    job = _job(material, store)
    assert trained.published(style_training.training_run(job)) is None
    _trained(job)
    made = trained.publish(style_training.training_run(job))
    record = versions.read_record(made)
    assert (made.ref, record.dataset_digest) == ("tiny@1", job.dataset_digest)
    assert record.config == {"styles": ["stripes", "checks"], "width": 4, "blocks": 1}
    assert record.metrics["validation_total"] > 0
    current = versions.champion(store, "style", "tiny")
    assert current is not None
    assert current.version == made
    assert trained.published(style_training.training_run(_job(material, store))) == made
    line = trained.summarise(style_training.training_run(job), made, None).closing_line()
    assert line.startswith("tiny@1: 6 steps, 2 styles, objective ")
    for step in (3, 6):
        sheet = decode(storage.read(storage.join(job.folder, f"pictures/step-{step:06d}.png")))
        assert sheet.pixels.shape == (4 * 274 + 4, 3 * 260 + 4, 3)
    told = {r.step for r in read_metrics(job.folder, until=6) if r.metric == "validation_total"}
    assert told == {3, 6}
    assert painters.load_painter("tiny", store).styles == ("stripes", "checks")


def test_equal_requests_end_with_equal_bytes(
    material: Material, whole: bytes, tmp_path: Path
) -> None:
    assert _trained(_job(material, str(tmp_path))) == whole


class Killed(BaseException):
    """Stands for a kill: nothing catches it, and nothing is saved because of it."""


def _at_step(
    wanted: int, action: Callable[[], None]
) -> Callable[[style_training.Illustrated, int, int, int], Batch]:
    plain = style_training.Illustrated.batch

    def batch(self: style_training.Illustrated, step: int, rank: int, processes: int) -> Batch:
        if step == wanted:
            action()
        return plain(self, step, rank, processes)

    return batch


def test_killed_and_stopped_it_goes_on_and_ends_with_the_same_bytes(
    material: Material, whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, progress = _job(material, str(tmp_path)), TrainingProgress()

    def kill() -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(style_training.Illustrated, "batch", _at_step(3, kill))
        with pytest.raises(Killed):
            style_training.train(job, TrainingProgress())
        patch.setattr(style_training.Illustrated, "batch", _at_step(4, progress.stop.set))
        with pytest.raises(StoppedError, match="the same command goes on"):
            style_training.train(job, progress)
    assert 0 < progress.step < TRAINING.steps
    assert _trained(job) == whole


def test_another_seed_style_content_or_start_is_another_run(
    material: Material, whole: bytes, tmp_path: Path
) -> None:
    photographs, styles, _ = material
    start = str(tmp_path / "start.safetensors")
    storage.write(start, whole)
    more = str(tmp_path / "more")
    for k in range(6):
        storage.write(f"{more}/{k}.png", good_image(k))
    jobs = [
        _job(material, str(tmp_path)),
        _job(material, str(tmp_path), training=replace(TRAINING, seed=1)),
        _job(material, str(tmp_path), styles=styles[:1]),
        _job(material, str(tmp_path), styles=(f"other={styles[0]}", styles[1])),
        _job(material, str(tmp_path), dataset=more),
        _job(material, str(tmp_path), start=start),
    ]
    assert len({job.run for job in jobs}) == len(jobs)
    assert _job(material, str(tmp_path / "elsewhere"), name="other").run == jobs[0].run
    assert photographs == jobs[0].request.dataset


def test_a_style_is_added_and_the_old_ones_paint_the_same_bytes(
    material: Material, whole: bytes, tmp_path: Path
) -> None:
    start, registry = str(tmp_path / "start.safetensors"), str(tmp_path)
    storage.write(start, whole)
    new = f"dark={material[1][0]}"
    training = replace(TRAINING, norms_only=True, steps=24, learning_rate=0.02)
    job = _job(material, registry, start=start, styles=(new,), training=training)
    assert job.config.styles == ("stripes", "checks", "dark")
    _trained(job)
    trained.publish(style_training.training_run(job))
    old, made = painters.load_painter(start, "").network, painters.load_painter("tiny", registry)
    pixels = smooth_noise(5, 48, 48)
    for name in ("stripes", "checks"):
        before = paint(old, pixels, blend_weights(old.config.styles, [(name, 1.0)]))
        after = paint(made.network, pixels, blend_weights(made.styles, [(name, 1.0)]))
        assert np.array_equal(before, after)
    state = made.network.state_dict()
    assert torch.equal(state["last.weight"], old.state_dict()["last.weight"])
    rows = [r for r in read_metrics(job.folder, until=24) if r.metric == "validation_style"]
    assert rows[-1].value < 0.99 * rows[0].value


def test_going_on_with_all_weights_keeps_the_rows_of_styles_it_knows(
    material: Material, whole: bytes, tmp_path: Path
) -> None:
    start = str(tmp_path / "start.safetensors")
    storage.write(start, whole)
    styles = (material[1][1], f"new={material[1][0]}")
    job = _job(material, str(tmp_path), start=start, styles=styles)
    assert job.config.styles == ("checks", "new")
    first = style_training._first_network(job).state_dict()
    old = painters.load_painter(start, "").network.state_dict()
    assert torch.equal(first["body.0.scale.gain"][0], old["body.0.scale.gain"][1])


def test_a_damaged_photograph_is_left_out_and_told(
    material: Material, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "mixed"
    for k in range(8):
        storage.write(f"{folder}/{k}.png", good_image(2 * k))
    split = split_photographs(str(folder))
    storage.write(split.training[1], b"no picture")
    storage.write(split.held_out[0], good_image(0)[:60])
    with caplog.at_level(logging.WARNING):
        _trained(_job(material, str(tmp_path), dataset=str(folder)))
    told = "\n".join(record.getMessage() for record in caplog.records)
    assert "1 of 4 photographs are left out" in told
    assert told.count("is left out: ") == 2
    for uri in split.training:
        storage.write(uri, b"no picture")
    with pytest.raises(RequestError, match="not one of 4 photographs can be read"):
        _trained(_job(material, str(tmp_path), dataset=str(folder)))


class TestPhotographs:
    """What is held out, and what is staged."""

    def test_what_is_held_out_is_a_tenth_at_least_4_at_most_16_and_stays_so(self) -> None:
        place = "memory://photographs-to-split"
        counts = {}
        for k in range(200):
            storage.write(f"{place}/{k:03d}.png", b"x")
            if k + 1 in (5, 50, 60, 200):
                split = split_photographs(place)
                counts[k + 1] = len(split.held_out)
                assert not set(split.held_out) & set(split.training)
                assert len(split.training) + len(split.held_out) == k + 1
        assert counts == {5: 4, 50: 5, 60: 6, 200: 16}
        assert split_photographs(place) == split

    def test_an_edited_photograph_makes_another_digest(self, tmp_path: Path) -> None:
        for k in range(8):
            storage.write(f"{tmp_path}/{k}.png", good_image(0))
        before = split_photographs(str(tmp_path))
        storage.write(before.training[0], good_image(2))
        after = split_photographs(str(tmp_path))
        assert after.digest != before.digest
        assert after.held_out_digest == before.held_out_digest

    def test_staged_ones_are_those_of_the_collection_at_their_side(self, tmp_path: Path) -> None:
        uris = [f"{tmp_path}/in/{k}.png" for k in range(3)]
        for k, uri in enumerate(uris):
            storage.write(uri, good_image(2 * k, (80 + k, 50)))
        progress = TrainingProgress()
        staged = stage_photographs(uris, tmp_path / "staged", side=50, stop=progress.stop)
        assert [p.shape for p in staged] == [(50, 80 + k, 3) for k in range(3)]
        for uri, pixels in zip(uris, staged, strict=True):
            assert np.array_equal(decode(storage.read(uri)).pixels, pixels)
        progress.stop.set()
        with pytest.raises(StoppedError, match="nothing was trained yet"):
            stage_photographs(uris, tmp_path / "again", side=50, stop=progress.stop)


def test_styles_are_named_after_their_files_or_as_they_are_told(material: Material) -> None:
    stripes, checks = material[1]
    named = read_styles([stripes, f"my-checks={checks}"])
    assert [style.name for style in named] == ["stripes", "my-checks"]
    assert len({style.digest for style in named}) == 2


def test_a_wrong_request_is_one_sentence(material: Material, whole: bytes, tmp_path: Path) -> None:
    photographs, styles, _ = material
    start, text = str(tmp_path / "start.safetensors"), str(tmp_path / "words.jpg")
    storage.write(start, whole)
    storage.write(text, b"these are words")
    few = str(tmp_path / "few")
    storage.write(f"{few}/0.png", good_image(0))
    adding = replace(TRAINING, norms_only=True)
    wrong: list[tuple[dict[str, object], str]] = [
        ({"styles": ()}, "at least one style is needed"),
        ({"styles": (text,)}, "the style .*words.jpg is no picture to paint like"),
        ({"styles": (str(tmp_path / "gone.png"),)}, "there is no style picture at .*gone.png"),
        ({"styles": (styles[0], f"stripes={styles[1]}")}, "two styles are named 'stripes'"),
        ({"dataset": few}, "has 1 pictures; a training wants at least 5"),
        ({"features": str(tmp_path / "none")}, "there are no feature weights at"),
        ({"training": adding}, "norms_only adds a style to a painter: name it with --from"),
        ({"training": adding, "start": start}, "has a style 'stripes' already"),
        ({"start": "nobody"}, "no painter named 'nobody'|no style model named 'nobody'"),
        ({"name": "a/b"}, "a/b"),
    ]
    for changes, sentence in wrong:
        with pytest.raises(ValueError, match=sentence):
            _job(material, str(tmp_path), **changes)
    with pytest.raises(storage.NotFoundError):
        _job(material, str(tmp_path), dataset=f"{photographs}/nowhere")
    assert not storage.exists(storage.join(str(tmp_path), "style/tiny/champion.json"))


def test_the_newest_is_promoted_only_if_its_objective_is_lower(
    material: Material, tmp_path: Path
) -> None:
    registry = str(tmp_path)

    def publish(**changes: object) -> float:
        training = replace(TRAINING, **changes)  # type: ignore[arg-type]
        job = _job(material, registry, training=training)
        _trained(job)
        return versions.read_record(trained.publish(style_training.training_run(job))).metrics[
            "validation_total"
        ]

    better, worse = publish(steps=20, learning_rate=0.01), publish(steps=1)
    assert better < worse
    kept = change_champion(registry, "style", "tiny")
    assert kept.startswith("tiny: version 1 stays champion, validation_total of tiny@2 is ")
    assert kept.endswith("--version 2 promotes it all the same")
    assert "is now version 2 (was 1)" in change_champion(registry, "style", "tiny", version=2)
    publish(steps=20, learning_rate=0.012)
    assert "is now version 3 (was 2)" in change_champion(registry, "style", "tiny")
    assert "version 3 is champion already" in change_champion(registry, "style", "tiny")
    publish(steps=1, loss=replace(TRAINING.loss, style_weight=1.0))
    with pytest.raises(RequestError, match="judged by other styles, photographs or losses"):
        change_champion(registry, "style", "tiny")
    assert "is now version 2" in change_champion(registry, "style", "tiny", rollback=True)


def test_features_are_not_trained(material: Material, tmp_path: Path) -> None:
    problem = style_training._problem(_job(material, str(tmp_path)), tmp_path, TrainingProgress())
    assert isinstance(problem.features, FeatureNetwork)
    assert not any(p.requires_grad for p in problem.features.parameters())
    assert len(problem.photographs) == 4
    assert len(problem.validation) == 4
