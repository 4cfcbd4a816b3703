"""The dataset for pixel models without Prefect: building it, going on, reading it."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.pixel_pictures import CutConfig, content_digest, cut_pictures
from models.pixels import Pixels
from tasks import pixels_dataset, storage, tables
from tasks.failures import RequestError
from tasks.picture_pairs import decode_colour
from tasks.pixels_dataset import checked
from tasks.pixels_dataset_reading import open_pixels_dataset, read_pixels
from tasks.pixels_dataset_tables import pixels_schema
from tasks.pixels_request import PixelsRequest, check_request
from tasks.runs import RunProgress, TooManyFailedError
from tasks.sr_building import split_of
from tasks.sr_pairs import DatasetError
from tests import collections as c
from tests.corpus import good_image, saved, smooth_noise
from tests.pixels import built, npz, packed, strokes, strokes_dataset_at

SPLITS = ("train", "validation", "test")
GOOD = {
    f"{'cats' if i % 3 else 'dogs'}/{i:02d}.{'jpg' if i % 2 else 'png'}": good_image(i, (40, 30))
    for i in range(18)
}
SHARES = {"size": 12, "validation": 0.25, "test": 0.25, "shard_size": 5}


def files(place: str) -> dict[str, bytes]:
    """Every file of a dataset but the records of runs, by its path there."""
    root = storage.normalise(place)
    found = [e.uri for page in storage.list_pages(root) for e in page]
    names = {uri[len(root) + 1 :]: uri for uri in found}
    return {n: storage.read(uri) for n, uri in names.items() if not n.startswith("runs/")}


def rows(place: str) -> list[dict[str, Any]]:
    parts = [data for name, data in files(place).items() if name.startswith("data/")]
    return [row for data in parts for row in tables.from_parquet(data).to_pylist()]


def shown(row: dict[str, Any]) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(row["image"]["bytes"])))


def test_every_picture_is_in_the_split_of_its_pixels(store: str) -> None:
    source, out = storage.join(store, "in"), storage.join(store, "out")
    c.put(source, {**GOOD, "notes.txt": b"x", ".hidden/a.png": b"x"})
    summary = built(source, out, **SHARES)
    found = {row["source"]: row for row in rows(out)}
    assert set(found) == set(GOOD)
    assert sum(summary.counts.values()) == summary.new == len(GOOD)
    assert all(summary.counts.values())
    assert summary.left_out == {"not an image": 1, "hidden": 1}
    for name, data in GOOD.items():
        pixels, row = decode_colour(data), found[name]
        digest = content_digest(pixels)
        (wanted,) = cut_pictures(pixels, digest, CutConfig(size=12))
        np.testing.assert_array_equal(shown(row), wanted)
        place = split_of(digest, seed=0, validation=0.25, test=0.25)
        assert (row["source_digest"], row["split"], row["label"]) == (digest, place, None)
        assert row["image"]["path"] == f"{name}.png"
    line = summary.closing_line()
    assert line.startswith("18 pictures of 12x12: ")
    assert line.endswith(storage.normalise(out))


def test_one_seed_gives_the_same_bytes_also_after_a_kill(tmp_path: Path) -> None:
    source = str(tmp_path / "in")
    c.put(source, GOOD)
    options: dict[str, Any] = {**SHARES, "patches": 3, "seed": 4}
    built(source, str(tmp_path / "whole"), **options)

    killed = str(tmp_path / "killed")
    job, progress = (
        pixels_dataset.open_job(PixelsRequest(source=source, destination=killed, **options)),
        RunProgress(),
    )
    pixels_dataset.begin(job)
    first = next(pixels_dataset.plan(job, progress))
    pixels_dataset.run_shard(job, first, progress)
    with pytest.raises(DatasetError, match=r"it has no dataset\.json"):
        open_pixels_dataset(killed)
    summary = built(source, killed, **options)
    assert (summary.already_done, summary.new) == (5, 13)
    assert files(killed) == files(str(tmp_path / "whole"))

    built(source, str(tmp_path / "other"), **{**options, "seed": 5})
    assert files(str(tmp_path / "other")) != files(killed)


def test_a_second_run_does_only_what_changed(tmp_path: Path) -> None:
    source, out = str(tmp_path / "in"), str(tmp_path / "out")
    c.put(source, GOOD)
    before = built(source, out, **SHARES)
    again = built(source, out, **SHARES)
    assert (again.new, again.already_done, again.digest) == (0, len(GOOD), before.digest)
    name = next(iter(GOOD))
    c.put(source, {name: good_image(77, (50, 50))})
    edited = built(source, out, **SHARES)
    assert edited.new == 5
    assert edited.digest != before.digest
    assert len(rows(out)) == len(GOOD)
    (tmp_path / "in" / name).unlink()
    smaller = built(source, out, **{**SHARES})
    assert sum(smaller.counts.values()) == len(rows(out)) == len(GOOD) - 1


def test_copies_and_patches_of_a_picture_never_lie_in_two_splits(tmp_path: Path) -> None:
    pictures = {f"{n}.png": good_image(2 * n, (30, 20)) for n in range(12)}
    copies = {
        f"copies/{n}.bmp": saved(Image.open(io.BytesIO(pictures[f"{n}.png"])), "BMP")
        for n in range(12)
    }
    c.put(str(tmp_path / "in"), pictures | copies)
    built(str(tmp_path / "in"), str(tmp_path / "out"), **{**SHARES, "patches": 4})
    splits: dict[str, set[str]] = {}
    for row in rows(str(tmp_path / "out")):
        splits.setdefault(row["source_digest"], set()).add(row["split"])
    assert len(rows(str(tmp_path / "out"))) == 24 * 4
    assert len(splits) == 12
    assert all(len(own) == 1 for own in splits.values())


def test_a_bad_image_costs_one_row_and_is_tried_again(tmp_path: Path) -> None:
    source, out = str(tmp_path / "in"), str(tmp_path / "out")
    c.put(source, {**GOOD, "cats/x.png": b"text", "cats/y.png": good_image(2, (40, 9))})
    summary = built(source, out, **SHARES)
    failures = tables.from_parquet(files(out)["failures.parquet"]).to_pylist()
    assert [(f["source"], f["error_type"]) for f in failures] == [
        ("cats/x.png", "not_an_image"),
        ("cats/y.png", "too_small"),
    ]
    assert failures[1]["error"] == "too small: 40x9 pixels, want at least 12 on a side"
    assert len(rows(out)) == len(GOOD)
    with pytest.raises(TooManyFailedError, match=r"of the images failed where 5\.0% is allowed"):
        checked(summary, 0.05)
    c.put(source, {"cats/x.png": good_image(90), "cats/y.png": good_image(92)})
    assert built(source, out, **SHARES).failed == 0
    assert len(rows(out)) == len(GOOD) + 2


def test_folders_are_labels_that_hugging_face_names(tmp_path: Path) -> None:
    source, out = str(tmp_path / "in"), str(tmp_path / "out")
    c.put(source, {**GOOD, "bare.png": good_image(50)})
    built(source, out, **SHARES, labels="folder", gray=True)
    for row in rows(out):
        folder = row["source"].partition("/")[0]
        assert row["label"] == {"cats": 0, "dogs": 1}.get(folder)
    name = next(n for n in files(out) if n.startswith("data/train"))
    schema = tables.from_parquet(files(out)[name]).schema
    assert schema.equals(pixels_schema(["cats", "dogs"]), check_metadata=True)
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert features["label"] == {"names": ["cats", "dogs"], "_type": "ClassLabel"}
    assert features["image"] == {"_type": "Image"}
    dataset = open_pixels_dataset(out)
    assert (dataset.names, dataset.channels, dataset.levels) == (("cats", "dogs"), 1, 256)
    found = read_pixels(dataset, "train")
    assert found.images.shape == (dataset.counts["train"], 1, 12, 12)
    assert found.labels is not None
    assert set(found.labels.tolist()) <= {-1, 0, 1}


def test_packed_bits_keep_their_splits_and_come_back_as_they_were(store: str) -> None:
    place = strokes_dataset_at(store)
    dataset = open_pixels_dataset(place)
    assert dataset.counts == {"train": 40, "validation": 12, "test": 12}
    shape = (dataset.height, dataset.width, dataset.channels, dataset.levels)
    assert (shape, dataset.names) == ((8, 8, 1, 2), ("0", "1"))
    for seed, (split, count) in enumerate(dataset.counts.items()):
        found, wanted = read_pixels(dataset, split), strokes(count, seed=seed)
        np.testing.assert_array_equal(found.images[:, 0], wanted)
        assert found.labels is not None
        np.testing.assert_array_equal(found.labels, wanted[:, 0].sum(1) != 1)
    assert set(np.unique(shown(rows(place)[0]))) == {0, 255}


def test_a_split_that_arrays_lack_is_taken_out_of_their_training_pictures(tmp_path: Path) -> None:
    seen, held = (smooth_noise(s, 60 * 8, 8).reshape(60, 8, 8, 3) for s in (0, 1))
    storage.write(str(tmp_path / "a.npz"), npz(x_train=seen, x_test=held[:9]))
    built(str(tmp_path / "a.npz"), str(tmp_path / "out"), validation=0.3)
    dataset = open_pixels_dataset(str(tmp_path / "out"))
    assert dataset.counts["test"] == 9
    assert 8 < dataset.counts["validation"] < 30
    assert dataset.counts["train"] + dataset.counts["validation"] == 60
    wanted = held[:9].transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(read_pixels(dataset, "test").images, wanted)


def test_both_forms_of_cifar_are_the_same_pictures(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (3, 4, 32, 32, 3), dtype=np.uint8)
    labels = [[3, 1, 0, 2], [1, 1, 2, 0], [2, 3, 3, 1]]
    for own, told, name in zip(pictures, labels, ("data_batch_1", "data_batch_2", "test_batch"),
                               strict=True):  # fmt: skip
        planes = own.transpose(0, 3, 1, 2).reshape(4, -1)
        rows_ = np.concatenate([np.array(told, np.uint8)[:, None], planes], 1)
        storage.write(str(tmp_path / "bin" / f"{name}.bin"), rows_.tobytes())
        sheet = Image.fromarray(own.reshape(4, 1024, 3))
        storage.write(str(tmp_path / "png" / f"{name}.png"), saved(sheet, "PNG"))
    for name, own_labels in (("train", labels[0] + labels[1]), ("test", labels[2])):
        data = json.dumps(own_labels).encode()
        storage.write(str(tmp_path / "png" / f"{name}_labels.json"), data)
    for kind in ("bin", "png"):
        built(str(tmp_path / kind), str(tmp_path / f"out-{kind}"), validation=0.0)
        dataset = open_pixels_dataset(str(tmp_path / f"out-{kind}"))
        assert dataset.counts == {"train": 8, "validation": 0, "test": 4}
        for split, wanted, told in (
            ("train", pictures[:2].reshape(8, 32, 32, 3), labels[0] + labels[1]),
            ("test", pictures[2], labels[2]),
        ):
            found = read_pixels(dataset, split)
            np.testing.assert_array_equal(found.images, wanted.transpose(0, 3, 1, 2))
            assert found.labels is not None
            assert found.labels.tolist() == told


def test_a_limit_takes_pictures_from_all_over_a_split(tmp_path: Path) -> None:
    dataset = open_pixels_dataset(strokes_dataset_at(str(tmp_path)))
    whole, some = read_pixels(dataset, "train"), read_pixels(dataset, "train", limit=4)
    assert len(some) == 4
    np.testing.assert_array_equal(some.images, whole.images[[0, 13, 26, 39]])
    assert some.sources == tuple(whole.sources[n] for n in (0, 13, 26, 39))


def test_a_damaged_dataset_is_refused(tmp_path: Path) -> None:
    place = strokes_dataset_at(str(tmp_path))
    dataset = open_pixels_dataset(place)
    path = storage.join(place, dataset.parts[0][0])
    storage.write(path, b"nothing")
    with pytest.raises(DatasetError, match=r"shard-\d+.parquet is damaged"):
        read_pixels(dataset, dataset.parts[0][1])
    storage.delete(path)
    with pytest.raises(DatasetError, match=r"shard-\d+.parquet is missing"):
        read_pixels(dataset, dataset.parts[0][1])
    storage.write(storage.join(place, "dataset.json"), b'{"system": "chairs"}')
    with pytest.raises(DatasetError, match="of the system 'chairs', wanted 'pixels'"):
        open_pixels_dataset(place)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"size": 2000}, "size must be 1 to 1024, got 2000"),
        ({"patches": -1}, "patches must be 0 to 100000, got -1"),
        ({"fit": "pad"}, "fit must be crop or stretch, got 'pad'"),
        ({"labels": "file"}, "labels must be none or folder, got 'file'"),
        ({"max_failed": 2}, "max-failed must be 0 to 1, got 2"),
        ({"validation": 0.5, "test": 0.5}, "below 1 together"),
        ({"destination": "in/out"}, "must not lie inside the source"),
    ],
)
def test_a_wrong_request_is_refused(tmp_path: Path, options: dict[str, Any], sentence: str) -> None:
    c.put(str(tmp_path / "in"), {"a.png": good_image(0)})
    place = str(tmp_path / str(options.pop("destination", "out")))
    with pytest.raises(RequestError, match=sentence):
        check_request(PixelsRequest(source=str(tmp_path / "in"), destination=place, **options))


def test_a_destination_has_one_way_of_being_made(tmp_path: Path) -> None:
    c.put(str(tmp_path / "in"), GOOD)
    built(str(tmp_path / "in"), str(tmp_path / "out"), **SHARES)
    with pytest.raises(RequestError, match="is a dataset with size 12; size 13 wants another"):
        built(str(tmp_path / "in"), str(tmp_path / "out"), **{**SHARES, "size": 13})


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (npz(pictures=strokes(2)), "must have arrays named train, valid and test, got pictures"),
        (npz(train=strokes(2) / 2), r"\(train\) must be uint8, got float64"),
        (npz(train=packed(strokes(2))[:, :6]), "rows of 6 bytes are no square of packed bits"),
        (npz(train=strokes(2), y_train=[1]), "wanted 2 labels, numbers from 0 on"),
        (npz(train=strokes(2), test=strokes(2, 9)), "the parts' pictures must be alike"),
        (b"text", "cannot be read"),
    ],
)
def test_arrays_that_are_no_pictures_are_refused(
    tmp_path: Path, data: bytes, sentence: str
) -> None:
    storage.write(str(tmp_path / "a.npz"), data)
    with pytest.raises(RequestError, match=sentence):
        built(str(tmp_path / "a.npz"), str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_source_without_images_is_refused(tmp_path: Path) -> None:
    c.put(str(tmp_path / "in"), {"notes.txt": b"x"})
    with pytest.raises(RequestError, match="there is no image in"):
        built(str(tmp_path / "in"), str(tmp_path / "out"))
