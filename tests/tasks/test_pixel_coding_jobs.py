"""Laws of compressing collections: exact, resumed, and a damaged container costs its rows alone."""

import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.images import Picture, decode, encode
from tasks import pixel_compressing, pixel_decompressing, pixel_restoring, runs, storage
from tasks.failures import RequestError
from tasks.pixel_compressing import CompressRequest
from tasks.pixel_decompressing import DecompressRequest
from tasks.runs import RunProgress, RunSummary
from tests import collections as c
from tests.pixel_models import (
    binary_model,
    binary_pixels,
    color_model,
    color_pixels,
    png,
    put_dataset,
    slow_model,
)

GRAY = {f"{k}.png": binary_pixels(k) for k in range(3)} | {
    "deep/er/wide.png": binary_pixels(7, 8, 12),
    "deep/rgb.png": binary_pixels(8).repeat(3, axis=2),
}


def _compress(store: str, progress: RunProgress | None = None, **options: object) -> RunSummary:
    own = {"source": storage.join(store, "in"), "destination": storage.join(store, "packed")}
    request = CompressRequest(**{**own, **options})  # type: ignore[arg-type]
    job, progress = pixel_compressing.open_job(request), progress or RunProgress()
    with runs.recorded(job.run, progress):
        for shard in runs.until_stopped(pixel_compressing.plan(job, progress), progress):
            pixel_compressing.run_shard(job, shard, progress)
    return replace(runs.summarise(job.run, progress), remark=pixel_compressing.told(job))


def _decompress(store: str, **options: object) -> RunSummary:
    own = {"source": storage.join(store, "packed"), "destination": storage.join(store, "out")}
    request = DecompressRequest(**{**own, **options})  # type: ignore[arg-type]
    job, progress = pixel_decompressing.open_job(request), RunProgress()
    with runs.recorded(job.run, progress):
        for shard in pixel_decompressing.plan(job, progress):
            pixel_restoring.run_shard(job, shard, progress)
    return runs.summarise(job.run, progress)


def _restored(store: str) -> dict[str, np.ndarray]:
    found = c.outputs(storage.join(store, "out"))
    return {name.removeprefix("images/"): decode(data).pixels for name, data in found.items()}


def _containers(store: str) -> list[str]:
    folder = storage.join(store, "packed/containers")
    return sorted(entry.uri for page in storage.list_pages(folder) for entry in page)


def test_what_was_compressed_comes_back_exactly_at_its_path(store: str) -> None:
    model = binary_model(store)
    c.put(storage.join(store, "in"), {name: png(pixels) for name, pixels in GRAY.items()})
    packed = _compress(store, model=model)
    assert (packed.ok, packed.failed) == (5, 0)
    assert len(_containers(store)) == 2, "pictures of one size share a container"
    assert packed.output_bytes == sum(storage.stat(uri).size for uri in _containers(store))
    back = _decompress(store, model=model)
    assert (back.ok, back.failed) == (5, 0)
    made = _restored(store)
    assert set(made) == set(GRAY)
    assert all(np.array_equal(made[name], pixels) for name, pixels in GRAY.items())


def test_a_second_run_of_either_does_nothing(local_and_s3: str) -> None:
    store = local_and_s3
    model = binary_model(store)
    c.put(storage.join(store, "in"), {name: png(pixels) for name, pixels in GRAY.items()})
    _compress(store, model=model)
    before = _containers(store)
    again = _compress(store, model=model)
    assert (again.ok, again.already_done) == (0, 5)
    assert _containers(store) == before
    _decompress(store, model=model)
    assert (_decompress(store, model=model).already_done) == 5


def test_colours_of_any_lossless_or_lossy_file_come_back_as_they_are_decoded(
    tmp_path: Path,
) -> None:
    store = str(tmp_path)
    model = color_model(store)
    picture = Picture(pixels=color_pixels(1, 16, 8))
    files = {
        "a.png": encode(picture, "png"),
        "b.jpg": encode(picture, "jpeg"),
        "c.webp": encode(picture, "webp"),
        "gray.png": png(color_pixels(2)[:, :, :1]),
    }
    c.put(storage.join(store, "in"), files)
    assert _compress(store, model=model).ok == 4
    assert _decompress(store, model=model).ok == 4
    made = _restored(store)
    assert set(made) == {"a.png", "b.jpg.png", "c.webp.png", "gray.png"}
    for name, pixels in made.items():
        source = name if name in files else name.removesuffix(".png")
        assert np.array_equal(pixels, decode(files[source]).pixels), name


