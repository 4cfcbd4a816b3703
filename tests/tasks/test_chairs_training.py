"""The generator's training as a job: the same request is the same run, stopped or not."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.chair_networks import ChairGenerator
from models.chair_training import ChairTraining
from models.checkpoints import load_network
from models.training import Batch
from tasks import chair_models, chairs_training, storage, trained, versions
from tasks.chairs_reading import open_chairs_dataset
from tasks.chairs_training import ChairsTrainingJob, TrainChairsRequest, open_job, pictures
from tasks.failures import RequestError
from tasks.registry import ModelError
from tasks.runs import StoppedError
from tasks.sr_pairs import DatasetError
from tasks.training import TrainingProgress, read_metrics
from tests.chairs import TINY, chairs_dataset_at, checkpoint_at

TRAINING = ChairTraining(
    network=replace(TINY, classes=99), steps=6, batch_size=4, warmup=1, validate_every=3,
    checkpoint_every=2,
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """The loop takes all processors, which tiny maps gain nothing from and a busy machine less."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tasks.training.processors", lambda: 1)
        yield


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    return chairs_dataset_at(str(tmp_path_factory.mktemp("chairs") / "made"))


def job_of(dataset: str, registry: str, **changes: Any) -> ChairsTrainingJob:
    request: dict[str, Any] = {"name": "tiny", "training": TRAINING, **changes}
    return open_job(TrainChairsRequest(dataset=dataset, registry=registry, **request))


def bytes_trained(job: ChairsTrainingJob) -> bytes:
    chairs_training.train(job, TrainingProgress())
    return storage.read(storage.join(job.folder, "model.safetensors"))


@pytest.fixture(scope="module")
def whole(dataset: str, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The weights of a training that nobody interrupted."""
    return bytes_trained(job_of(dataset, str(tmp_path_factory.mktemp("whole"))))


def test_a_training_ends_in_a_version_and_is_not_done_twice(dataset: str, store: str) -> None:
    job = job_of(dataset, store)
    assert trained.published(chairs_training.training_run(job)) is None
    bytes_trained(job)
    made = trained.publish(chairs_training.training_run(job))
    record = versions.read_record(made)
    assert (made.ref, record.dataset_digest) == ("tiny@1", open_chairs_dataset(dataset).digest)
    assert (record.config["classes"], record.config["widths"]) == (3, [4])
    for name in ("rgb_mse", "masked_rgb_mse", "mask_iou"):
        assert f"validation_{name}" in record.metrics
        assert f"validation_nearest_{name}" in record.metrics
    current = versions.champion(store, "chairs", "tiny")
    assert current is not None
    assert current.version == made
    assert trained.published(chairs_training.training_run(job_of(dataset, store))) == made
    line = trained.summarise(chairs_training.training_run(job), made, None).closing_line()
    assert line.startswith("tiny@1: 6 steps, 3 chairs, on held-out views mask IoU ")
    told = {r.step for r in read_metrics(job.folder, until=6) if r.metric == "validation_mask_iou"}
    assert told == {3, 6}
    assert chair_models.load_generator("tiny", store).network.config == TINY


def test_a_stopped_training_goes_on_and_ends_with_the_same_weights(
    dataset: str, tmp_path: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, progress = job_of(dataset, str(tmp_path)), TrainingProgress()
    real = chairs_training.ChairProblem.batch

    def stopping(self: Any, step: int, rank: int, processes: int) -> Batch:
        if step == 4:
            progress.stop.set()
        return real(self, step, rank, processes)

    with monkeypatch.context() as patch:
        patch.setattr(chairs_training.ChairProblem, "batch", stopping)
        with pytest.raises(StoppedError, match="stopped after step"):
            chairs_training.train(job, progress)
    assert 0 < progress.step < 6
    assert bytes_trained(job_of(dataset, str(tmp_path))) == whole


def test_other_settings_are_another_run(dataset: str, tmp_path: Path) -> None:
    base = job_of(dataset, str(tmp_path))
    start = checkpoint_at(str(tmp_path))
    others = [
        job_of(dataset, str(tmp_path), training=replace(TRAINING, seed=1)),
        job_of(dataset, str(tmp_path), training=replace(TRAINING, azimuths=2)),
        job_of(dataset, str(tmp_path), training=replace(TRAINING, chairs=2)),
        job_of(dataset, str(tmp_path), start=start),
    ]
    assert len({base.run, *(job.run for job in others)}) == 5


def test_a_training_goes_on_from_a_generator_of_the_same_sizes(
    dataset: str, tmp_path: Path
) -> None:
    start = checkpoint_at(str(tmp_path), seed=5)
    still = replace(TRAINING, steps=1, learning_rate=1e-9, warmup=1)
    data = bytes_trained(job_of(dataset, str(tmp_path / "r"), start=start, training=still))
    before, after = (
        load_network(d, architecture="chair_generator", name="x")
        for d in (storage.read(start), data)
    )
    assert isinstance(after, ChairGenerator)
    for old, new in zip(before.parameters(), after.parameters(), strict=True):
        assert (old - new).abs().max() < 1e-6
    wider = replace(TRAINING, network=replace(TINY, trunk=16))
    with pytest.raises(RequestError, match=r"has network.trunk 12, the settings want 16"):
        job_of(dataset, str(tmp_path / "r"), start=start, training=wider)


def test_only_the_first_chairs_and_few_azimuths_are_seen(dataset: str, tmp_path: Path) -> None:
    own = open_chairs_dataset(dataset)
    views = pictures(own, "train", chairs=2, size=16)
    assert set(views.chair.tolist()) == {0, 1}
    assert views.rgb.shape[1:] == (3, 16, 16)
    training = replace(TRAINING, chairs=2, azimuths=1)
    assert job_of(dataset, str(tmp_path), training=training).config.classes == 2
    assert set(training.seen(views).azimuth.tolist()) == {0.0}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"chairs": 4}, "chairs must be at most the dataset's 3, got 4"),
        ({"azimuths": 9}, "azimuths must be at most the dataset's 4, got 9"),
        (
            {"network": replace(TINY, size=64, widths=(4, 4))},
            "network.size must divide the dataset's 32 pixels, got 64",
        ),
    ],
)
def test_settings_must_fit_the_dataset(
    dataset: str, tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(RequestError, match=sentence):
        job_of(dataset, str(tmp_path), training=replace(TRAINING, **changes))
    assert not list(tmp_path.iterdir())


def test_what_is_not_there_is_said(dataset: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is no dataset"):
        job_of(str(tmp_path), str(tmp_path))
    with pytest.raises(ModelError, match="there is no checkpoint at"):
        job_of(dataset, str(tmp_path), start=str(tmp_path / "x.safetensors"))
    unsplit = chairs_dataset_at(str(tmp_path / "unsplit"), validation=0.0, chairs=1)
    with pytest.raises(RequestError, match="has no view in its validation split"):
        job_of(unsplit, str(tmp_path))
