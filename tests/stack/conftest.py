"""The whole system on this machine: Postgres, Prefect's server, an S3 server, two workers."""

import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from tests.faulty_proxy import FaultyProxy, faulty_proxy
from tests.postgres_server import postgres_server
from tests.prefect_house import (
    ROOT,
    Json,
    PrefectHouse,
    begin,
    end_family,
    family,
    prefect_house,
    tail,
    until,
)
from tests.s3_server import S3Server

_ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
_WORKERS = 2


@dataclass(kw_only=True)
class Stack:
    """What a test of the whole asks: runs by the API, workers to kill, a way to the store."""

    house: PrefectHouse
    s3: S3Server
    proxy: FaultyProxy
    """The workers' way to the store; set its rates to make them slow."""
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    hired: int = 0

    def place(self) -> str:
        """A prefix of a test's own in the store."""
        return f"s3://{self.s3.bucket}/{uuid.uuid4()}"

    def start_worker(self) -> None:
        """One more worker of processes, which has two runs at a time."""
        self.hired += 1
        name = f"worker-{self.hired}"
        arguments = ("worker", "start", "--pool", "pixelmill", "--limit", "2", "--name", name)
        environment = self.house.environment | self.s3.environment
        environment |= {
            "AWS_ENDPOINT_URL_S3": self.proxy.endpoint,
            "PIXELMILL_HOME": str(ROOT),
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "OMP_NUM_THREADS": "1",
        }
        folder = self.house.folder
        self.workers.append(begin(arguments, folder / f"{name}.log", environment, folder))

    def deployments(self) -> dict[str, Json]:
        """Every deployment in the server, by its name."""
        found = self.house.post("/deployments/filter", {"limit": 200})
        return {deployment["name"]: deployment for deployment in found}

    def trigger(self, name: str, parameters: Json, *, in_days: int = 0) -> str:
        """A run of a deployment, now or in days; its id."""
        deployment = self.deployments()[name]
        body: Json = {"parameters": parameters}
        if in_days:
            at = datetime.now(UTC) + timedelta(days=in_days)
            details = {"scheduled_time": at.isoformat()}
            body["state"] = {"type": "SCHEDULED", "state_details": details}
        run = self.house.post(f"/deployments/{deployment['id']}/create_flow_run", body)
        return str(run["id"])

    def state(self, run: str) -> Json:
        return self.house.get(f"/flow_runs/{run}")["state"]

    def completed(self, run: str) -> None:
        """Wait until a run has ended, and fail unless it is completed."""
        until(lambda: self.state(run)["type"] in _ENDED, f"end of the run {run}", self.logs)
        state = self.state(run)
        if state["type"] != "COMPLETED":
            pytest.fail(f"{self.house.explanation(run, state)}\n{self.logs()}")

    def worker_of(self, run: str) -> subprocess.Popen[bytes] | None:
        """The worker below which a run's process is."""
        for worker in self.workers:
            for process in family(worker.pid)[1:]:
                try:
                    if process.environ().get("PREFECT__FLOW_RUN_ID", "").replace("-", "") == (
                        run.replace("-", "")
                    ):
                        return worker
                except (psutil.NoSuchProcess, psutil.AccessDenied):
                    continue
        return None

    def kill_worker(self, worker: subprocess.Popen[bytes]) -> int:
        """kill -9 to a worker and all below it, as when its machine loses power; how many."""
        members = family(worker.pid)
        for member in members:
            member.kill()
        worker.wait()
        self.workers.remove(worker)
        return len(members)

    def logs(self) -> str:
        """The ends of all logs."""
        logs = sorted(self.house.folder.glob("*.log"))
        return "\n".join(f"{log.name}:\n{tail(log)}" for log in logs)


@pytest.fixture(scope="session")
def stack(s3_env: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Everything started, everything deployed."""
    folder: Path = tmp_path_factory.mktemp("stack")
    with ExitStack() as started:
        database = started.enter_context(postgres_server())
        server = {
            "PREFECT_API_DATABASE_CONNECTION_URL": database,
            # at two o'clock in the night the schedules would start runs of their own
            "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
        }
        proxy = started.enter_context(faulty_proxy(s3_env.endpoint, {}, seed=1))
        house = started.enter_context(prefect_house(folder, server))
        house.deploy()
        whole = Stack(house=house, s3=s3_env, proxy=proxy)
        try:
            for _ in range(_WORKERS):
                whole.start_worker()
            yield whole
        finally:
            for worker in whole.workers:
                end_family(worker)