def test_what_the_model_cannot_hold_exactly_is_a_failed_row_with_a_sentence(
    tmp_path: Path,
) -> None:
    store = str(tmp_path)
    model = binary_model(store)
    deep = np.full((8, 8, 1), 300, np.uint16)
    alpha = np.concatenate([binary_pixels(1), np.full((8, 8, 1), 255, np.uint8)], axis=2)
    c.put(
        storage.join(store, "in"),
        {
            "good.png": png(binary_pixels(0)),
            "alpha.png": png(alpha),
            "colour.png": png(color_pixels(0)),
            "deep.png": encode(Picture(pixels=deep), "png"),
            "gray.png": png(np.full((8, 8, 1), 7, np.uint8)),
            "text.png": b"no picture",
        },
    )
    summary = _compress(store, model=model, max_failed=1.0)
    assert summary.ok == 1
    assert summary.failures == {"not_lossless": 4, "not_an_image": 1}
    rows = c.current_rows(storage.join(store, "packed"))
    said = {str(uri).rpartition("/")[2]: str(row["error"]) for uri, row in rows.items()}
    assert "no alpha" in said["alpha.png"]
    assert "the picture has colours" in said["colour.png"]
    assert "16-bit" in said["deep.png"]
    assert "values 0 and 255 alone" in said["gray.png"]


def test_sixteen_bit_colour_is_refused_and_not_reduced(tmp_path: Path) -> None:
    store = str(tmp_path)
    head = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + bytes(range(48)) for _ in range(8)))
    data = b"\x89PNG\r\n\x1a\n"
    for kind, body in ((b"IHDR", head), (b"IDAT", rows), (b"IEND", b"")):
        check = struct.pack(">I", zlib.crc32(kind + body))
        data += struct.pack(">I", len(body)) + kind + body + check
    c.put(storage.join(store, "in"), {"deep.png": data})
    summary = _compress(store, model=color_model(store), max_failed=1.0)
    assert summary.failures == {"not_lossless": 1}


def test_pictures_without_sites_for_the_network_are_told_what_would_fit(tmp_path: Path) -> None:
    store = str(tmp_path)
    c.put(storage.join(store, "in"), {"odd.png": png(color_pixels(0, 7, 8))})
    _compress(store, model=color_model(store), max_failed=1.0)
    (row,) = c.current_rows(storage.join(store, "packed")).values()
    assert "multiple of 2" in str(row["error"])
    assert "got 8x7" in str(row["error"])


def test_a_stopped_run_keeps_what_it_has_and_the_next_one_completes_it(tmp_path: Path) -> None:
    store = str(tmp_path)
    model = binary_model(store)
    c.put(storage.join(store, "in"), {name: png(pixels) for name, pixels in GRAY.items()})

    class Stopping(RunProgress):
        def add(self, row: object) -> None:
            super().add(row)  # type: ignore[arg-type]
            self.stop.set()

    progress = Stopping()
    with pytest.raises(runs.StoppedError):
        _compress(store, progress, model=model, shard_size=2)
    assert 0 < progress.ok < 5
    summary = _compress(store, model=model, shard_size=2)
    assert summary.ok + summary.already_done == 5
    assert summary.already_done == progress.ok
    assert _decompress(store, model=model).ok == 5
    made = _restored(store)
    assert all(np.array_equal(made[name], pixels) for name, pixels in GRAY.items())


def test_a_damaged_a_truncated_and_a_missing_container_cost_their_rows_alone(store: str) -> None:
    model = binary_model(store)
    sizes = {"a": 4, "b": 5, "c": 6, "d": 7}
    c.put(
        storage.join(store, "in"),
        {f"{n}{k}.png": png(binary_pixels(k, 4, w)) for n, w in sizes.items() for k in range(2)},
    )
    _compress(store, model=model)
    damaged, cut, gone, _ = _containers(store)
    flipped = bytearray(storage.read(damaged))
    flipped[-9] ^= 4
    storage.write(damaged, bytes(flipped))
    storage.write(cut, storage.read(cut)[:-3])
    storage.delete(gone)
    summary = _decompress(store, model=model, max_failed=1.0)
    assert (summary.ok, summary.failures) == (2, {"ContainerError": 4, "vanished": 2})
    rows = c.current_rows(storage.join(store, "out"))
    said = {str(row["source"]).partition("#")[0]: str(row["error"]) for row in rows.values()}
    assert "damaged" in said[damaged]
    assert "truncated" in said[cut]
    assert set(_restored(store)) == {"d0.png", "d1.png"}


