"""Super-resolution before classification: labels, variants and what is counted."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from models.classifiers import SmallClassifier, SmallClassifierConfig, write_classifier
from models.pixels import Pixels
from tasks import storage, tables
from tasks.classification import (
    Classification,
    ClassificationRequest,
    accuracies,
    check_request,
    evaluate_classification,
)
from tasks.classifiers import LoadedClassifier, load_classifier
from tasks.failures import RequestError
from tasks.labelled import read_labelled
from tasks.registry import ModelError, load_model
from tests import collections as c
from tests.benchmarks.classification import labelled_parquet
from tests.corpus import saved, smooth_noise

CLASSES = ("dark", "light")


def picture(label: str, seed: int, size: int = 16) -> bytes:
    """Natural pixels below or above the middle."""
    levels = smooth_noise(seed, size, size) // 3 + (0 if label == "dark" else 150)
    return saved(Image.fromarray(levels.astype(np.uint8)), "PNG")


LABELLED = {f"{label}/{i}.png": picture(label, i) for label in CLASSES for i in range(6)}


def brighter_than_half(pictures: Pixels) -> NDArray[np.int64]:
    return (pictures.mean((1, 2, 3)) > 127).astype(np.int64)


BY_BRIGHTNESS = LoadedClassifier(
    name="brightness", digest="b", classes=CLASSES, predict=brighter_than_half
)


def small_classifier(path: Path, classes: tuple[str, ...] = CLASSES) -> str:
    torch.manual_seed(0)
    network = SmallClassifier(SmallClassifierConfig(classes=classes, widths=(4, 8, 8)))
    path.write_bytes(write_classifier(network, {}))
    return str(path)


def parquet(path: Path, columns: dict[str, list[object]]) -> str:
    pq.write_table(pa.table(columns), path)
    return str(path)


def run_of(classifier: LoadedClassifier, *models: str) -> Classification:
    loaded = tuple(load_model(m, 2, "fp32") for m in ("bicubic", *models))
    return Classification(run="r", classifier=classifier, models=loaded, failed={})


class TestLabels:
    """Where a label comes from."""

    def test_a_folder_s_name_is_the_label_of_what_is_in_it(self, store: str) -> None:
        c.put(store, LABELLED | {"dark/deeper/x.jpg": b"", "light/notes.txt": b"x"})
        found = {s.source: s.label for s in read_labelled(storage.normalise(store))}
        assert len(found) == len(LABELLED) + 1
        for uri, label in found.items():
            assert label == uri.split("/")[-2]
        assert "deeper" in found.values()

    @pytest.mark.parametrize("column", ["image", "img"])
    @pytest.mark.parametrize("labels", [["dark", "light"], [0, 1]])
    def test_parquet_has_labels_by_name_or_number(
        self, tmp_path: Path, column: str, labels: list[object]
    ) -> None:
        images = [{"bytes": picture("dark", 0), "path": None}, {"bytes": b"", "path": "x"}]
        uri = parquet(tmp_path / "a.parquet", {column: list(images), "label": labels})
        first, second = read_labelled(uri)
        assert [first.label, second.label] == [str(label) for label in labels]
        assert first.load() == picture("dark", 0)
        with pytest.raises(ValueError, match="no image bytes"):
            second.load()

    def test_hugging_face_s_names_stand_for_the_numbers(self, store: str) -> None:
        data = labelled_parquet([picture("light", 1), picture("dark", 0)], [1, 0], CLASSES)
        c.put(store, {"data/test.parquet": data})
        for uri in (store, storage.join(store, "data/test.parquet")):
            assert [s.label for s in read_labelled(storage.normalise(uri))] == ["light", "dark"]

    @pytest.mark.parametrize(
        ("columns", "words"),
        [
            ({"image": [b"x"]}, "must have the columns image"),
            ({"label": [0]}, "must have the columns image"),
            ({"image": ["a.png"], "label": [0]}, "must be a struct of bytes and path, got string"),
        ],
    )
    def test_other_parquet_is_refused(
        self, tmp_path: Path, columns: dict[str, list[object]], words: str
    ) -> None:
        with pytest.raises(RequestError, match=words):
            list(read_labelled(parquet(tmp_path / "a.parquet", columns)))

    def test_a_classifier_knows_names_and_numbers_and_says_what_it_does_not(self) -> None:
        assert [BY_BRIGHTNESS.index(v) for v in ("dark", "light", "0", "1")] == [0, 1, 0, 1]
        for label in ("2", "-1", "red", ""):
            with pytest.raises(ModelError, match=f"knows no class '{label}'; it knows dark, light"):
                BY_BRIGHTNESS.index(label)


class TestCounting:
    """Rows for each picture and variant, and shares of them."""

    def test_every_variant_of_every_picture_is_one_row(self, tmp_path: Path) -> None:
        sizes = {"dark/large.png": picture("dark", 7, 31), "light/gray.png": saved(
            Image.fromarray(smooth_noise(8, 16, 16, 1)[..., 0] // 3 + 150), "PNG")}  # fmt: skip
        c.put(str(tmp_path), LABELLED | sizes | {"dark/bad.png": b"x"})
        run = run_of(BY_BRIGHTNESS, "mill-x2")
        rows = [row for batch in run.rows(read_labelled(str(tmp_path))) for row in batch]
        assert set(run.failed) == {str(tmp_path / "dark/bad.png")}
        assert {(r.source, r.variant) for r in rows} == {
            (str(tmp_path / name), variant)
            for name in LABELLED | sizes
            for variant in ("original", "bicubic", "mill-x2")
        }
        assert len(rows) == 3 * (len(LABELLED) + 2)
        assert all(r.correct and r.as_original and r.predicted == r.label for r in rows)
        digests = {r.variant: r.model_digest for r in rows}
        assert digests["original"] is None
        assert digests["mill-x2"] == load_model("mill-x2", 2, "fp32").digest

    def test_enlarged_pictures_are_of_the_original_s_size_and_differ(self, tmp_path: Path) -> None:
        shown: list[Pixels] = []

        def look(pictures: Pixels) -> NDArray[np.int64]:
            shown.append(pictures)
            return brighter_than_half(pictures)

        c.put(str(tmp_path), {"dark/a.png": picture("dark", 3, 17)})
        looking = LoadedClassifier(name="l", digest="d", classes=CLASSES, predict=look)
        list(run_of(looking, "mill-x2").rows(read_labelled(str(tmp_path))))
        assert [p.shape for p in shown] == [(1, 16, 16, 3)] * 3
        original, bicubic, mill = (p.astype(float) for p in shown)
        assert 0 < abs(mill - original).mean() < abs(bicubic - original).mean()

    def test_accuracy_and_agreement_are_shares_of_the_pictures(self) -> None:
        def row(variant: str, correct: bool, as_original: bool) -> tables.ClassificationRow:
            return tables.ClassificationRow(
                source="s", label="a", variant=variant, model_digest=None, predicted="a",
                correct=correct, as_original=as_original, scale=2, classifier="c", run="r", at=NOW,
            )  # fmt: skip

        from datetime import UTC, datetime

        NOW = datetime.now(UTC)  # noqa: N806
        rows = [row("original", True, True)] * 8 + [row("original", False, True)] * 2
        rows += [row("m", i < 5, i % 2 == 0) for i in range(10)]
        original, model = accuracies(rows)
        assert (original.variant, original.accuracy, original.agreement) == ("original", 0.8, 1.0)
        assert (original.low, original.high) == (
            pytest.approx(0.4902, abs=1e-4),
            pytest.approx(0.9433, abs=1e-4),
        )
        assert (model.accuracy, model.agreement) == (0.5, 0.5)


class TestTheJob:
    """From a request to rows in a store."""

    def test_it_leaves_rows_and_metrics(self, store: str, tmp_path: Path) -> None:
        labelled, output = storage.join(store, "in"), storage.join(store, "out")
        c.put(labelled, LABELLED | {"light/bad.png": b"text"})
        report = evaluate_classification(
            ClassificationRequest(
                labelled=labelled,
                classifier=small_classifier(tmp_path / "c.safetensors"),
                models=("mill-x2",),
                output=output,
            )
        )
        assert (report.pictures, len(report.failed)) == (len(LABELLED), 1)
        assert [v.variant for v in report.variants] == ["original", "bicubic", "mill-x2"]
        assert report.variants[0].agreement == 1
        rows = tables.from_parquet(storage.read(storage.join(output, "results.parquet")))
        assert rows.schema.equals(tables.CLASSIFICATIONS)
        assert rows.num_rows == 3 * len(LABELLED)
        metrics = tables.from_parquet(storage.read(storage.join(output, "metrics.parquet")))
        kept = {r["metric"]: r["value"] for r in metrics.to_pylist()}
        assert kept["bicubic/accuracy"] == report.variants[1].accuracy
        assert "12 images classified" in report.closing_line()

    def test_folders_and_parquet_give_the_same_answers(self, tmp_path: Path) -> None:
        classifier = small_classifier(tmp_path / "c.safetensors")
        c.put(str(tmp_path / "folders"), LABELLED)
        names = list(LABELLED)
        labels = [CLASSES.index(name.partition("/")[0]) for name in names]
        data = labelled_parquet([LABELLED[name] for name in names], labels, CLASSES)
        (tmp_path / "all.parquet").write_bytes(data)
        found = [
            evaluate_classification(ClassificationRequest(labelled=uri, classifier=classifier))
            for uri in (str(tmp_path / "folders"), str(tmp_path / "all.parquet"))
        ]
        assert found[0].variants == found[1].variants

    def test_a_label_that_the_classifier_does_not_know_ends_it(self, tmp_path: Path) -> None:
        c.put(str(tmp_path / "in"), LABELLED)
        classifier = small_classifier(tmp_path / "c.safetensors", ("cat", "dog"))
        request = ClassificationRequest(labelled=str(tmp_path / "in"), classifier=classifier)
        with pytest.raises(ModelError, match=r"knows no class '(dark|light)'; it knows cat, dog"):
            evaluate_classification(request)

    def test_nothing_to_classify_is_one_sentence(self, tmp_path: Path) -> None:
        classifier = small_classifier(tmp_path / "c.safetensors")
        c.put(str(tmp_path / "in"), {"dark/bad.png": b"", "dark/notes.txt": b"x"})
        request = ClassificationRequest(labelled=str(tmp_path / "in"), classifier=classifier)
        with pytest.raises(ValueError, match=r"nothing of .* was classified: "):
            evaluate_classification(request)

    @pytest.mark.parametrize(
        ("options", "error", "words"),
        [
            ({"scale": 1}, RequestError, "scale must be"),
            ({"limit": 0}, RequestError, "limit must be at least 1"),
            ({"models": ("mill-x4",)}, ModelError, "enlarges 4 times, got scale 2"),
            ({"classifier": "gone.safetensors"}, ModelError, "no classifier at gone.safetensors"),
            ({"labelled": "nowhere"}, storage.NotFoundError, "nowhere"),
        ],
    )
    def test_a_wrong_request_is_refused_before_anything_is_done(
        self, tmp_path: Path, options: dict[str, object], error: type[Exception], words: str
    ) -> None:
        c.put(str(tmp_path / "in"), LABELLED)
        given = {
            "labelled": str(tmp_path / "in"),
            "classifier": small_classifier(tmp_path / "c.safetensors"),
            **options,
        }
        with pytest.raises(error, match=words):
            check_request(ClassificationRequest(**given))  # type: ignore[arg-type]


class TestClassifiers:
    """What a reference names."""

    def test_what_is_no_classifier_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "c.safetensors").write_bytes(b"not a checkpoint")
        with pytest.raises(ModelError):
            load_classifier(str(tmp_path / "c.safetensors"))

    def test_torchvision_s_models_see_what_their_weights_want(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from torchvision.models import SqueezeNet1_1_Weights, squeezenet1_1

        with pytest.raises(ModelError, match="no classification model named 'magic'"):
            load_classifier("torchvision:magic")
        # where torchvision would put them after a download
        monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
        weights = SqueezeNet1_1_Weights.DEFAULT
        (tmp_path / "checkpoints").mkdir()
        torch.manual_seed(0)
        network = squeezenet1_1().eval()
        torch.save(network.state_dict(), tmp_path / "checkpoints" / weights.url.rpartition("/")[2])
        loaded = load_classifier("torchvision:squeezenet1_1")
        assert (len(loaded.classes), loaded.index("tench")) == (1000, 0)
        pictures = np.stack([smooth_noise(i, 32, 32) for i in range(3)])
        x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
        with torch.inference_mode():
            expected = network(weights.transforms()(x)).argmax(1).numpy()
        np.testing.assert_array_equal(loaded.predict(pictures), expected)
