"""Nights one after another on a real S3 server, and how people are told of them."""

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.images import Picture, encode
from models.sr_training import SrTraining
from models.training import DivergedError, Loss
from tasks import sr_training, storage, versions
from tasks.nightly import NightlySettings
from tasks.training import read_metrics
from tests import collections as c
from tests.s3_server import S3Server
from tests.web_hook import WebHook, web_hook

ROOT = Path(__file__).resolve().parents[2]
NAME = "owl"
STEPS, CHECKPOINT_EVERY, FAILS_AT = 24, 8, 13
SETTINGS = NightlySettings(
    images="",
    dataset="",
    registry="",
    name=NAME,
    scale=2,
    validation=0.2,
    test=0.2,
    margin=0.0,
    training=SrTraining(
        network="mill-small",
        steps=STEPS,
        batch_size=8,
        patch=12,
        expansion=0,
        warmup=2,
        learning_rate=5e-3,
        validate_every=STEPS,
        checkpoint_every=CHECKPOINT_EVERY,
    ),
)


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebHook]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with web_hook() as server:
        monkeypatch.setenv("PIXELMILL_WEBHOOK", server.url)
        yield server


def events(wanted: str, count: int) -> list[dict[str, Any]]:
    """Events of that name, once the server has so many: it writes them down seconds later."""
    from prefect.client.orchestration import get_client

    deadline = time.monotonic() + 30
    with get_client(sync_client=True) as client:
        while True:
            asked = {"filter": {"event": {"name": [wanted]}}}
            found = client._client.post("/events/filter", json=asked).json()["events"]
            if len(found) >= count or time.monotonic() > deadline:
                return list(found)
            time.sleep(0.2)


