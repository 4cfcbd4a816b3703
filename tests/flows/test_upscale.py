"""The flow and the command, with Prefect and with real processes."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tasks import storage, versions
from tasks.registry import load_model
from tasks.runs import TooManyFailedError
from tasks.upscaling import open_job
from tests import collections as c
from tests.corpus import good_image
from tests.versions import publish

GOOD = {f"{i:03d}.{'jpg' if i % 2 else 'png'}": good_image(i, (48, 32)) for i in range(6)}


def _place(store: str, pictures: dict[str, bytes]) -> tuple[str, str]:
    source, destination = storage.join(store, "in"), storage.join(store, "out")
    c.put(source, pictures)
    return source, destination


@pytest.fixture(scope="module")
def prefect_environment(prefect_server: None) -> dict[str, str]:
    """The environment of a process that reports to the tests' Prefect server."""
    from prefect.settings import PREFECT_API_URL

    own = {k: v for k, v in os.environ.items() if k != "PREFECT_LOGGING_LEVEL"}
    return {**own, "PREFECT_API_URL": str(PREFECT_API_URL.value())}


def _command(*arguments: str, env: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli", *arguments],
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def _result(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=180)
    return process.returncode, out, err


def test_the_flow_upscales_and_leaves_its_artifacts(prefect_server: None, store: str) -> None:
    from prefect.client.orchestration import get_client

    from flows.upscale import upscale

    source, destination = _place(store, GOOD)
    summary = upscale(source, destination, model="bicubic", scale=2, shard_size=4)
    assert (summary.ok, summary.failed) == (len(GOOD), 0)
    assert len(c.outputs(destination)) == len(GOOD)
    assert c.run_records(destination).column("status").to_pylist() == ["done"]
    with get_client(sync_client=True) as client:
        found = client.read_artifacts()
    kinds = {a.type for a in found}
    assert {"progress", "table"} <= kinds
    assert any(a.type == "table" and summary.run in str(a.data) for a in found)


def test_too_many_failures_fail_the_flow_run(prefect_server: None, tmp_path: Path) -> None:
    from flows.upscale import upscale

    source, destination = _place(str(tmp_path), GOOD | {"a.png": b"", "b.png": b"text"})
    with pytest.raises(TooManyFailedError, match="2 images failed"):
        upscale(source, destination, model="bicubic", scale=2)
    assert len(c.outputs(destination)) == len(GOOD)


def test_a_new_champion_makes_what_is_new_and_redoes_only_when_asked(
    prefect_server: None, store: str
) -> None:
    from flows.promote import promote
    from flows.upscale import upscale

    source, destination = _place(store, GOOD)
    registry = storage.join(store, "registry")
    digests = [
        load_model(publish(registry, "own", i).ref, 2, "fp32", registry).digest for i in (1, 2)
    ]

    def made(model: str = "own", **options: bool) -> tuple[int, int]:
        done = upscale(source, destination, model=model, registry=registry, shard_size=4, **options)
        return done.ok, done.already_done

    def by_model() -> dict[tuple[object, object], int]:
        rows = c.current_rows(destination).values()
        return dict(Counter((row["model"], row["model_digest"]) for row in rows))

    assert "version 1 (was none)" in promote("sr", "own", registry, version=1)
    assert made() == (6, 0)
    assert by_model() == {("own@1", digests[0]): 6}
    assert "version 2 (was 1)" in promote("sr", "own", registry)
    assert made() == (0, 6)
    c.put(source, {"new.png": good_image(9, (48, 32))})
    assert made() == (1, 6)
    assert by_model() == {("own@1", digests[0]): 6, ("own@2", digests[1]): 1}
    assert made(redo_outdated=True) == (6, 1)
    assert by_model() == {("own@2", digests[1]): 7}
    assert made(redo_outdated=True) == made() == (0, 7)
    # a version by its number is another request than the champion, whoever that is
    assert made("own@2") == (7, 0)
    assert made("own@2") == (0, 7)


def test_a_run_keeps_the_champion_that_it_began_with(store: str) -> None:
    source, destination = _place(store, GOOD)
    registry = storage.join(store, "registry")
    shipped = c.request(source, destination, model="mill-x2", registry=registry)
    before = open_job(shipped)
    for seed in (1, 2):
        publish(registry, "mill-x2", seed)
    versions.promote(registry, "sr", "mill-x2", 1, reason="test")
    first = open_job(shipped)
    versions.promote(registry, "sr", "mill-x2", 2, reason="test")
    pictures = []
    for job, name in ((before, "mill-x2"), (first, "mill-x2@1"), (open_job(shipped), "mill-x2@2")):
        assert c.run(replace(job, request=replace(job.request, overwrite=True))).ok == len(GOOD)
        rows = c.current_rows(destination).values()
        expected = load_model(name, 2, "fp32", "" if job is before else registry).digest
        assert {(row["model"], row["model_digest"]) for row in rows} == {(name, expected)}
        pictures.append(c.outputs(destination))
    assert pictures[0] != pictures[1]
    assert pictures[0] != pictures[2]
    assert pictures[1] != pictures[2]


class TestTheCommand:
    """Exit codes and sentences, from real processes."""

    def test_done_then_done_already(
        self, prefect_environment: dict[str, str], local_and_s3: str
    ) -> None:
        source, destination = _place(local_and_s3, GOOD)
        env = {**prefect_environment, **{k: v for k, v in os.environ.items() if "AWS" in k}}
        arguments = ("upscale", source, destination, "--model", "mill-x4")
        code, out, err = _result(_command(*arguments, env=env))
        assert (code, err) == (0, "")
        assert "6 images upscaled by mill-x4" in out
        assert out.strip().endswith(storage.normalise(destination))
        code, out, _ = _result(_command(*arguments, env=env))
        assert code == 0
        assert "0 images upscaled" in out
        assert "6 done already" in out

    def test_failures_end_in_3_or_0_as_the_user_says(
        self, prefect_environment: dict[str, str], tmp_path: Path
    ) -> None:
        source, destination = _place(str(tmp_path), GOOD | {"bad.png": b"text"})
        base = ("upscale", source, destination, "--model", "bicubic", "--max-failed")
        code, _, err = _result(_command(*base, "0.1", env=prefect_environment))
        assert code == 3
        assert err.startswith("pixelmill: 1 image failed"), err
        assert err.count("\n") == 1
        assert _result(_command(*base, "0.5", env=prefect_environment))[0] == 0

    def test_a_damaged_checkpoint_is_one_sentence(
        self, prefect_environment: dict[str, str], tmp_path: Path
    ) -> None:
        source, destination = _place(str(tmp_path), GOOD)
        damaged = tmp_path / "model.pth"
        damaged.write_bytes(b"not a checkpoint")
        code, out, err = _result(
            _command(
                "upscale", source, destination, "--model", str(damaged), env=prefect_environment
            )
        )
        assert (code, out) == (2, "")
        assert err.count("\n") == 1, err
        assert "no checkpoint, is damaged, or holds more than weights" in err

    @pytest.mark.parametrize(
        ("arguments", "code", "words"),
        [
            (("nowhere", "out"), 1, "no such"),
            ((".", "./out"), 2, "must not lie inside the source"),
            (("tests/images", "out", "--scale", "5"), 2, "scale must be 2, 3 or 4, got 5"),
            (("tests/images", "out", "--model", "magic"), 2, "no model named 'magic'"),
            (("tests/images", "out", "--format", "tiff"), 2, "tiff"),
            (("nope://bucket/x", "out"), 2, "nope"),
            (("s3://no-such-bucket/x", "out"), 1, "no such"),
        ],
    )
    def test_a_wrong_command_is_told_at_once(
        self, s3_env: object, arguments: tuple[str, ...], code: int, words: str
    ) -> None:
        began = time.monotonic()
        process = _command("upscale", *arguments, env=dict(os.environ))
        got, out, err = _result(process)
        assert (got, out) == (code, ""), err
        assert words in err
        assert "Traceback" not in err
        assert time.monotonic() - began < 15  # no server was started for it

    def test_promoting_starts_no_server_and_what_is_not_there_is_a_wrong_command(
        self, local_and_s3: str
    ) -> None:
        publish(local_and_s3, "own", 1)
        env = {**os.environ, "PREFECT_API_URL": "http://127.0.0.1:9/api"}
        env["PIXELMILL_REGISTRY"] = local_and_s3
        code, out, err = _result(_command("promote", "sr", "own", env=env))
        assert (code, err) == (0, "")
        assert out.startswith("own: champion is now version 1 (was none), promoted by hand: ")
        code, out, _ = _result(_command("models", "sr", env=env))
        assert (code, out.splitlines()[1].split()[:2]) == (0, ["*", "own@1"])
        code, out, err = _result(_command("promote", "sr", "own", "--version", "7", env=env))
        assert (code, out) == (2, "")
        assert err == "pixelmill: own@7 is not there: own has the versions 1\n"

    def test_wrong_credentials_are_told_without_them(self, s3_env: object) -> None:
        env = {**os.environ, "AWS_SECRET_ACCESS_KEY": "wrong-and-private"}
        code, _, err = _result(_command("upscale", "s3://test/in", "out", env=env))
        assert code == 1
        assert "access to s3://test/in was refused" in err
        assert "wrong-and-private" not in err
        assert "Traceback" not in err


def _wait_for_outputs(destination: str, count: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if storage.is_folder(f"{destination}/images") and len(c.outputs(destination)) >= count:
            return
        time.sleep(0.05)
    raise TimeoutError(f"{count} outputs did not appear in {destination}")


def test_sigterm_commits_what_is_finished(
    prefect_environment: dict[str, str], tmp_path: Path
) -> None:
    many = {f"{i:03d}.png": good_image(2 * i, (160, 120)) for i in range(60)}
    source, destination = _place(str(tmp_path), many)
    process = _command("upscale", source, destination, env=prefect_environment)
    _wait_for_outputs(destination, 3)
    process.send_signal(signal.SIGTERM)
    code, _, err = _result(process)
    assert code == 1
    assert "run it again to go on" in err
    kept = c.current_rows(destination)
    assert 3 <= len(kept) < 60
    assert set(c.outputs(destination)) == {row["output"] for row in kept.values()}


def test_kill_9_costs_at_most_a_shard_and_no_byte(
    prefect_environment: dict[str, str], local_and_s3: str
) -> None:
    from tests.benchmarks.kills import survive_kills

    env = {**prefect_environment, **{k: v for k, v in os.environ.items() if "AWS" in k}}
    outcome = survive_kills(local_and_s3, images=24, shard_size=4, kills=2, env=env, seed=1)
    assert outcome.kills == 2
    assert outcome.half_objects == 0
    assert outcome.equal_bytes
    assert outcome.equal_rows
    assert outcome.most_done_twice <= 4
