"""Taking renderings into a dataset: the published names, other tables, and what is broken."""

import random
from io import BytesIO
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from models.chair_shapes import chair_mesh, chair_parameters
from models.rendering import Mesh, render
from tasks import chairs_ingest, runs, storage, tables
from tasks.chairs_card import ChairsSummary
from tasks.chairs_dataset import ChairView, open_chairs_dataset, read_chairs
from tasks.chairs_ingest import IngestRequest, check_request
from tasks.chairs_renderings import view_of_name
from tasks.dataset_parts import SPLITS
from tasks.failures import RequestError
from tasks.runs import RunProgress, TooManyFailedError
from tasks.storage import Entry
from tests import collections as c

# sorted by name they are the classes 0, 1 and 2
FOLDERS = {"1a6f615e8b1b5ae4dbbc9440457e303e": 11, "b3d1": 3, "fff0": 5}
SIDE = 72
View = tuple[int, float, float]


def png(pixels: Any) -> bytes:
    sink = BytesIO()
    Image.fromarray(pixels).save(sink, "PNG", compress_level=1)
    return sink.getvalue()


def published(models: dict[str, int], side: int = SIDE) -> dict[str, tuple[bytes, View]]:
    """A folder as published: path -> its file, and the class, azimuth and elevation it shows."""
    files = {}
    for number, (folder, chair) in enumerate(sorted(models.items())):
        mesh = chair_mesh(chair_parameters(chair, 0))
        for elevation, start in ((20, 0), (30, 32)):  # 031 is skipped
            for k in range(31):
                azimuth = k * 360 / 31
                name = f"image_{start + k:03d}_p{elevation:03d}_t{int(azimuth):03d}_r096.png"
                files[f"rendered_chairs/{folder}/renders/{name}"] = (
                    png(drawn(mesh, azimuth, elevation, side)),
                    (number, azimuth, float(elevation)),
                )
    return files


def drawn(mesh: Mesh, azimuth: float, elevation: float, side: int) -> Any:
    return render(mesh, azimuth=azimuth, elevation=elevation, size=side, samples=1)[0]


@pytest.fixture(scope="module")
def renders() -> dict[str, tuple[bytes, View]]:
    return published(FOLDERS)


def request(store: str, **options: object) -> IngestRequest:
    places = {"source": storage.join(store, "in"), "destination": storage.join(store, "out")}
    return IngestRequest(**{"size": 24, "shard_size": 2, **places, **options})  # type: ignore[arg-type]


def ingest(store: str, **options: object) -> ChairsSummary:
    """The flow without Prefect."""
    job, progress = chairs_ingest.open_job(request(store, **options)), RunProgress()
    with runs.recorded(job.run, progress):
        chairs_ingest.begin(job)
        for shard in chairs_ingest.plan(job, progress):
            chairs_ingest.run_shard(job, shard, progress)
        return chairs_ingest.finish(job, progress)


def put(store: str, files: dict[str, bytes]) -> None:
    c.put(storage.join(store, "in"), files)


def views(store: str) -> list[ChairView]:
    dataset = open_chairs_dataset(storage.join(store, "out"))
    return [view for split in SPLITS for view in read_chairs(dataset, split)]


def shown(found: list[ChairView]) -> list[View]:
    return sorted((view.chair, view.azimuth, view.elevation) for view in found)


def failures(store: str) -> dict[str, str]:
    data = storage.read(storage.join(store, "out/failures.parquet"))
    rows = tables.from_parquet(data).to_pylist()
    assert all(row["status"] == "failed" and row["error"] for row in rows)
    assert len({row["source"] for row in rows}) == len(rows)
    return {row["source"]: row["error_type"] for row in rows}


def test_every_class_azimuth_and_elevation_of_the_published_layout_is_recovered(
    store: str, renders: dict[str, tuple[bytes, View]]
) -> None:
    put(store, {path: data for path, (data, _) in renders.items()})
    put(store, {"rendered_chairs/all_chair_names.mat": b"names"})
    summary = ingest(store)
    assert (summary.chairs, summary.failed, summary.left_out) == (3, 0, {"not an image": 1})
    assert summary.counts == {"train": 159, "validation": 9, "test": 18}
    assert shown(views(store)) == sorted(view for _, view in renders.values())
    dataset = open_chairs_dataset(storage.join(store, "out"))
    assert dataset.names == tuple(sorted(FOLDERS))
    assert dataset.azimuths == tuple(k * 360 / 31 for k in range(31))
    assert dataset.elevations == (20.0, 30.0)
    assert failures(store) == {}
    again = ingest(store)
    assert (again.new, again.already_done, again.digest) == (0, 186, summary.digest)