class TestANotice:
    def test_it_is_an_event_and_a_message(self, prefect_server: None, hook: WebHook) -> None:
        from flows.notices import announce

        announce("pixelmill.test.news", "owl", "owl: all is well")
        assert hook.told() == ["owl: all is well"]
        (event,) = events("pixelmill.test.news", 1)
        assert event["resource"]["prefect.resource.id"] == "pixelmill.owl"
        assert event["payload"] == {"text": "owl: all is well"}

    @pytest.mark.parametrize(
        ("address", "words"),
        [
            ("http://127.0.0.1:9/private-path", "was not reached: ConnectError"),
            ("http://host:port/private-path", "was not reached: InvalidURL"),
            ("private-path", "was not reached: UnsupportedProtocol"),
            (None, "answered 500"),
        ],
    )
    def test_a_hook_that_fails_is_a_line_in_the_log_without_its_address(
        self,
        prefect_server: None,
        hook: WebHook,
        address: str | None,
        words: str,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        from flows.notices import announce

        hook.status = 500
        monkeypatch.setenv("PIXELMILL_WEBHOOK", address or hook.url)
        with caplog.at_level(logging.WARNING, logger="flows.notices"):
            announce("pixelmill.test.unheard", "owl", "nobody hears")
        (line,) = [r.getMessage() for r in caplog.records if r.name == "flows.notices"]
        assert line == f"PIXELMILL_WEBHOOK {words}"


def more_pictures(settings: NightlySettings, seed: int, count: int) -> None:
    """New pictures: large blocks with sharp edges, which can be learned, and some noise."""
    rng = np.random.default_rng(seed)
    pictures = {}
    for k in range(count):
        rough = np.kron(rng.integers(0, 256, (8, 8, 3)), np.ones((8, 8, 1)))
        pixels = np.clip(rough + rng.normal(0, 2, rough.shape), 0, 255).astype(np.uint8)
        pictures[f"{seed}-{k:02d}.png"] = encode(Picture(pixels=pixels), "png")
    c.put(settings.images, pictures)


class Registry:
    """What a night leaves behind it, read as anybody would."""

    def __init__(self, settings: NightlySettings) -> None:
        self._place = (settings.registry, "sr", NAME)
        self._folder = storage.join(settings.registry, "sr", NAME)

    def champions(self) -> list[int]:
        """Every champion, the first first."""
        current = versions.champion(*self._place)
        return [] if current is None else [entry.version for entry in current.history]

    def versions(self) -> list[int]:
        return [version.version for version in versions.list_versions(*self._place)]

    def parent(self, number: int) -> str | None:
        return versions.read_record(versions.resolve(*self._place[:2], f"{NAME}@{number}")).parent

    def nights(self) -> list[dict[str, Any]]:
        """Their records, the first first."""
        pages = storage.list_pages(storage.join(self._folder, "nights"))
        found = [json.loads(storage.read(e.uri)) for page in pages for e in page]
        return sorted(found, key=lambda night: night["began_at"])

    def trainings(self) -> set[str]:
        """The folders of runs that have begun."""
        pages = storage.list_pages(storage.join(self._folder, "training"))
        return {e.uri.rsplit("/training/", 1)[1].split("/")[0] for page in pages for e in page}

    def folder(self, run: str) -> str:
        return storage.join(self._folder, "training", run)


def failing_loss(real: Any) -> Any:
    """A loss that is no number from some step on, as if the device had gone wrong."""

    def loss_of(*arguments: Any, **options: Any) -> Loss:
        loss = real(*arguments, **options)

        def broken(network: torch.nn.Module, batch: Any, step: int) -> dict[str, torch.Tensor]:
            parts = loss(network, batch, step)
            lost = float("nan") if step >= FAILS_AT else 1.0
            return {name: value * lost for name, value in parts.items()}

        return broken

    return loss_of


def as_toml(settings: NightlySettings) -> str:
    """The settings as a user writes them."""
    told = asdict(settings)
    training = told.pop("training")
    loss = training.pop("loss")

    def lines(table: dict[str, Any]) -> str:
        return "".join(f"{k} = {json.dumps(v)}\n" for k, v in table.items() if v is not None)

    return f"{lines(told)}[training]\n{lines(training)}[training.loss]\n{lines(loss)}"


@pytest.mark.slow
def test_nights_that_promote_keep_fail_and_are_completed(
    prefect_server: None,
    s3_env: S3Server,
    hook: WebHook,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from flows.nightly import nightly

    place = f"s3://{s3_env.bucket}/nights-{tmp_path.name}"
    settings = replace(
        SETTINGS,
        images=f"{place}/in",
        dataset=f"{place}/dataset",
        registry=f"{place}/registry",
    )
    registry = Registry(settings)

    # the first night: the first version is champion
    more_pictures(settings, seed=1, count=20)
    first = nightly(settings)
    assert (first.night.outcome, first.night.champion) == ("promoted", None)
    assert (registry.versions(), registry.champions()) == ([1], [1])
    assert hook.told() == [first.closing_line()]

    # nothing new: no training, no version, no message
    idle = nightly(settings)
    assert (idle.anything_new, idle.night, idle.champion) == (False, first.night, f"{NAME}@1")
    assert "nothing new among 20 images" in idle.closing_line()
    assert (registry.versions(), len(registry.trainings()), hook.told()) == ([1], 1, [])

    # a night that makes it better: promoted, and the champion is what it went on from
    more_pictures(settings, seed=2, count=6)
    better = nightly(settings)
    assert (better.night.outcome, better.night.challenger) == ("promoted", f"{NAME}@2")
    assert better.night.challenger_psnr > better.night.champion_psnr  # type: ignore[operator]
    assert (registry.versions(), registry.champions()) == ([1, 2], [1, 2])
    assert registry.parent(2) == f"{NAME}@1"
    assert hook.told() == [better.closing_line()]

    # a night that finds nothing better: a version, and its reason, but no other champion
    more_pictures(settings, seed=3, count=6)
    kept = nightly(replace(settings, margin=50.0))
    assert (kept.night.outcome, kept.night.challenger) == ("kept", f"{NAME}@3")
    assert kept.night.why.startswith("not better: ")
    assert kept.night.why.endswith("margin 50)")
    assert (registry.versions(), registry.champions()) == ([1, 2, 3], [1, 2])
    assert hook.told() == [kept.closing_line()]
    assert f"{NAME}@3 not promoted, not better" in kept.closing_line()
    assert f"champion {NAME}@2" in kept.closing_line()

    # a night that fails half way changes nothing, and says so
    more_pictures(settings, seed=4, count=6)
    before = registry.trainings()
    with monkeypatch.context() as broken:
        broken.setattr(sr_training, "loss_of", failing_loss(sr_training.loss_of))
        with pytest.raises(DivergedError, match=f"the loss is nan at step {FAILS_AT}"):
            nightly(settings)
    failed_at = datetime.now(UTC)
    assert (registry.versions(), registry.champions()) == ([1, 2, 3], [1, 2])
    assert [night["outcome"] for night in registry.nights()] == [
        "promoted", "promoted", "kept", "begun"
    ]  # fmt: skip
    (message,) = hook.told()
    assert message.startswith(f"{NAME}: the night failed: ")
    assert f"the loss is nan at step {FAILS_AT}" in message

    # the next one, the command as a timer would start it, completes it from its checkpoint
    (tmp_path / "nightly.toml").write_text(as_toml(settings))
    done = command("nightly", "--config", str(tmp_path / "nightly.toml"))
    assert done.returncode == 0, done.stderr
    assert registry.versions() == [1, 2, 3, 4]
    assert registry.champions() == [1, 2, 4]
    assert registry.parent(4) == f"{NAME}@2"
    last = registry.nights()[-1]
    assert (last["outcome"], last["challenger"]) == ("promoted", f"{NAME}@4")
    assert hook.told() == [done.stdout.strip()]
    assert f"{NAME}@4 promoted, better" in done.stdout
    (run,) = registry.trainings() - before
    rows = read_metrics(registry.folder(run), until=STEPS)
    again = {row.step for row in rows if row.at > failed_at}
    assert min(again) >= FAILS_AT - FAILS_AT % CHECKPOINT_EVERY
    assert max(again) == STEPS
    assert {row.step for row in rows if row.at <= failed_at} == {0}

    # and after it there is nothing to do again
    assert nightly(settings).anything_new is False
    assert registry.versions() == [1, 2, 3, 4]

    for outcome, count in (("promoted", 3), ("kept", 1), ("failed", 1)):
        found = events(f"pixelmill.nightly.{outcome}", count)
        assert len(found) == count
        assert {e["resource"]["prefect.resource.name"] for e in found} == {NAME}


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`pixelmill ARGUMENTS` as a process that reports to the tests' Prefect server."""
    from prefect.settings import PREFECT_API_URL

    own = {k: v for k, v in os.environ.items() if k != "PREFECT_LOGGING_LEVEL"}
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments],
        cwd=ROOT,
        env={**own, "PREFECT_API_URL": str(PREFECT_API_URL.value())},
        text=True,
        capture_output=True,
        timeout=300,
        check=False,
    )
