"""Fixtures that start real servers, once a session and only for the tests that ask."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks import storage
from tests.s3_server import S3Server
from tests.s3_server import s3_server as run_s3_server


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """A SeaweedFS server with random credentials."""
    with run_s3_server() as server:
        yield server


@pytest.fixture(scope="session")
def s3_env(s3_server: S3Server) -> Iterator[S3Server]:
    """The same, and the standard variables of this process lead to it."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.environment.items():
            patch.setenv(name, value)
        storage.disconnect()
        yield s3_server
    storage.disconnect()


@pytest.fixture(params=["local", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URI of an empty place of the test's own, in every kind of store."""
    return _fresh_place(request, tmp_path)


@pytest.fixture(params=["local", "s3"])
def local_and_s3(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URI of an empty place of the test's own, in the stores that other processes see too."""
    return _fresh_place(request, tmp_path)


def _fresh_place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "local":
        return str(tmp_path / "store")
    if request.param == "memory":
        return f"memory://{uuid.uuid4()}"
    server: S3Server = request.getfixturevalue("s3_env")
    return f"s3://{server.bucket}/{uuid.uuid4()}"


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """A Prefect server over a database of its own; flows called in a test report to it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_LOGGING_LEVEL", "WARNING")
        patch.setenv("PREFECT_SERVER_LOGGING_LEVEL", "WARNING")
        patch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
        patch.setenv("DO_NOT_TRACK", "1")
        # Here, not at the top: it takes seconds, and most tests need no Prefect.
        from prefect.testing.utilities import prefect_test_harness

        with prefect_test_harness(server_startup_timeout=120):
            yield
