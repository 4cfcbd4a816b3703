"""A pixel model's training and evaluation as jobs: the same request is the same run."""

import math
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.cards import Card
from models.checkpoints import load_network, write_checkpoint
from models.images import read_header
from models.pixel_likelihood import mean_nats
from models.pixel_training import PixelTraining
from models.pixelcnn import GatedPixelCnn, GatedPixelCnnConfig, pixelcnn_init_
from models.training import Batch
from tasks import pixels_training, storage, tables, trained, versions
from tasks.failures import RequestError
from tasks.pixel_models import load_pixel_model
from tasks.pixels_dataset_reading import open_pixels_dataset, read_pixels
from tasks.pixels_dataset_tables import PIXEL_SCORES
from tasks.pixels_evaluation import EvaluatePixelsRequest, check_request, evaluate_pixels
from tasks.pixels_training_request import PixelsTrainingJob, TrainPixelsRequest, open_job
from tasks.registry import ModelError
from tasks.runs import StoppedError
from tasks.sr_pairs import DatasetError
from tasks.training import TrainingProgress, read_metrics
from tests.pixels import built, npz, strokes, strokes_dataset_at

TRAINING = PixelTraining(
    network="digits", steps=6, batch_size=4, warmup=1, validate_every=3, checkpoint_every=2,
    validation_limit=8,
)  # fmt: skip
TINY = GatedPixelCnnConfig(
    channels=1, levels=2, width=4, layers=2, first=3, kernel=3, head_width=4, classes=2
)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """The loop takes all processors, which tiny maps gain nothing from and a busy machine less."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tasks.training.processors", lambda: 1)
        yield


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    return strokes_dataset_at(str(tmp_path_factory.mktemp("pixels")))


def job_of(dataset: str, registry: str, **changes: Any) -> PixelsTrainingJob:
    request: dict[str, Any] = {"name": "tiny", "training": TRAINING, **changes}
    return open_job(TrainPixelsRequest(dataset=dataset, registry=registry, **request))


def bytes_trained(job: PixelsTrainingJob) -> bytes:
    pixels_training.train(job, TrainingProgress())
    return storage.read(storage.join(job.folder, "model.safetensors"))


def tiny_at(folder: str) -> str:
    """The URI of a small model's checkpoint, conditioned by two classes."""
    network = GatedPixelCnn(TINY)
    pixelcnn_init_(network, torch.Generator().manual_seed(1))
    for name, weight in network.named_parameters():
        if "label" in name or name.startswith("head_out"):
            torch.nn.init.normal_(weight, generator=torch.Generator().manual_seed(2))
    card = Card(architecture="gated_pixelcnn", config=asdict(TINY), metrics={})
    uri = storage.join(folder, "tiny.safetensors")
    storage.write(uri, write_checkpoint(network, card))
    return uri


def test_a_training_ends_in_a_version_and_is_not_done_twice(dataset: str, store: str) -> None:
    job = job_of(dataset, store)
    assert trained.published(pixels_training.training_run(job)) is None
    bytes_trained(job)
    made = trained.publish(pixels_training.training_run(job))
    record = versions.read_record(made)
    assert (made.ref, record.dataset_digest) == ("tiny@1", open_pixels_dataset(dataset).digest)
    shape = (record.config["channels"], record.config["levels"], record.config["classes"])
    assert (record.architecture, shape) == ("pixelcnn_pp", (1, 2, 0))
    nats = record.metrics["validation_nats"]
    assert record.metrics["validation_bits_per_dimension"] == pytest.approx(
        nats / (64 * math.log(2))
    )
    held = torch.from_numpy(read_pixels(open_pixels_dataset(dataset), "validation", limit=8).images)
    assert nats == pytest.approx(mean_nats(load_pixel_model("tiny", store).network, held), rel=1e-5)
    current = versions.champion(store, "pixels", "tiny")
    assert current is not None
    assert current.version == made
    assert trained.published(pixels_training.training_run(job_of(dataset, store))) == made
    line = trained.summarise(pixels_training.training_run(job), made, None).closing_line()
    assert line.startswith(f"tiny@1: 6 steps, {nats:.2f} nats a picture, ")
    told = {r.step for r in read_metrics(job.folder, until=6) if r.metric == "validation_nats"}
    assert told == {3, 6}
    samples = pixels_training.last_samples(job)
    assert samples is not None
    assert read_header(samples).width == 8 * (2 * 8 + 2) + 2


