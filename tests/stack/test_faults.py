"""An object store that fails: nothing is lost, nothing is doubled, nothing half is visible."""

import logging
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import fsspec.config
import pytest

from tasks import storage
from tests import collections as c
from tests.corpus import good_image
from tests.faulty_proxy import EVENLY, Fault, FaultyProxy, faulty_proxy
from tests.s3_server import S3Server
from tests.stack.watcher import Watcher

READ_TIMEOUT_S = 2


@dataclass(frozen=True, kw_only=True)
class Place:
    """Pictures in the real store, what a run without faults makes of them, and where to make it."""

    source: str
    destination: str
    expected: dict[str, bytes]

    @property
    def prefix(self) -> str:
        """Of the outputs, within the bucket."""
        return self.destination.split("/", 3)[3] + "/images/"


@pytest.fixture
def proxy(s3_env: S3Server) -> Iterator[FaultyProxy]:
    """This process's way to the store; without faults until a test sets rates."""
    with faulty_proxy(s3_env.endpoint, {}, seed=7) as between, pytest.MonkeyPatch.context() as p:
        p.setenv("AWS_ENDPOINT_URL_S3", between.endpoint)
        patience = {"config_kwargs": {"read_timeout": READ_TIMEOUT_S}}
        p.setitem(fsspec.config.conf, "s3", patience)
        storage.disconnect()
        yield between
    storage.disconnect()


def place(server: S3Server, images: int) -> Place:
    """A place of its own with pictures of a few sizes and kinds."""
    root = f"s3://{server.bucket}/{uuid.uuid4()}"
    pictures = {
        f"{i % 7}/{i:04d}.{'jpg' if i % 3 else 'png'}": good_image(i, (24 + i % 9, 16 + i % 5))
        for i in range(images)
    }
    source, whole = f"{root}/in", f"{root}/whole"
    c.put(source, pictures)
    c.run(c.request(source, whole, shard_size=50))
    return Place(source=source, destination=f"{root}/out", expected=c.outputs(whole))


@contextmanager
def faults(proxy: FaultyProxy, rates: dict[Fault, float]) -> Iterator[None]:
    """Faults happen to the requests in the body; before and after it there are none."""
    proxy.injected.clear()
    proxy.requests = 0
    proxy.rates = rates
    try:
        yield
    finally:
        proxy.rates = {}


def check(what: str, proxy: FaultyProxy, there: Place, watcher: Watcher) -> None:
    """Each source has exactly one row, the bytes are those of a run without faults; says so."""
    rows = c.manifest(there.destination).to_pylist()
    current = {row["source"]: row for row in rows}
    print(
        f"\n{what}: {proxy.injected.total()} faults in {proxy.requests} requests "
        f"({dict(sorted(proxy.injected.items()))}); rows expected {len(there.expected)}, "
        f"found {len(rows)}; outputs looked at {watcher.looks}, half {len(watcher.half)}"
    )
    assert len(rows) == len(current) == len(there.expected)
    assert {row["status"] for row in rows} == {"ok"}
    assert c.outputs(there.destination) == there.expected
    assert watcher.half == []
    (record,) = c.run_records(there.destination).to_pylist()
    assert (record["status"], record["ok"]) == ("done", len(there.expected))


def test_a_fifth_of_all_requests_fails_and_the_run_completes(
    proxy: FaultyProxy, s3_env: S3Server, caplog: pytest.LogCaptureFixture
) -> None:
    there = place(s3_env, 300)
    with Watcher(s3_env, there.prefix) as watcher, faults(proxy, EVENLY):
        c.run(c.request(there.source, there.destination, shard_size=50))
    check("a fifth of all requests", proxy, there, watcher)
    assert proxy.injected.total() >= 0.15 * proxy.requests
    assert proxy.injected.keys() == EVENLY.keys()
    assert "S3 slows us down" in caplog.text
    assert "requests failed" in caplog.text


