"""The deployments: their form, and one whole run from the start of a server to the rows."""

import importlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import tomllib
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest
import yaml

from models.images import decode
from tasks.nightly import NightlySettings
from tasks.settings import read_toml, typed
from tests import collections as c
from tests.web_hook import web_hook

if TYPE_CHECKING:
    from prefect import Flow

ROOT = Path(__file__).resolve().parents[2]
PREFECT_FILE = Path("deployments", "prefect.yaml")
README = ROOT / "deployments" / "README.md"
PICTURES = {"chelsea.jpg": (256, 170), "wave.jpg": (240, 133)}

GIVEN_LATER = {
    "source": "in",
    "destination": "out",
    "dataset": "data",
    "styles": ["wave"],
    "registry": "registry",
    "name": "own",
    "model": "bicubic",
    "system": "sr",
}
"""Parameters that whoever triggers a run gives."""

_LIMIT_S = 180
_TAIL = 6000

Json = Any


def deployment_file() -> Json:
    return yaml.safe_load((ROOT / PREFECT_FILE).read_text())


@dataclass(frozen=True, kw_only=True)
class PrefectHouse:
    """A Prefect server of the test's own, and the commands of a user and a worker beside it."""

    folder: Path
    environment: dict[str, str]
    api: httpx.Client

    def run(self, *arguments: str, cwd: Path = ROOT) -> None:
        """`prefect ARGUMENTS` to its end, in `cwd`; a failure shows what it and the server said."""
        with started(arguments, self.log, self.environment, cwd) as process:
            try:
                code: int | str = process.wait(_LIMIT_S)
            except subprocess.TimeoutExpired:
                code = f"nothing within {_LIMIT_S} s"
        if code != 0:
            pytest.fail(
                f"prefect {' '.join(arguments)}: {code}\n{tail(self.log)}\n{self.server_log()}"
            )

    def get(self, path: str) -> Json:
        return self.api.get(path).raise_for_status().json()

    def post(self, path: str, body: Json) -> Json:
        return self.api.post(path, json=body).raise_for_status().json()

    def explanation(self, flow_run: str, state: Json) -> str:
        """Why a run ended in a state: its logs, and what the last command, the worker, said."""
        wanted = {"logs": {"flow_run_id": {"any_": [flow_run]}}, "sort": "TIMESTAMP_ASC"}
        log = "\n".join(f"{e['name']}: {e['message']}" for e in self.post("/logs/filter", wanted))
        ended = f"the run ended as {state['name']}: {state['message']}"
        return f"{ended}\nits logs end:\n{log[-_TAIL:]}\nthe worker's end:\n{tail(self.log)}"

    @property
    def log(self) -> Path:
        """What the last command said."""
        return self.folder / "command.log"

    def server_log(self) -> str:
        return f"the server's log ends:\n{tail(self.folder / 'server.log')}"


def tail(log: Path) -> str:
    """The end of a log, for the message of a failure."""
    return log.read_text(errors="replace")[-_TAIL:] if log.exists() else f"{log.name} is missing"


@contextmanager
def started(
    arguments: tuple[str, ...], log: Path, environment: dict[str, str], cwd: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """`prefect ARGUMENTS` while the body runs; it and all its descendants end with the body."""
    command = [sys.executable, "-m", "prefect", *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=cwd, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield process
    finally:
        end_family(process)


def end_family(process: subprocess.Popen[bytes]) -> None:
    """End a process and its descendants, for a flow run has a session, so a group, of its own."""
    family: list[psutil.Process] = []
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(process.pid)
        family = [parent, *parent.children(recursive=True)]
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.terminate()
    for member in psutil.wait_procs(family, timeout=20)[1]:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()


def until(condition: Callable[[], bool], what: str, explanation: Callable[[], str]) -> None:
    """Wait for a condition, and fail with an explanation when it takes too long."""
    deadline = time.monotonic() + _LIMIT_S
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"no {what} after {_LIMIT_S} s; {explanation()}")
        time.sleep(0.5)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def own_environment(folder: Path, url: str) -> dict[str, str]:
    """This process's environment, less any Prefect settings of whoever runs the tests."""
    inherited = {
        k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "PIXELMILL_"))
    }
    return inherited | {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "NO_COLOR": "1",
    }