def test_a_stopped_training_goes_on_and_ends_with_the_same_weights(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = bytes_trained(job_of(dataset, str(tmp_path / "whole")))
    job, progress = job_of(dataset, str(tmp_path)), TrainingProgress()
    real = pixels_training.PixelProblem.batch

    def stopping(self: Any, step: int, rank: int, processes: int) -> Batch:
        if step == 4:
            progress.stop.set()
        return real(self, step, rank, processes)

    with monkeypatch.context() as patch:
        patch.setattr(pixels_training.PixelProblem, "batch", stopping)
        with pytest.raises(StoppedError, match="stopped after step"):
            pixels_training.train(job, progress)
    assert 0 < progress.step < 6
    assert bytes_trained(job_of(dataset, str(tmp_path))) == whole


def test_other_settings_are_another_run(dataset: str, tmp_path: Path) -> None:
    conditional = replace(TRAINING, network=None, conditional=True)
    jobs = [
        job_of(dataset, str(tmp_path)),
        job_of(dataset, str(tmp_path), training=replace(TRAINING, seed=1)),
        job_of(dataset, str(tmp_path), training=replace(TRAINING, network="pixelcnn-mnist")),
        job_of(dataset, str(tmp_path), training=replace(TRAINING, conditional=True)),
        job_of(dataset, str(tmp_path), training=conditional, start=tiny_at(str(tmp_path))),
    ]
    assert len({job.run for job in jobs}) == 5


def test_a_training_goes_on_from_a_model_of_such_pictures(dataset: str, tmp_path: Path) -> None:
    start, registry = tiny_at(str(tmp_path)), str(tmp_path / "r")
    still = replace(TRAINING, network=None, conditional=True, steps=1, learning_rate=1e-9, warmup=1)
    data = bytes_trained(job_of(dataset, registry, start=start, training=still))
    before, after = (
        load_network(d, architecture="gated_pixelcnn", name="x")
        for d in (storage.read(start), data)
    )
    for old, new in zip(before.parameters(), after.parameters(), strict=True):
        assert (old - new).abs().max() < 1e-6
    with pytest.raises(RequestError, match="is of 1 channels, 2 levels and 2 classes"):
        job_of(dataset, registry, start=start, training=replace(still, conditional=False))
    with pytest.raises(RequestError, match="of other sizes than digits: cannot go on from it"):
        job_of(dataset, registry, start=start, training=replace(still, network="digits"))


def test_a_crop_is_what_the_network_is_shown(dataset: str, tmp_path: Path) -> None:
    job = job_of(dataset, str(tmp_path), training=replace(TRAINING, crop=4, steps=1))
    assert (job.height, job.width) == (4, 4)
    bytes_trained(job)
    nats = [r.value for r in read_metrics(job.folder, until=1) if r.metric == "validation_nats"]
    assert nats
    assert max(nats) < 16  # of 4 x 4 pixels: the uniform model has 11 of these, of 8 x 8 it has 44


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"network": None}, "network must be named, e.g. --set network=digits, or --from a model"),
        ({"network": "mill"}, "network must be one of digits, patches, .*, got 'mill'"),
        ({"network": "pixelcnn", "conditional": True}, "pixelcnn cannot be conditioned"),
        ({"crop": 9}, "crop must be at most the pictures' 8, got 9"),
        ({"crop": 6}, "heights that are multiples of 2 and widths of 4, got 6 and 6"),
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
    storage.write(str(tmp_path / "a.npz"), npz(train=strokes(9)))
    built(str(tmp_path / "a.npz"), str(tmp_path / "out"), validation=0.0, test=0.0)
    with pytest.raises(RequestError, match="has no picture in its validation split"):
        job_of(str(tmp_path / "out"), str(tmp_path))


def test_an_evaluation_tells_each_picture_and_the_means(dataset: str, tmp_path: Path) -> None:
    model, output = tiny_at(str(tmp_path)), str(tmp_path / "out")
    report = evaluate_pixels(EvaluatePixelsRequest(model=model, dataset=dataset, output=output))
    held = read_pixels(open_pixels_dataset(dataset), "test")
    assert held.labels is not None
    images, labels = torch.from_numpy(held.images), torch.from_numpy(held.labels)
    network = load_pixel_model(model).network
    assert report.nats[report.model] == pytest.approx(mean_nats(network, images, labels), rel=1e-6)
    assert report.bits["uniform"] == pytest.approx(1)
    assert report.nats["uniform"] == pytest.approx(64 * math.log(2))
    assert report.nats["histogram of each channel"] < report.nats["uniform"]
    table = tables.from_parquet(storage.read(f"{output}/pictures.parquet"))
    assert table.schema.equals(PIXEL_SCORES)
    assert table["source"].to_pylist() == list(held.sources)
    assert table["label"].to_pylist() == held.labels.tolist()
    own = np.array(table["nats"].to_pylist())
    assert own.mean() == pytest.approx(report.nats[report.model])
    np.testing.assert_allclose(table["bits_per_dimension"], own / (64 * math.log(2)))
    metrics = tables.from_parquet(storage.read(f"{output}/metrics.parquet")).to_pylist()
    assert {m["metric"]: m["value"] for m in metrics}["nats"] == report.nats[report.model]
    assert report.closing_line().startswith(f"12 test pictures by {report.model}: ")


def test_what_cannot_be_judged_is_refused(dataset: str, tmp_path: Path) -> None:
    model = tiny_at(str(tmp_path))
    gray = npz(train=strokes(9) * 9, test=strokes(3))
    storage.write(str(tmp_path / "gray.npz"), gray)
    built(str(tmp_path / "gray.npz"), str(tmp_path / "gray"))
    bits = npz(train=np.packbits(strokes(9).reshape(9, -1), axis=1))
    storage.write(str(tmp_path / "bits.npz"), bits)
    built(str(tmp_path / "bits.npz"), str(tmp_path / "bits"), test=0.0)
    for changes, sentence in (
        ({"limit": 0}, r"limit must be 1 to 1e\+09, got 0"),
        ({"output": f"{dataset}/x"}, "the output must not lie inside the dataset"),
        ({"dataset": str(tmp_path / "gray")}, "knows pictures of 1 channels and 2 levels"),
        ({"dataset": str(tmp_path / "bits")}, "has no pictures of the split 'test'"),
        ({"dataset": str(tmp_path / "bits"), "split": "train"}, "conditioned by 2 classes"),
    ):
        request = EvaluatePixelsRequest(**{"model": model, "dataset": dataset, **changes})  # type: ignore[arg-type]
        with pytest.raises(RequestError, match=sentence):
            check_request(request)