def damaged(files: dict[str, bytes]) -> tuple[dict[str, bytes], dict[str, str]]:
    """The same in another order, some spoiled; and the kind of each failure."""
    paths = sorted(files)
    random.Random(1).shuffle(paths)
    spoiled = {path: files[path] for path in paths}
    kinds = {}
    changes = [
        (b"", "empty"),
        (b"<html>no picture</html>", "not_an_image"),
        (files[paths[2]][:300], "truncated"),
        (b"\0" * 4000, "not_an_image"),
    ]
    for path, (data, kind) in zip(paths, changes, strict=False):
        spoiled[path], kinds[path] = data, kind
    odd = {
        "rendered_chairs/b3d1/image_000_p020_t000_r096.png": "odd_name",
        "rendered_chairs/b3d1/renders/preview.png": "odd_name",
        "rendered_chairs/b3d1/renders/image_007_p020_t082_r096.png": "odd_name",
        "rendered_chairs/b3d1/renders/image_900_p020_t000_r096.png": "repeated_view",
        "readme.jpg": "odd_name",
    }
    spoiled |= dict.fromkeys(odd, files[paths[-1]])
    return spoiled, kinds | odd


def test_a_shuffled_damaged_copy_loses_only_what_is_damaged_each_with_a_row(
    store: str, renders: dict[str, tuple[bytes, View]]
) -> None:
    files = {path: data for path, (data, _) in renders.items()}
    spoiled, kinds = damaged(files)
    put(store, spoiled)
    summary = ingest(store)
    lost = {renders[path][1] for path in kinds if path in renders}
    assert len(lost) == 4
    assert shown(views(store)) == sorted({view for _, view in renders.values()} - lost)
    assert failures(store) == kinds
    assert (summary.new, summary.failed) == (182, len(kinds))
    with pytest.raises(TooManyFailedError, match=r"4\.7% of the images failed where 1\.0%"):
        chairs_ingest.checked(summary, 0.01)
    assert chairs_ingest.checked(summary, 0.1) is summary
    mended = {path: files[path] for path in kinds if path in files}
    put(store, mended)
    assert ingest(store).new >= 4  # their shards are done again
    assert shown(views(store)) == sorted(view for _, view in renders.values())


def test_600_pixels_become_the_picture_and_mask_that_128_pixels_are(tmp_path: Any) -> None:
    mesh = chair_mesh(chair_parameters(3, 0))
    name = "b3d1/renders/image_002_p020_t023_r096.png"
    put(str(tmp_path), {name: png(drawn(mesh, 2 * 360 / 31, 20, 600))})
    ingest(str(tmp_path), size=128)
    (view,) = views(str(tmp_path))
    rgb, mask = view.pixels()
    true_rgb, true_mask = render(mesh, azimuth=2 * 360 / 31, elevation=20, size=128)
    assert np.abs(mask.astype(int) - true_mask).mean() < 1.5
    assert np.abs(rgb.astype(int) - true_rgb).mean() < 1.5
    united, shared = (mask > 127) | (true_mask > 127), (mask > 127) & (true_mask > 127)
    assert shared.sum() / united.sum() > 0.97