@pytest.fixture
def house(tmp_path: Path) -> Iterator[PrefectHouse]:
    """A server over an empty SQLite database."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    environment = own_environment(tmp_path, url)
    arguments = ("server", "start", "--host", "127.0.0.1", "--port", str(port))
    log = tmp_path / "server.log"
    # a proxy that the environment names is not asked for a server on this machine
    with (
        httpx.Client(base_url=url, timeout=60, trust_env=False) as api,
        started(arguments, log, environment, tmp_path) as process,
    ):
        house = PrefectHouse(folder=tmp_path, environment=environment, api=api)

        def answers() -> bool:
            if process.poll() is not None:
                pytest.fail(f"the server ended by itself; {house.server_log()}")
            with suppress(httpx.TransportError):
                return api.get("/health").is_success
            return False

        until(answers, "Prefect server", house.server_log)
        yield house


def check_descriptions(schema: Json) -> None:
    """A person who fills in the form reads what each field means."""
    fields = schema["properties"].items()
    assert [name for name, field in fields if not field.get("description")] == []


def check_form(schema: Json) -> None:
    """And what may be chosen, in the form of upscale."""
    check_descriptions(schema)
    fields = schema["properties"]
    assert fields["format"]["enum"] == ["png", "webp", "jpeg", "keep"]
    assert fields["precision"]["enum"] == ["auto", "fp32", "bf16"]
    assert (fields["tile"]["minimum"], fields["tile"]["maximum"]) == (16, 4096)
    assert schema["required"] == ["source", "destination"]


def flow_of(deployment: Json) -> "Flow[..., Any]":
    """The flow that a deployment's entry point leads to, as Prefect would find it."""
    from prefect import Flow

    path, name = deployment["entrypoint"].split(":")
    assert (ROOT / path).is_file(), deployment["name"]
    module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
    flow = getattr(module, name)
    assert isinstance(flow, Flow)
    return flow


class TestTheForm:
    """What Prefect makes of a flow's signature and docstring, and what the file says of it."""

    def test_upscale_shows_its_choices(self) -> None:
        from flows.upscale import upscale

        check_form(upscale.parameters.model_dump())

    @pytest.mark.parametrize("deployment", deployment_file()["deployments"], ids=itemgetter("name"))
    def test_a_deployment_has_this_version_and_parameters_that_its_flow_takes_and_explains(
        self, deployment: Json
    ) -> None:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        flow = flow_of(deployment)
        assert deployment["version"] == project["version"]
        check_descriptions(flow.parameters.model_dump())
        given = deployment.get("parameters", {})
        needed = {name: GIVEN_LATER[name] for name in flow.parameters.required if name not in given}
        flow.validate_parameters(needed | given)
        # what is on a timer must not wait for somebody to fill in a form
        assert not (deployment["schedules"] and needed)

    def test_the_example_of_a_night_says_what_the_deployed_one_says(self) -> None:
        example = read_toml(str(ROOT / "deployments" / "nightly.example.toml"))
        settings = typed(NightlySettings, example)
        (deployed,) = [d for d in deployment_file()["deployments"] if d["name"] == "nightly-sr"]
        shared = deployed["parameters"]["settings"]
        assert {name: example[name] for name in shared if name != "training"} == {
            name: value for name, value in shared.items() if name != "training"
        }
        assert shared["training"].items() <= example["training"].items()
        assert (settings.training.steps, settings.training.learning_rate) == (2000, 5e-4)


