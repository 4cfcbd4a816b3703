"""The deployments: their form, and one whole run from the start of a server to the rows."""

import importlib
import re
import shutil
import subprocess
import sys
import tomllib
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from models.images import decode
from tasks.nightly import NightlySettings
from tasks.settings import read_toml, typed
from tests import collections as c
from tests.prefect_house import PREFECT_FILE, ROOT, Json, PrefectHouse, prefect_house, until
from tests.web_hook import web_hook

if TYPE_CHECKING:
    from prefect import Flow

README = ROOT / "deployments" / "README.md"
PICTURES = {"chelsea.jpg": (256, 170), "wave.jpg": (240, 133)}

GIVEN_LATER = {
    "source": "in",
    "labelled": "in",
    "classifier": "squeezenet1_0",
    "destination": "out",
    "dataset": "data",
    "styles": ["wave"],
    "registry": "registry",
    "name": "own",
    "model": "bicubic",
    "system": "sr",
}
"""Parameters that whoever triggers a run gives."""


def deployment_file() -> Json:
    return yaml.safe_load((ROOT / PREFECT_FILE).read_text())


@pytest.fixture
def house(tmp_path: Path) -> Iterator[PrefectHouse]:
    """A server over an empty SQLite database."""
    with prefect_house(tmp_path) as house:
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

    def test_every_flow_has_a_deployment(self) -> None:
        found = {
            f"flows/{path.name}:{name}"
            for path in (ROOT / "flows").glob("*.py")
            for name in re.findall(r"^@flow\b.*?^def (\w+)", path.read_text(), re.M | re.S)
        }
        deployed = {deployment["entrypoint"] for deployment in deployment_file()["deployments"]}
        assert found == deployed

    def test_what_runs_at_night_is_tried_again_and_every_run_has_a_heartbeat(self) -> None:
        for deployment in deployment_file()["deployments"]:
            env = deployment["work_pool"]["job_variables"]["env"]
            assert int(env["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"]) <= 30, deployment["name"]
            nightly = "nightly" in deployment["tags"]
            assert env.get("PREFECT_FLOWS_DEFAULT_RETRIES") == ("2" if nightly else None)

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

        house.deploy()
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

    def test_a_failed_night_a_promotion_and_a_zombie_are_acted_upon_and_nothing_else(
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
            # ten seconds, the shortest that Prefect takes, in place of ninety
            told = told.replace("WEBHOOK_BLOCK", block).replace("within: 90", "within: 10")
            (tmp_path / "own.yaml").write_text(told)
            house.run("automation", "create", "--from-file", str(tmp_path / "own.yaml"))

            zombie = self._begin(house, "upscale")
            self._tell(house, "prefect.flow-run.heartbeat", f"prefect.flow-run.{zombie}")
            for flow in ("upscale", "nightly"):
                self._fail(house, flow)
            text = 'owl: owl@2 promoted, "better"'
            self._promote(house, text)
            # a state that the server took, and answered 503, is told twice
            until(lambda: len({p["text"] for p in hook.posts}) >= 2, "message", house.server_log)
            until(
                lambda: house.get(f"/flow_runs/{zombie}")["state"]["type"] == "CRASHED",
                "end of the run without a heartbeat",
                house.server_log,
            )
        assert set(hook.told()) == {text, 'the night nightly-1 failed: it is "broken"'}

    def _begin(self, house: PrefectHouse, flow: str) -> str:
        flow_id = house.post("/flows/", {"name": flow})["id"]
        wanted = {"flow_id": flow_id, "name": f"{flow}-1", "state": {"type": "RUNNING"}}
        return str(house.post("/flow_runs/", wanted)["id"])

    def _fail(self, house: PrefectHouse, flow: str) -> None:
        state = {"type": "FAILED", "name": "Failed", "message": 'it is "broken"'}
        run = self._begin(house, flow)
        house.post(f"/flow_runs/{run}/set_state", {"state": state})

    def _promote(self, house: PrefectHouse, text: str) -> None:
        self._tell(house, "pixelmill.nightly.promoted", "pixelmill.owl", text)

    def _tell(self, house: PrefectHouse, event: str, resource: str, text: str = "") -> None:
        told = {
            "id": str(uuid.uuid4()),
            "occurred": datetime.now(UTC).isoformat(),
            "event": event,
            "resource": {"prefect.resource.id": resource, "prefect.resource.name": "owl"},
            "payload": {"text": text},
        }
        house.api.post("/events", json=[told]).raise_for_status()
