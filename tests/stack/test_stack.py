"""The whole system end to end: every deployment by the API, a worker killed, a server restarted."""

import time
from pathlib import Path

import pytest

from tasks import storage
from tests import collections as c
from tests.corpus import good_image
from tests.flows.test_deployment import GIVEN_LATER
from tests.prefect_house import ROOT, Json, until
from tests.stack.conftest import Stack
from tests.versions import publish

SLOW = {"delay": 1.0}
"""Each request half a second late, so that a run is under way for long enough."""


def pictures(place: str, images: int, size: tuple[int, int] = (48, 32)) -> str:
    """A collection of its own in the store."""
    source = f"{place}/in"
    c.put(source, {f"{i:03d}.png": good_image(i, size) for i in range(images)})
    return source


def small_runs(stack: Stack) -> dict[str, Json]:
    """For each deployment that is cheap: parameters of a run that is over in seconds."""
    place = stack.place()
    source, registry = pictures(place, 6), f"{place}/registry"
    larger = pictures(f"{place}/larger", 4, (96, 96))
    for seed in (1, 2):
        publish(registry, "own", seed)
    quick = {"model": "bicubic", "scale": 2}
    return {
        "bulk-upscale": {"source": source, "destination": f"{place}/nightly", **quick},
        "upscale-on-demand": {"source": source, "destination": f"{place}/upscaled", **quick},
        "stylize-on-demand": {
            "source": source, "destination": f"{place}/painted", "styles": ["starry_night"],
        },
        "texture-on-demand": {"source": source, "destination": f"{place}/grown", "size": "64"},
        "dataset-sr": {"source": larger, "destination": f"{place}/pairs", "scale": 2},
        "evaluate-sr": {"model": "bicubic", "dataset": larger, "scale": 2},
        "dataset-chairs": {
            "destination": f"{place}/chairs", "chairs": 2, "azimuths": 2, "size": 32,
        },
        "promote": {"system": "sr", "name": "own", "registry": registry, "version": 2},
    }  # fmt: skip


def test_every_deployment_is_triggered(stack: Stack) -> None:
    """The cheap ones run to their end; the others are accepted for another day, and cancelled."""
    runs = {name: stack.trigger(name, given) for name, given in small_runs(stack).items()}
    others = stack.deployments().keys() - runs.keys()
    for name in sorted(others):
        check_accepted(stack, name)
    for run in runs.values():
        stack.completed(run)
    print(f"\n{len(runs)} deployments ran to their end, {len(others)} were accepted and cancelled")
    assert len(runs) + len(others) == len(stack.deployments())


def check_accepted(stack: Stack, name: str) -> None:
    """A run in the far future is accepted, of the right types only, and can be cancelled."""
    deployment = stack.deployments()[name]
    required = deployment["parameter_openapi_schema"].get("required", [])
    given = {key: GIVEN_LATER[key] for key in required if key not in deployment["parameters"]}
    run = stack.trigger(name, given, in_days=30)
    assert stack.state(run)["type"] == "SCHEDULED", name
    cancelled = {"state": {"type": "CANCELLED"}, "force": True}
    stack.house.post(f"/flow_runs/{run}/set_state", cancelled)
    assert stack.state(run)["type"] == "CANCELLED", name
    trigger = f"/deployments/{deployment['id']}/create_flow_run"
    for key in given:
        wrong = given | {key: {"not": "what it takes"}}
        refused = stack.house.api.post(trigger, json={"parameters": wrong})
        assert refused.is_client_error, (name, key, refused.text)


def expected(stack: Stack, source: str) -> dict[str, bytes]:
    """What a run in this process, without anything between, makes of a collection."""
    whole = f"{stack.place()}/whole"
    c.run(c.request(source, whole))
    return c.outputs(whole)


def committed(destination: str) -> int:
    """Rows that are there so far."""
    try:
        return c.manifest(destination).num_rows
    except storage.NotFoundError:
        return 0


def visible(destination: str) -> int:
    """Outputs that are there so far."""
    try:
        return sum(len(page) for page in storage.list_pages(f"{destination}/images"))
    except storage.NotFoundError:
        return 0


def check_complete(what: str, destination: str, whole: dict[str, bytes]) -> None:
    """Exactly one row a source, and the bytes of an undisturbed run; says so."""
    rows = c.manifest(destination).to_pylist()
    found = {row["source"] for row in rows if row["status"] == "ok"}
    print(f"\n{what}; rows expected {len(whole)}, found {len(rows)}, of {len(found)} sources")
    assert len(rows) == len(found) == len(whole)
    assert c.outputs(destination) == whole


@pytest.fixture
def slow_store(stack: Stack) -> object:
    """The workers' requests are late, until the test is over or says otherwise."""
    stack.proxy.rates = dict(SLOW)
    yield
    stack.proxy.rates = {}