@pytest.mark.slow
class TestARunByAWorker:
    def test_deploy_trigger_work_and_look(self, house: PrefectHouse, tmp_path: Path) -> None:
        source, destination = tmp_path / "in", tmp_path / "out"
        source.mkdir()
        for name in PICTURES:
            shutil.copy(ROOT / "tests" / "images" / name, source)

        house.run("--no-prompt", "work-pool", "create", "pixelmill", "--type", "process")
        house.run("--no-prompt", "deploy", "--prefect-file", str(PREFECT_FILE), "--all")
        self._check_deployments(house)

        deployment = house.get("/deployments/name/upscale/upscale-on-demand")
        trigger = f"/deployments/{deployment['id']}/create_flow_run"
        places = {"source": str(source), "destination": str(destination)}
        refused = house.api.post(trigger, json={"parameters": places | {"format": "gif"}})
        assert refused.is_client_error, refused.text
        assert "gif" in refused.text
        run = house.post(trigger, {"parameters": places | {"model": "bicubic", "scale": 2}})

        # the worker's folder is not the repository: it is told where that is
        house.environment["PIXELMILL_HOME"] = str(ROOT)
        house.run("worker", "start", "--pool", "pixelmill", "--run-once", cwd=tmp_path)

        state = house.get(f"/flow_runs/{run['id']}")["state"]
        assert state["type"] == "COMPLETED", house.explanation(run["id"], state)
        self._check_outputs(str(destination))

    def _check_deployments(self, house: PrefectHouse) -> None:
        for name in ("bulk-upscale", "upscale-on-demand"):
            check_form(house.get(f"/deployments/name/upscale/{name}")["parameter_openapi_schema"])
        for name, cron in (
            ("upscale/bulk-upscale", "0 2 * * *"),
            ("nightly/nightly-sr", "0 3 * * *"),
        ):
            nightly = house.get(f"/deployments/name/{name}")
            (schedule,) = nightly["schedules"]
            assert schedule["active"]
            assert (schedule["schedule"]["cron"], schedule["schedule"]["timezone"]) == (cron, "UTC")
            assert nightly["global_concurrency_limit"]["limit"] == 1
            assert nightly["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
        for name in ("train-sr/train-sr", "evaluate-sr/evaluate-sr", "promote/promote"):
            on_demand = house.get(f"/deployments/name/{name}")
            assert (on_demand["schedules"], on_demand["global_concurrency_limit"]) == ([], None)
        dataset = house.get("/deployments/name/dataset-sr/dataset-sr")
        assert (dataset["schedules"], dataset["global_concurrency_limit"]["limit"]) == ([], 1)

    def _check_outputs(self, destination: str) -> None:
        images = c.outputs(destination)
        rows = {Path(row["source"]).name: row for row in c.manifest(destination).to_pylist()}
        assert rows.keys() == PICTURES.keys()
        for name, (width, height) in PICTURES.items():
            assert rows[name]["status"] == "ok", rows[name]
            assert decode(images[rows[name]["output"]]).pixels.shape[:2] == (2 * height, 2 * width)
        (record,) = c.run_records(destination).to_pylist()
        assert (record["status"], record["ok"], record["model"]) == ("done", 2, "bicubic")


@pytest.mark.slow
class TestTheAutomations:
    """The file, as deployments/README.md has it put into a server."""

    def test_a_failed_night_and_a_promotion_are_told_and_other_flows_are_not(
        self, house: PrefectHouse, tmp_path: Path
    ) -> None:
        with web_hook() as hook:
            house.environment.update(PIXELMILL_WEBHOOK=hook.url, NO_PROXY="127.0.0.1")
            (script,) = re.findall(r'python -c "(.*?)"\)', README.read_text(), re.DOTALL)
            block = subprocess.run(
                [sys.executable, "-c", script],
                cwd=tmp_path, env=house.environment, text=True, capture_output=True, check=True,
            ).stdout.strip()  # fmt: skip
            told = (ROOT / "deployments" / "automations.yaml").read_text()
            (tmp_path / "own.yaml").write_text(told.replace("WEBHOOK_BLOCK", block))
            house.run("automation", "create", "--from-file", str(tmp_path / "own.yaml"))

            for flow in ("upscale", "nightly"):
                self._fail(house, flow)
            text = 'owl: owl@2 promoted, "better"'
            self._promote(house, text)
            until(lambda: len(hook.posts) >= 2, "message", house.server_log)
            failed, promoted = sorted(hook.told(), key=lambda message: message == text)
        assert promoted == text
        assert failed == 'the night nightly-1 failed: it is "broken"'

    def _fail(self, house: PrefectHouse, flow: str) -> None:
        flow_id = house.post("/flows/", {"name": flow})["id"]
        wanted = {"flow_id": flow_id, "name": f"{flow}-1", "state": {"type": "RUNNING"}}
        run = house.post("/flow_runs/", wanted)
        state = {"type": "FAILED", "name": "Failed", "message": 'it is "broken"'}
        house.post(f"/flow_runs/{run['id']}/set_state", {"state": state})

    def _promote(self, house: PrefectHouse, text: str) -> None:
        event = {
            "id": str(uuid.uuid4()),
            "occurred": datetime.now(UTC).isoformat(),
            "event": "pixelmill.nightly.promoted",
            "resource": {"prefect.resource.id": "pixelmill.owl", "prefect.resource.name": "owl"},
            "payload": {"text": text},
        }
        house.api.post("/events", json=[event]).raise_for_status()
