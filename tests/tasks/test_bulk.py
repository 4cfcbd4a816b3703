"""The engine's own laws, with transforms that misbehave on purpose."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest

from models.images import decode
from models.pixels import Pixels
from tasks import storage
from tasks.bulk import ShardRun
from tasks.collection import Shard, Source
from tasks.failures import RunAbortedError, listed_persistently, persistently
from tasks.tables import ManifestRow
from tasks.tile_stage import TileStage
from tasks.transform import BulkConfig, Provenance
from tests import collections as c
from tests.corpus import good_image, png, smooth_noise
from tests.s3_server import S3Server

PROVENANCE = Provenance(run="run-1", model="double", model_digest="d", config_digest="c")
PICTURES = {f"{i}.png": good_image(2 * i, (40 + i, 30)) for i in range(6)}


@dataclass(kw_only=True)
class Double:
    """Nearest-neighbour doubling, for which every result is known; with limits to run into."""

    most_pixels: int = 10**9
    refuse_width: int | None = None
    scale: int = 2
    multiple: int = 1
    calls: list[tuple[int, ...]] = field(default_factory=list)
    running: int = 0
    most_running: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def radius_for(self, channels: int, /) -> int:
        return 1

    def __call__(self, tiles: Pixels, /) -> Pixels:
        with self.lock:
            self.calls.append(tiles.shape)
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        try:
            if tiles.shape[0] * tiles.shape[1] * tiles.shape[2] > self.most_pixels:
                raise MemoryError("the device is full")
            if tiles.shape[2] == self.refuse_width:
                raise RuntimeError("a defect of the transform")
            return tiles.repeat(2, axis=1).repeat(2, axis=2)
        finally:
            with self.lock:
                self.running -= 1


def _shard(source: str, names: list[str]) -> Shard:
    sources = [
        Source(
            uri=storage.join(source, name),
            relative=name,
            size=1,
            etag="e",
            output=f"images/{name}",
            format="png",
        )
        for name in names
    ]
    return Shard(number=0, sources=tuple(sources))


def _engine(
    destination: str,
    transform: Double,
    config: BulkConfig | None = None,
    stop: threading.Event | None = None,
) -> ShardRun:
    config = config or BulkConfig(runners=2)
    return ShardRun(
        destination=destination,
        stage=TileStage(transform, config),
        config=config,
        provenance=PROVENANCE,
        stop=stop or threading.Event(),
        on_row=lambda _row: None,
    )


def _run(store: str, transform: Double, config: BulkConfig | None = None) -> list[ManifestRow]:
    source, destination = storage.join(store, "in"), storage.join(store, "out")
    c.put(source, PICTURES)
    return _engine(destination, transform, config).run(_shard(source, sorted(PICTURES)))


def _assert_doubled(store: str, names: list[str]) -> None:
    images = c.outputs(storage.join(store, "out"))
    assert sorted(images) == [f"images/{name}" for name in sorted(names)]
    for name in names:
        before = decode(PICTURES[name]).pixels
        after = decode(images[f"images/{name}"]).pixels
        assert (after == before.repeat(2, axis=0).repeat(2, axis=1)).all()


def test_every_image_comes_out_doubled_and_committed(store: str) -> None:
    rows = _run(store, Double(), BulkConfig(tile=16, batch_pixels=2000, runners=2))
    assert [row.status for row in rows] == ["ok"] * len(PICTURES)
    _assert_doubled(store, sorted(PICTURES))
    assert c.manifest(storage.join(store, "out")).num_rows == len(PICTURES)


def test_a_device_that_is_too_small_gets_smaller_parts(store: str) -> None:
    transform = Double(most_pixels=1200)
    rows = _run(store, transform)
    assert {row.status for row in rows} == {"ok"}
    assert max(n * h * w for n, h, w, _ in transform.calls) > 1200
    _assert_doubled(store, sorted(PICTURES))


def test_a_device_without_any_room_fails_images_with_a_sentence(store: str) -> None:
    rows = _run(store, Double(most_pixels=1))
    assert {(row.status, row.error_type) for row in rows} == {("failed", "out_of_memory")}
    assert {row.error for row in rows} == {"the device is full"}


def test_a_defect_costs_the_images_it_meets_and_no_other(
    store: str, caplog: pytest.LogCaptureFixture
) -> None:
    # 70 pixels are a core of 80, and 82 with the margins: no other picture has such a window
    wide = {"wide.png": png(smooth_noise(1, 30, 70), 8, 2)}
    source, destination = storage.join(store, "in"), storage.join(store, "out")
    c.put(source, PICTURES | wide)
    shard = _shard(source, [*sorted(PICTURES), "wide.png"])
    rows = _engine(destination, Double(refuse_width=82)).run(shard)
    failed = {row.source.rpartition("/")[2]: row for row in rows if row.status == "failed"}
    assert set(failed) == {"wide.png"}
    assert failed["wide.png"].error_type == "RuntimeError"
    assert "a defect of the transform" in caplog.text  # with its traceback, for whoever mends it
    _assert_doubled(store, sorted(PICTURES))


def test_a_budget_for_nothing_lets_one_image_through_at_a_time(store: str) -> None:
    transform = Double()
    rows = _run(store, transform, BulkConfig(memory=1, runners=3, workers=3, batch_pixels=1))
    assert {row.status for row in rows} == {"ok"}
    assert transform.most_running == 1


def test_an_image_beyond_all_memory_is_a_row(store: str) -> None:
    rows = _run(store, Double(), BulkConfig(memory_limit=30_000))
    assert {row.error_type for row in rows} == {"too_large"}
    assert all("GiB of memory" in str(row.error) for row in rows)


def test_a_destination_that_refuses_us_ends_the_run(
    s3_env: S3Server, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = f"{tmp_path}/in"
    c.put(source, PICTURES)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    storage.disconnect()
    try:
        engine = _engine(f"s3://{s3_env.bucket}/out", Double())
        with pytest.raises(RunAbortedError, match=r"access to s3://.* was refused"):
            engine.run(_shard(source, sorted(PICTURES)))
    finally:
        storage.disconnect()


def test_a_name_that_is_a_folder_already_costs_only_its_image(tmp_path: object) -> None:
    store = str(tmp_path)
    c.put(f"{store}/out/images", {"0.png/inner.png": b"x"})
    rows = _run(store, Double())
    assert [r.source.rpartition("/")[2] for r in rows if r.status == "failed"] == ["0.png"]


def test_what_is_stopped_before_it_begins_leaves_no_row_and_no_part(store: str) -> None:
    stop = threading.Event()
    stop.set()
    source, destination = storage.join(store, "in"), storage.join(store, "out")
    c.put(source, PICTURES)
    assert _engine(destination, Double(), stop=stop).run(_shard(source, ["0.png"])) == []
    assert not storage.is_folder(destination)


def test_rows_say_where_from_and_how_large(store: str) -> None:
    row = _run(store, Double())[0]
    assert (row.width, row.height, row.output_width, row.output_height) == (40, 30, 80, 60)
    assert (row.run, row.model, row.model_digest, row.config_digest) == (
        "run-1",
        "double",
        "d",
        "c",
    )
    assert row.finished_at.tzinfo is not None
    assert row.decode_s is not None
    assert row.decode_s >= 0
    assert replace(row, status="ok") == row


class TestPersistence:
    """A store that cannot be reached for a while is waited for."""

    def test_it_goes_on_when_the_store_is_back(self) -> None:
        answers = iter([storage.StorageUnavailableError("s3://b", "down")] * 2)

        def action() -> int:
            error = next(answers, None)
            if error is not None:
                raise error
            return 7

        assert persistently(action, for_s=30) == 7

    def test_it_gives_up_in_time_and_when_asked_to_stop(self) -> None:
        def action() -> int:
            raise storage.StorageUnavailableError("s3://b", "down")

        with pytest.raises(storage.StorageUnavailableError):
            persistently(action, for_s=0.1)
        stop = threading.Event()
        stop.set()
        with pytest.raises(storage.StorageUnavailableError):
            persistently(action, for_s=1000, stop=stop)

    def test_a_listing_waits_for_its_beginning(self, monkeypatch: pytest.MonkeyPatch) -> None:
        down: list[Exception] = [storage.StorageUnavailableError("s3://b", "down")] * 2
        page = [storage.Entry(uri="s3://b/a", size=1, etag="e")]

        def list_pages(uri: str) -> Iterator[list[storage.Entry]]:
            if down:
                raise down.pop()
            yield page
            yield page

        monkeypatch.setattr(storage, "list_pages", list_pages)
        assert list(listed_persistently("s3://b")) == [page, page]

    def test_other_errors_are_not_waited_for(self) -> None:
        def action() -> int:
            raise storage.NotFoundError("s3://b", "gone")

        with pytest.raises(storage.NotFoundError):
            persistently(action)
