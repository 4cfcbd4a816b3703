"""The super-resolution training as a job: the same request is the same run, killed or not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from models.images import Picture, encode
from models.losses import SrLossConfig
from models.sr_training import SrTraining
from tasks import sr_dataset, sr_training, storage, trained, versions
from tasks.failures import RequestError
from tasks.launching import train_in_processes
from tasks.runs import RunProgress
from tasks.sr_request import SrDatasetRequest
from tasks.sr_training import SrTrainingJob, TrainSrRequest
from tasks.training import TrainingProgress, read_metrics

ROOT = Path(__file__).resolve().parents[2]
TRAINING = SrTraining(
    network="mill-small",
    steps=16,
    batch_size=4,
    patch=12,
    expansion=2,
    validate_every=8,
    checkpoint_every=3,
    warmup=2,
)


def make_dataset(folder: str, count: int = 24) -> str:
    """A dataset of noise with some structure, large enough for every split to have a picture."""
    rng = np.random.default_rng(1)
    for k in range(count):
        rough = np.kron(rng.integers(0, 256, (8, 8, 3)), np.ones((12, 12, 1)))
        pixels = np.clip(rough + rng.normal(0, 8, rough.shape), 0, 255).astype(np.uint8)
        storage.write(
            storage.join(folder, f"in/{k:02d}.png"), encode(Picture(pixels=pixels), "png")
        )
    request = SrDatasetRequest(
        source=storage.join(folder, "in"),
        destination=storage.join(folder, "dataset"),
        scale=2,
        validation=0.2,
        test=0.2,
    )
    job, progress = sr_dataset.open_job(request), RunProgress()
    sr_dataset.begin(job)
    for shard in sr_dataset.plan(job, progress):
        sr_dataset.run_shard(job, shard, progress)
    sr_dataset.finish(job, progress)
    return request.destination


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_dataset(str(tmp_path_factory.mktemp("sr")))


def _job(dataset: str, registry: str, **changes: object) -> SrTrainingJob:
    settings = {"training": TRAINING, "name": "tiny", **changes}
    return sr_training.open_job(
        TrainSrRequest(dataset=dataset, registry=registry, **settings)  # type: ignore[arg-type]
    )


def _trained(job: SrTrainingJob) -> bytes:
    sr_training.train(job, TrainingProgress())
    return storage.read(storage.join(job.folder, "model.safetensors"))


@pytest.fixture(scope="module")
def whole(dataset: str, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The weights of a training that nobody interrupted."""
    return _trained(_job(dataset, str(tmp_path_factory.mktemp("whole"))))


def test_a_training_ends_in_a_version_and_is_not_done_twice(dataset: str, store: str) -> None:
    job = _job(dataset, store)
    assert trained.published(sr_training.training_run(job)) is None
    _trained(job)
    made = trained.publish(sr_training.training_run(job))
    record = versions.read_record(made)
    assert (made.ref, record.dataset_digest) == ("tiny@1", job.dataset.digest)
    assert record.metrics["validation_psnr_y"] > 0
    current = versions.champion(store, "sr", "tiny")
    assert current is not None
    assert current.version == made
    assert trained.published(sr_training.training_run(_job(dataset, store))) == made
    assert trained.publish(sr_training.training_run(job)) == made


def test_another_seed_dataset_or_start_is_another_run(dataset: str, tmp_path: Path) -> None:
    registry = str(tmp_path)
    seeded = SrTraining(**{**TRAINING.__dict__, "seed": 1})
    runs = {
        _job(dataset, registry).run,
        _job(dataset, registry, training=seeded).run,
        _job(dataset, registry, start="mill-x2").run,
    }
    assert len(runs) == 3
    assert _job(dataset, registry, name="other").run in runs


def test_going_on_from_a_model_takes_its_network(dataset: str, tmp_path: Path) -> None:
    training = SrTraining(**{**TRAINING.__dict__, "network": None})
    job = _job(dataset, str(tmp_path), training=training, start="mill-x3")
    assert job.architecture == "mill"
    assert job.config["scale"] == 2
    wrong = SrTraining(**{**TRAINING.__dict__, "network": "srcnn-9-1-5"})
    with pytest.raises(RequestError, match="is a mill, srcnn-9-1-5 a srcnn"):
        _job(dataset, str(tmp_path), training=wrong, start="mill-x3")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"processes": 0}, "processes must be at least 1, got 0"),
        ({"training": SrTraining(network="magic")}, "a network must be one of .*, got 'magic'"),
        ({"name": "a/b"}, "a/b"),
        ({"start": "bicubic"}, "bicubic has no weights"),
    ],
)
def test_a_wrong_request_is_one_sentence(
    dataset: str, tmp_path: Path, changes: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        _job(dataset, str(tmp_path), **changes)


def test_every_loss_trains(dataset: str, tmp_path: Path) -> None:
    for pixel in ("mse", "charbonnier"):
        loss = SrLossConfig(pixel=pixel, tv_weight=0.1)  # type: ignore[arg-type]
        short = SrTraining(**{**TRAINING.__dict__, "loss": loss, "steps": 2, "finish": 0.5})
        job = _job(dataset, str(tmp_path), training=short)
        _trained(job)
        names = {r.metric for r in read_metrics(job.folder, until=2)}
        assert {"total", "pixel"} <= names


SCRIPT = """
import sys
from tests.tasks.test_sr_training import _job
from tasks import sr_training
from tasks.training import TrainingProgress
sr_training.train(_job(sys.argv[1], sys.argv[2]), TrainingProgress())
"""


@pytest.mark.slow
def test_a_process_killed_outright_ends_with_the_same_weights(
    dataset: str, whole: bytes, tmp_path: Path
) -> None:
    job = _job(dataset, str(tmp_path))
    checkpoint = Path(job.folder) / "checkpoint.pt"
    command = [sys.executable, "-c", SCRIPT, dataset, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT) as process:
        while not checkpoint.exists() and process.poll() is None:
            time.sleep(0.01)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert _trained(job) == whole


@pytest.mark.slow
def test_two_processes_with_half_a_batch_each_give_the_curve_of_one(
    dataset: str, whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    one, two = (
        _job(dataset, str(tmp_path / name), processes=count)
        for name, count in (("one", 1), ("two", 2))
    )
    _trained(one)
    train_in_processes(two, TrainingProgress())
    curves = [
        [r.value for r in read_metrics(job.folder, until=16) if r.metric == "validation_psnr_y"]
        for job in (one, two)
    ]
    assert len(curves[0]) == 2
    np.testing.assert_allclose(curves[1], curves[0], atol=2e-3)