@pytest.mark.parametrize("k", range(31))
def test_the_azimuth_that_a_name_rounds_down_is_known_exactly(k: int) -> None:
    name = f"x/m/renders/image_900_p030_t{k * 360 // 31:03d}_r096.png"
    view = view_of_name(name, Entry(uri=name, size=1, etag=""))
    assert (view.name, view.azimuth, view.elevation) == ("m", k * 360 / 31, 30.0)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("m/renders/image_1_p020_t000_r096.jpg", "is not named image_III"),
        ("m/renders/image_1_p20_t000_r096.png", "is not named image_III"),
        ("renders/image_1_p020_t000_r096.png", "does not lie in MODEL/renders/"),
        ("m/views/image_1_p020_t000_r096.png", "does not lie in MODEL/renders/"),
        ("m/renders/image_1_p020_t012_r096.png", "azimuth 12, wanted a multiple of 360 / 31"),
        ("m/renders/image_1_p020_t360_r096.png", "azimuth 360, wanted"),
        ("m/renders/image_1_p120_t000_r096.png", "elevation 120, wanted 0 to 90"),
    ],
)
def test_a_name_that_says_something_else_is_refused(path: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        view_of_name(path, Entry(uri=path, size=1, etag=""))


TABLE = [
    {"path": "a.png", "class": "10", "azimuth": 370.5, "elevation": -12.25},
    {"path": "deep/b.png", "class": "9", "azimuth": 45, "elevation": 0},
    {"path": "gone.png", "class": "9", "azimuth": 90, "elevation": 0},
    {"path": "c.png", "class": "9", "azimuth": "north", "elevation": 0},
    {"path": "d.png", "class": "", "azimuth": 1, "elevation": 0},
]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_any_export_comes_with_a_table_of_its_parameters(tmp_path: Any, kind: str) -> None:
    store = str(tmp_path)
    picture = np.zeros((40, 40, 4), np.uint8)
    picture[10:30, 10:30] = (200, 30, 30, 128)
    put(store, dict.fromkeys(("a.png", "deep/b.png", "c.png", "d.png", "e.png"), png(picture)))
    text = "\n".join(",".join(str(v) for v in row.values()) for row in TABLE)
    if kind == "csv":
        data = f"path,class,azimuth,elevation\n{text}\n".encode()
    else:
        strings = [{name: str(v) for name, v in row.items()} for row in TABLE]
        data = tables.table_to_parquet(pa.Table.from_pylist(strings))
    table = storage.join(store, f"views.{kind}")
    storage.write(table, data)
    summary = ingest(store, parameters=table)
    assert shown(views(store)) == [(0, 45.0, 0.0), (1, 10.5, -12.25)]  # 9 before 10
    assert failures(store) == {
        "gone.png": "vanished", "c.png": "odd_parameters", "d.png": "odd_parameters"
    }  # fmt: skip
    assert summary.left_out == {"not in the table": 1}
    mask = views(store)[0].pixels()[1]
    assert mask.max() == 128  # alpha is the mask


def test_a_table_without_its_columns_and_other_wrong_requests_are_refused(tmp_path: Any) -> None:
    store = str(tmp_path)
    put(store, {"a.png": b"x"})
    table = storage.join(store, "views.csv")
    storage.write(table, b"path,azimuth\na.png,1\n")
    with pytest.raises(RequestError, match="lacks chair, elevation: want the columns"):
        ingest(store, parameters=table)
    with pytest.raises(RequestError, match="must be a CSV or Parquet file"):
        check_request(request(store, parameters=storage.join(store, "views.txt")))
    with pytest.raises(storage.NotFoundError):
        check_request(request(store, parameters=storage.join(store, "none.csv")))
    with pytest.raises(RequestError, match="must not lie inside the source"):
        check_request(request(store, destination=storage.join(store, "in/out")))
    with pytest.raises(RequestError, match="size must be 8 to 2048, got 1"):
        check_request(request(store, size=1))
    with pytest.raises(storage.NotFoundError):
        check_request(request(store, source=storage.join(store, "nothing")))


def test_a_source_that_shrinks_leaves_nothing_behind(tmp_path: Any) -> None:
    store = str(tmp_path)
    files = {path: data for path, (data, _) in published({"a": 1, "b": 2, "c": 3}, 24).items()}
    put(store, files)
    assert ingest(store).counts == {"train": 159, "validation": 9, "test": 18}
    for path in files:
        if "/c/" in path:
            storage.delete(storage.join(store, f"in/{path}"))
    summary = ingest(store)
    assert (summary.chairs, summary.new) == (2, 0)
    parts = [e.uri for page in storage.list_pages(storage.join(store, "out/data")) for e in page]
    assert sorted(uri.rpartition("/")[2] for uri in parts) == ["shard-00000.parquet"] * 3
