"""What every bulk job over a collection does alike: checks, the run's record, the plan."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal, Protocol

from tasks import collection, storage
from tasks.collection import OutputFormat, PlanConfig, Shard
from tasks.failures import RequestError
from tasks.runs import RunProgress, RunSummary, new_run_id, software_versions, summarise
from tasks.tables import RunRow
from tasks.transform import Provenance


class BulkRequest(Protocol):
    """The part of a request that every bulk job has; a frozen dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def source(self) -> str: ...
    @property
    def destination(self) -> str: ...
    @property
    def format(self) -> OutputFormat: ...
    @property
    def shard_size(self) -> int: ...
    @property
    def limit(self) -> int | None: ...
    @property
    def overwrite(self) -> bool: ...
    @property
    def max_failed(self) -> float: ...


@dataclass(frozen=True, kw_only=True)
class Maker:
    """What makes the outputs of a run: a model, or a method's name and its version's digest."""

    name: str
    digest: str
    device: str = "cpu"
    precision: Literal["fp32", "bf16"] = "fp32"


def check_common(request: BulkRequest) -> tuple[str, str]:
    """Check what every request has; its source and destination as whole URIs.

    Raises:
        RequestError: a value out of range, or source and destination in each other.
        StorageError: there is no such source, or a store cannot be asked.
    """
    check_range("shard-size", request.shard_size, 1, 100_000)
    check_range("limit", request.limit, 0, 10**12)
    if not 0 <= request.max_failed <= 1:
        raise RequestError(f"max-failed must be 0 to 1, got {request.max_failed}")
    source, destination = storage.normalise(request.source), storage.normalise(request.destination)
    for inner, outer, words in (
        (destination, source, "the destination must not lie inside the source"),
        (source, storage.join(destination, "images"), "the source must not be the outputs"),
    ):
        if storage.is_within(inner, outer):
            raise RequestError(f"{words}, got {source} and {destination}")
    return source, destination


def check_range(name: str, value: float | None, low: float, high: float) -> None:
    """Raise a RequestError unless the value is None or within low..high."""
    if value is not None and not low <= value <= high:
        raise RequestError(f"{name} must be {low:g} to {high:g}, got {value:g}")


def digest_of(shaping: dict[str, object]) -> str:
    """A digest of all that shapes an output: two runs with one digest make the same pixels."""
    return hashlib.sha256(json.dumps(shaping, sort_keys=True).encode()).hexdigest()[:16]


def open_run(
    job: str, request: BulkRequest, maker: Maker, config_digest: str
) -> tuple[RunRow, Provenance]:
    """A run's record at its beginning, and what all of its rows will say. Writes nothing."""
    run, name = new_run_id(), storage.redact(maker.name)
    row = RunRow(
        run=run,
        job=job,
        status="running",
        source=request.source,
        destination=request.destination,
        parameters=storage.redact(json.dumps(asdict(request), sort_keys=True)),
        model=name,
        model_digest=maker.digest,
        config_digest=config_digest,
        device=maker.device,
        precision=maker.precision,
        started_at=datetime.now(UTC),
        versions=software_versions(),
    )
    provenance = Provenance(
        run=run, model=name, model_digest=maker.digest, config_digest=config_digest
    )
    return row, provenance


def plan_request(
    request: BulkRequest, config_digest: str, progress: RunProgress, *, by_model: str | None = None
) -> Iterator[Shard]:
    """Shards of what a request has still to do, while the source is listed.

    Args:
        by_model: a model's digest: what another one made under the same config is done again.
    """
    done = collection.DoneIndex.empty()
    if not request.overwrite:
        done = collection.read_done(request.destination, by_model=by_model is not None)
    if by_model is not None:
        config_digest = collection.config_of_model(config_digest, by_model)
    config = PlanConfig(
        shard_size=request.shard_size,
        limit=request.limit,
        format=request.format,
        case_sensitive=storage.case_sensitive(request.destination),
        by_name=not collection.is_list(request.source),
    )
    return collection.plan_shards(
        collection.list_collection(request.source),
        done,
        config_digest=config_digest,
        config=config,
        counts=progress.counts,
    )


def count_only(shards: Iterator[Shard], row: RunRow, progress: RunProgress) -> RunSummary:
    """Plan to the end and count; writes nothing."""
    for _ in shards:
        pass
    return summarise(row, progress)