def test_another_model_restores_nothing_and_says_so(tmp_path: Path) -> None:
    store = str(tmp_path)
    c.put(storage.join(store, "in"), {"a.png": png(binary_pixels(0))})
    _compress(store, model=binary_model(store))
    other = binary_model(storage.join(store, "other"), width=8)
    summary = _decompress(store, model=other, max_failed=1.0)
    assert (summary.ok, summary.failed) == (0, 1)
    (row,) = c.current_rows(storage.join(store, "out")).values()
    assert "made by another model" in str(row["error"])
    with pytest.raises(runs.TooManyFailedError):
        runs.checked(summary, 0.1)


def test_an_edited_source_is_compressed_again_and_its_latest_pixels_come_back(
    tmp_path: Path,
) -> None:
    store = str(tmp_path)
    model = binary_model(store)
    c.put(storage.join(store, "in"), {name: png(pixels) for name, pixels in GRAY.items()})
    _compress(store, model=model)
    c.put(storage.join(store, "in"), {"1.png": png(binary_pixels(99, 6, 8))})
    assert _compress(store, model=model).ok == 1
    _decompress(store, model=model)
    assert np.array_equal(_restored(store)["1.png"], binary_pixels(99, 6, 8))


def test_a_container_alone_gives_its_pictures_by_their_places(tmp_path: Path) -> None:
    store = str(tmp_path)
    model = binary_model(store)
    names = ("0.png", "1.png", "2.png")
    c.put(storage.join(store, "in"), {name: png(GRAY[name]) for name in names})
    _compress(store, model=model)
    (container,) = _containers(store)
    assert _decompress(store, source=container, model=model).ok == 3
    made = _restored(store)
    for place, name in enumerate(names):
        (pixels,) = (p for path, p in made.items() if path.endswith(f"{place:06d}.png"))
        assert np.array_equal(pixels, GRAY[name])
    notes = storage.join(store, "notes.pxm")
    storage.write(notes, b"no container")
    summary = _decompress(store, source=notes, model=model, max_failed=1.0)
    assert summary.failures == {"ContainerError": 1}


def test_a_dataset_is_compressed_by_its_labels(tmp_path: Path) -> None:
    store = str(tmp_path)
    put_dataset(storage.join(store, "in"), {"train": 4, "test": 2})
    model = binary_model(store, classes=2)
    assert _compress(store, model=model, split="test").ok == 2
    assert _decompress(store, model=model).ok == 2
    assert set(_restored(store)) == {"test/part-00000-000000.png", "test/part-00000-000001.png"}


def test_a_collection_without_a_picture_is_no_error(tmp_path: Path) -> None:
    store = str(tmp_path)
    c.put(storage.join(store, "in"), {"notes.txt": b"nothing"})
    summary = _compress(store, model=binary_model(store))
    assert (summary.found, summary.ok) == (0, 0)
    assert "nothing is compressed" in summary.closing_line()


def test_the_closing_line_has_bytes_and_bits(tmp_path: Path) -> None:
    store = str(tmp_path)
    c.put(storage.join(store, "in"), {"a.png": png(binary_pixels(0))})
    line = _compress(store, model=binary_model(store)).closing_line()
    assert "1 image compressed by" in line
    assert "bits/dim" in line


def test_a_wrong_request_is_one_sentence(tmp_path: Path) -> None:
    store = str(tmp_path)
    c.put(storage.join(store, "in"), {"a.png": png(binary_pixels(0))})
    with pytest.raises(RequestError, match="is a PixelRNN"):
        _compress(store, model=slow_model(store))
    with pytest.raises(RequestError, match="give --label"):
        _compress(store, model=binary_model(store, classes=2))
    with pytest.raises(RequestError, match="has no classes"):
        _compress(store, model=binary_model(store), label=1)
    with pytest.raises(RequestError, match="has no manifest"):
        _decompress(store, source=storage.join(store, "in"), model=binary_model(store))
