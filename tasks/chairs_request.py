"""What a dataset of chairs was asked to be: one destination, one request, whatever runs make it."""

import hashlib
import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from tasks import storage, tables
from tasks.dataset_parts import DESCRIPTION, to_json, write
from tasks.failures import RequestError, persistently
from tasks.runs import software_versions
from tasks.tables import RunRow

REQUEST = "request.json"


def check_shares(validation: float, test: float) -> None:
    """Raises RequestError: the shares leave nothing to train with."""
    if not (0 <= validation <= 1 and 0 <= test <= 1 and validation + test < 1):
        raise RequestError(
            "validation and test must be 0 or more and below 1 together,"
            f" got {validation} and {test}"
        )


def config_digest(told: dict[str, Any]) -> str:
    """A digest of all that shapes a dataset."""
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def begun(destination: str) -> dict[str, Any] | None:
    """What request.json of a destination says; None where there is none.

    Raises:
        RequestError: it is damaged, or a dataset of another system is there.
    """
    data = _read(destination, REQUEST)
    if data is None:
        if _read(destination, DESCRIPTION) is not None:
            raise RequestError(
                f"{storage.redact(destination)} is another dataset: want another destination"
            )
        return None
    try:
        told = json.loads(data)
        return {str(name): value for name, value in told.items()}
    except (ValueError, AttributeError) as error:
        raise RequestError(
            f"{storage.redact(destination)}/{REQUEST} is damaged: want another destination"
        ) from error


def check_same(destination: str, shaping: dict[str, Any]) -> None:
    """A dataset has one way of being made: rows made otherwise must not be added to it.

    Raises:
        RequestError: another one was begun there.
    """
    there = begun(destination)
    wanted = json.loads(json.dumps(shaping))  # as JSON gives it back
    if there is None or there == wanted:
        return
    other = [n for n in sorted({*wanted, *there}) if there.get(n) != wanted.get(n)]
    has, asked = (", ".join(f"{n} {d.get(n)}" for n in other) for d in (there, wanted))
    raise RequestError(
        f"{storage.redact(destination)} is a dataset with {has}; {asked} wants another destination"
    )


def begin(destination: str, shaping: dict[str, Any]) -> None:
    """Claim a destination for a request. Raises RequestError: another run's differs."""
    if begun(destination) is None:
        write(destination, REQUEST, to_json(shaping))
    check_same(destination, shaping)


def run_row(run: str, job: str, request: Any, digest: str, *, source: str) -> RunRow:
    """The record with which a run begins; request: a dataclass with a destination."""
    return RunRow(
        run=run,
        job=job,
        status="running",
        source=tables.storable(source),
        destination=tables.storable(request.destination),
        parameters=storage.redact(json.dumps(asdict(request), sort_keys=True)),
        model="",
        model_digest="",
        config_digest=digest,
        device="cpu",
        precision="uint8",
        started_at=datetime.now(UTC),
        versions=software_versions(),
    )


def _read(destination: str, name: str) -> bytes | None:
    where = storage.join(destination, name)
    try:
        return persistently(lambda: storage.read(where))
    except storage.NotFoundError:
        return None
