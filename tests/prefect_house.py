"""A Prefect server of a test's own, and the commands of a user and a worker beside it."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

ROOT = Path(__file__).resolve().parents[1]
PREFECT_FILE = Path("deployments", "prefect.yaml")
LIMIT_S = 500
_TAIL = 6000

Json = Any


@dataclass(kw_only=True)
class PrefectHouse:
    """A Prefect server, which may be stopped and started again, and its clients' environment."""

    folder: Path
    port: int
    environment: dict[str, str]
    api: httpx.Client
    server_environment: dict[str, str] = field(default_factory=dict)
    server: subprocess.Popen[bytes] | None = None

    def start_server(self) -> None:
        """Start the server and wait until it answers."""
        where = ("--host", "127.0.0.1", "--port", str(self.port))
        environment = self.environment | self.server_environment
        server = begin(
            ("server", "start", *where), self.folder / "server.log", environment, self.folder
        )
        self.server = server

        def answers() -> bool:
            if server.poll() is not None:
                pytest.fail(f"the server ended by itself; {self.server_log()}")
            with suppress(httpx.TransportError):
                return self.api.get("/health").is_success
            return False

        until(answers, "Prefect server", self.server_log)

    def stop_server(self) -> None:
        """End it; its database stays."""
        if self.server is not None:
            end_family(self.server)

    def run(self, *arguments: str, cwd: Path = ROOT) -> None:
        """`prefect ARGUMENTS` to its end, in `cwd`; a failure shows what it and the server said."""
        with started(arguments, self.log, self.environment, cwd) as process:
            try:
                code: int | str = process.wait(LIMIT_S)
            except subprocess.TimeoutExpired:
                code = f"nothing within {LIMIT_S} s"
        if code != 0:
            pytest.fail(
                f"prefect {' '.join(arguments)}: {code}\n{tail(self.log)}\n{self.server_log()}"
            )

    def deploy(self) -> None:
        """The work pool and every deployment of the file."""
        self.run("--no-prompt", "work-pool", "create", "pixelmill", "--type", "process")
        self.run("--no-prompt", "deploy", "--prefect-file", str(PREFECT_FILE), "--all")

    def get(self, path: str) -> Json:
        return self.api.get(path).raise_for_status().json()

    def post(self, path: str, body: Json) -> Json:
        """A server over SQLite answers 503 while it is busy: asked again, as its clients do."""
        for _ in range(30):
            answer = self.api.post(path, json=body)
            if answer.status_code != 503:
                break
            time.sleep(1)
        assert answer.is_success, f"POST {path}: {answer.status_code} {answer.text}"
        return answer.json()

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


@contextmanager
def prefect_house(
    folder: Path, server_environment: dict[str, str] | None = None
) -> Iterator[PrefectHouse]:
    """A running server over an empty database: SQLite, unless its environment says another."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    # a proxy that the environment names is not asked for a server on this machine
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as api:
        house = PrefectHouse(
            folder=folder,
            port=port,
            environment=own_environment(folder, url),
            api=api,
            server_environment=server_environment or {},
        )
        try:
            house.start_server()
            yield house
        finally:
            house.stop_server()


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


def begin(
    arguments: tuple[str, ...], log: Path, environment: dict[str, str], cwd: Path
) -> subprocess.Popen[bytes]:
    """`prefect ARGUMENTS`, on its way; what it says is added to the log."""
    command = [sys.executable, "-m", "prefect", *arguments]
    with log.open("ab") as output:
        return subprocess.Popen(
            command, cwd=cwd, env=environment, stdout=output, stderr=subprocess.STDOUT
        )


@contextmanager
def started(
    arguments: tuple[str, ...], log: Path, environment: dict[str, str], cwd: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """`prefect ARGUMENTS` while the body runs; it and all its descendants end with the body."""
    log.unlink(missing_ok=True)
    process = begin(arguments, log, environment, cwd)
    try:
        yield process
    finally:
        end_family(process)


def family(pid: int) -> list[psutil.Process]:
    """A process and its descendants, for a flow run has a session, so a group, of its own."""
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    return []


def end_family(process: subprocess.Popen[bytes]) -> None:
    """End a process and its descendants."""
    members = family(process.pid)
    for member in members:
        with suppress(psutil.NoSuchProcess):
            member.terminate()
    for member in psutil.wait_procs(members, timeout=20)[1]:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()


def tail(log: Path) -> str:
    """The end of a log, for the message of a failure."""
    return log.read_text(errors="replace")[-_TAIL:] if log.exists() else f"{log.name} is missing"


def until(
    condition: Callable[[], bool],
    what: str,
    explanation: Callable[[], str],
    every_s: float = 0.5,
) -> None:
    """Wait for a condition, and fail with an explanation when it takes too long."""
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"no {what} after {LIMIT_S} s; {explanation()}")
        time.sleep(every_s)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
