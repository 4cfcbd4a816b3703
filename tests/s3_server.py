"""A real S3 server for tests, benchmarks and the demo: SeaweedFS in a process of its own."""

import os
import random
import secrets
import shutil
import socket
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

_SERVICES = ("s3", "master", "volume", "filer", "admin")
_GRPC = 10_000  # every service also listens on its port plus this
_START_ATTEMPTS = 3  # another process may take a port between our look and the server's start
_START_SECONDS = 60
_STOP_SECONDS = 15


@dataclass(frozen=True, kw_only=True)
class S3Server:
    """A running server. The two keys are the only credentials that it takes."""

    endpoint: str
    access_key: str
    secret_key: str
    bucket: str
    log: Path

    @property
    def environment(self) -> dict[str, str]:
        """The standard variables that send S3 clients here."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
        }


@contextmanager
def s3_server(folder: Path | None = None) -> Iterator[S3Server]:
    """Runs a server over `folder` (default: a temporary one, removed afterwards).

    Raises:
        RuntimeError: it did not take a PUT in time; the message ends with its log.
    """
    home = folder or Path(tempfile.mkdtemp(prefix="pixelmill-s3-"))
    process = None
    try:
        for attempt in range(1, _START_ATTEMPTS + 1):
            process, server = _start(home)
            if _ready(process, server):
                break
            _stop(process)
            if attempt == _START_ATTEMPTS:
                log = server.log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"no S3 server after {attempt} starts, its log ends:\n{log}")
        yield server
    finally:
        if process is not None:
            _stop(process)
        if folder is None:
            shutil.rmtree(home, ignore_errors=True)


def _start(home: Path) -> tuple[subprocess.Popen[bytes], S3Server]:
    ports = dict(zip(_SERVICES, _free_ports(len(_SERVICES)), strict=True))
    server = S3Server(
        endpoint=f"http://127.0.0.1:{ports['s3']}",
        access_key="AK" + secrets.token_hex(9).upper(),
        secret_key=secrets.token_urlsafe(30),
        bucket="test",
        log=home / "server.log",
    )
    data = home / f"data-{ports['s3']}"
    data.mkdir(parents=True)
    weed = Path(sysconfig.get_path("scripts")) / "weed"
    command = [str(weed), "-logtostderr=true", "mini", f"-dir={data}", f"-bucket={server.bucket}"]
    command += [f"-{service}.port={port}" for service, port in ports.items()]
    command += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-webdav=false", "-admin.ui=false"]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"]
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(home),
        "GOMEMLIMIT": "256MiB",
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
    }
    with server.log.open("wb") as log:
        process = subprocess.Popen(
            command, cwd=home, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    return process, server


def _free_ports(count: int) -> list[int]:
    """Ports that are free now, their gRPC twins too, all below where clients' ports begin."""
    found: list[int] = []
    for port in random.sample(range(10_000, 22_000), 2_000):
        twins = [port, port + _GRPC]
        if not set(twins) & {used + gap for used in found for gap in (-_GRPC, 0, _GRPC)}:
            found += [port] if all(map(_is_free, twins)) else []
        if len(found) == count:
            return found
    raise RuntimeError(f"want {count} free ports with a free port 10,000 above, got {len(found)}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _ready(process: subprocess.Popen[bytes], server: S3Server) -> bool:
    """Waits until a PUT succeeds; False when the server ends, or time does, before that."""
    client = botocore.session.Session().create_client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=5),
    )
    deadline = time.monotonic() + _START_SECONDS
    try:
        while process.poll() is None and time.monotonic() < deadline:
            try:
                client.put_object(Bucket=server.bucket, Key=".ready", Body=b"ready")
            except (BotoCoreError, ClientError):
                time.sleep(0.1)
            else:
                return True
        return False
    finally:
        client.close()


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