def test_a_store_that_goes_away_for_twenty_seconds_is_waited_for(
    proxy: FaultyProxy, s3_env: S3Server, caplog: pytest.LogCaptureFixture
) -> None:
    there = place(s3_env, 120)
    away_s = 20.0
    with Watcher(s3_env, there.prefix) as watcher, faults(proxy, {"delay": 0.3}):

        def go_away() -> None:
            while watcher.outputs < 20:
                time.sleep(0.01)
            proxy.go_away()
            time.sleep(away_s)
            proxy.come_back()

        outage = threading.Thread(target=go_away)
        outage.start()
        began = time.monotonic()
        c.run(c.request(there.source, there.destination, shard_size=40))
        took = time.monotonic() - began
        outage.join()
    check("a store that goes away", proxy, there, watcher)
    assert took > away_s
    assert proxy.refused > 0
    assert "storage is unavailable" in caplog.text


def test_a_truncated_body_is_noticed_and_asked_for_again(
    proxy: FaultyProxy, s3_env: S3Server
) -> None:
    """By its length, and by its ETag where even Content-Length is wrong."""
    there = place(s3_env, 60)
    rates: dict[Fault, float] = {"truncated": 0.25, "short": 0.15}
    with Watcher(s3_env, there.prefix) as watcher, faults(proxy, rates):
        c.run(c.request(there.source, there.destination, shard_size=30))
    check("truncated bodies", proxy, there, watcher)
    assert proxy.injected["truncated"] >= 5
    assert proxy.injected["short"] >= 3


def test_a_listing_that_breaks_off_is_completed_without_doubles(
    proxy: FaultyProxy, s3_env: S3Server
) -> None:
    names = {f"{i:03d}.txt": b"x" for i in range(60)}
    root = f"s3://{s3_env.bucket}/{uuid.uuid4()}"
    c.put(root, names)
    rates: dict[Fault, float] = {"truncated": 0.3, "error_503": 0.2, "reset": 0.1}
    with faults(proxy, rates):
        pages = list(storage.list_pages(root, page_size=5))
    found = [entry.uri for page in pages for entry in page]
    print(f"\n{proxy.injected.total()} faults; objects expected 60, found {len(found)}")
    assert proxy.injected.total() >= 4
    assert sorted(found) == [f"{root}/{name}" for name in sorted(names)]


def test_a_request_that_stalls_is_given_up_and_made_again(
    proxy: FaultyProxy, s3_env: S3Server
) -> None:
    there = place(s3_env, 40)
    with Watcher(s3_env, there.prefix) as watcher, faults(proxy, {"stall": 0.1}):
        began = time.monotonic()
        c.run(c.request(there.source, there.destination, shard_size=40))
        took = time.monotonic() - began
    check("stalls", proxy, there, watcher)
    assert proxy.injected["stall"] >= 3
    assert took >= READ_TIMEOUT_S


def test_a_store_that_never_comes_back_ends_the_run_and_the_next_one_completes_it(
    proxy: FaultyProxy, s3_env: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks import failures

    there = place(s3_env, 30)
    monkeypatch.setattr(failures.persistently, "__kwdefaults__", {"for_s": 2.0, "stop": None})
    progress = c.RunProgress()
    with Watcher(s3_env, there.prefix) as watcher:
        proxy.rates = {"delay": 0.5}

        def go_away() -> None:
            while watcher.outputs < 5:
                time.sleep(0.01)
            proxy.go_away()

        outage = threading.Thread(target=go_away)
        outage.start()
        with pytest.raises((failures.RunAbortedError, storage.StorageUnavailableError)):
            c.run(c.request(there.source, there.destination, shard_size=5), progress)
        outage.join()
        proxy.rates = {}
        proxy.come_back()
        c.run(c.request(there.source, there.destination, shard_size=5))
    rows = c.current_rows(there.destination)
    print(f"\nfirst run: {progress.ok} of 30; rows expected 30, found {len(rows)}")
    assert 0 < progress.ok < 30
    assert len(rows) == 30
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert c.outputs(there.destination) == there.expected
    assert watcher.half == []


@pytest.fixture(autouse=True)
def _told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