@pytest.mark.usefixtures("slow_store")
def test_a_worker_killed_in_the_middle_of_a_shard_loses_and_doubles_nothing(stack: Stack) -> None:
    place = stack.place()
    source, destination = pictures(place, 120), f"{place}/out"
    whole = expected(stack, source)
    wanted = {"source": source, "destination": destination, "model": "bicubic", "scale": 2}
    killed = stack.trigger("upscale-on-demand", wanted | {"shard_size": 40})
    until(lambda: committed(destination) >= 40, "committed shard", stack.logs, 0.05)
    until(lambda: visible(destination) > 40, "output of the next shard", stack.logs, 0.02)
    worker = stack.worker_of(killed)
    assert worker is not None, stack.logs()
    processes = stack.kill_worker(worker)
    stack.proxy.rates = {}
    before, outputs = committed(destination), visible(destination)
    assert 40 <= before < 120
    stack.completed(stack.trigger("upscale-on-demand", wanted | {"shard_size": 40}))
    stack.start_worker()
    what = f"{processes} processes killed with {before} rows and {outputs} outputs there"
    check_complete(what, destination, whole)
    statuses = sorted(record["status"] for record in c.run_records(destination).to_pylist())
    assert statuses == ["done", "running"]


@pytest.mark.usefixtures("slow_store")
def test_a_server_restarted_in_the_middle_of_a_run_does_not_end_the_run(stack: Stack) -> None:
    place = stack.place()
    source, destination = pictures(place, 120), f"{place}/out"
    whole = expected(stack, source)
    wanted = {"source": source, "destination": destination, "model": "bicubic", "scale": 2}
    run = stack.trigger("upscale-on-demand", wanted | {"shard_size": 4})
    until(lambda: committed(destination) >= 4, "committed shard", stack.logs, 0.05)
    began, before = time.monotonic(), committed(destination)
    stack.house.stop_server()
    time.sleep(1)
    stack.house.start_server()
    away_s, after = time.monotonic() - began, committed(destination)
    assert before < 120
    stack.proxy.rates = {}
    stack.completed(run)
    what = f"the server was away for {away_s:.0f} s, in which {after - before} rows were added"
    check_complete(what, destination, whole)
    (record,) = c.run_records(destination).to_pylist()
    assert record["status"] == "done"


def test_a_store_that_goes_away_is_waited_for_by_a_worker(stack: Stack) -> None:
    place = stack.place()
    source, destination = pictures(place, 60), f"{place}/out"
    whole = expected(stack, source)
    wanted = {"source": source, "destination": destination, "model": "bicubic", "scale": 2}
    stack.proxy.rates = dict(SLOW)
    run = stack.trigger("upscale-on-demand", wanted | {"shard_size": 20})
    until(lambda: committed(destination) >= 20, "committed shard", stack.logs, 0.05)
    stack.proxy.go_away()
    time.sleep(20)
    stack.proxy.rates = {}
    stack.proxy.come_back()
    stack.completed(run)
    what = f"the store was away for 20 s, {stack.proxy.refused} connections were refused"
    check_complete(what, destination, whole)
    logs = {"logs": {"flow_run_id": {"any_": [run]}}, "limit": 200}
    told = "\n".join(entry["message"] for entry in stack.house.post("/logs/filter", logs))
    assert "S3 slows us down" in told


@pytest.mark.usefixtures("slow_store")
def test_a_run_that_takes_too_long_is_cancelled_and_the_next_one_goes_on(
    stack: Stack, tmp_path: Path
) -> None:
    automations = (ROOT / "deployments" / "automations.yaml").read_text()
    own = automations[automations.index("  - name: pixelmill-too-long") :]
    # ten seconds, the shortest that Prefect takes, in place of twelve hours
    own = "automations:\n" + own.replace("within: 43200", "within: 10")
    (tmp_path / "own.yaml").write_text(own)
    stack.house.run("automation", "create", "--from-file", str(tmp_path / "own.yaml"))
    place = stack.place()
    source, destination = pictures(place, 120), f"{place}/out"
    whole = expected(stack, source)
    wanted = {"source": source, "destination": destination, "model": "bicubic", "scale": 2}
    wanted |= {"shard_size": 4}
    try:
        run = stack.trigger("upscale-on-demand", wanted)
        until(lambda: stack.state(run)["type"] == "CANCELLED", "end of the long run", stack.logs)
    finally:
        (made,) = stack.house.post("/automations/filter", {})
        stack.house.api.delete(f"/automations/{made['id']}").raise_for_status()
    before = committed(destination)
    assert 0 < before < 120
    stack.proxy.rates = {}
    stack.completed(stack.trigger("upscale-on-demand", wanted))
    check_complete(f"cancelled with {before} rows there", destination, whole)
