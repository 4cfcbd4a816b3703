"""What a super-resolution dataset is asked to be: checks, and what must not change afterwards."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from tasks import collection, sr_pairs, storage
from tasks.failures import RequestError
from tasks.sr_pairs import DatasetError

if TYPE_CHECKING:
    from models.degradation import DegradationConfig

PIXELS_VERSION = 1
"""Part of every config digest: raise it when the same parameters give other pixels than before."""


@dataclass(frozen=True, kw_only=True)
class SrDatasetRequest:
    """What a user asks for; see the command line. The shares are of all pictures, 0 to 1."""

    source: str
    destination: str
    scale: int = 4
    degradation: Literal["bicubic", "practical"] = "bicubic"
    validation: float = 0.05
    test: float = 0.05
    seed: int = 0
    shard_size: int = 128
    limit: int | None = None
    max_failed: float = 0.1


def check_request(request: SrDatasetRequest) -> SrDatasetRequest:
    """The request with whole URIs, after every check that needs no torch.

    Raises:
        RequestError: a value out of range, the destination in the source, or another dataset there.
        StorageError: there is no such source, or a store cannot be asked.
    """
    if request.degradation not in ("bicubic", "practical"):
        raise RequestError(f"degradation must be bicubic or practical, got {request.degradation}")
    ranges = {"scale": (2, 8), "shard_size": (1, 100_000), "limit": (0, 10**12)}
    for name, (low, high) in ranges.items():
        value = getattr(request, name)
        if value is not None and not low <= value <= high:
            raise RequestError(f"{name.replace('_', '-')} must be {low} to {high}, got {value}")
    for name in ("validation", "test", "max_failed"):
        if not 0 <= getattr(request, name) <= 1:
            shown = name.replace("_", "-")
            raise RequestError(f"{shown} must be 0 to 1, got {getattr(request, name)}")
    if request.validation + request.test > 1:
        raise RequestError(
            f"validation and test must be 1 at most together, got {request.validation}"
            f" and {request.test}"
        )
    source, destination = storage.normalise(request.source), storage.normalise(request.destination)
    if storage.is_within(destination, source):
        raise RequestError(
            f"the destination must not lie inside the source, got {source} and {destination}"
        )
    collection.check_exists(source)
    request = replace(request, source=source, destination=destination)
    _check_same(request, described(destination))
    return request


def described(destination: str) -> dict[str, Any] | None:
    """What the dataset.json of a destination says; None where there is none.

    Raises:
        RequestError: it describes something else, or is damaged.
    """
    if not sr_pairs.is_dataset(destination):
        return None
    try:
        return sr_pairs.read_description(destination)
    except DatasetError as error:
        raise RequestError(str(error)) from error


def _check_same(request: SrDatasetRequest, told: dict[str, Any] | None) -> None:
    """A dataset has one way of being made: rows made otherwise must not be added to it."""
    if told is None:
        return
    there, wanted = dict(told.get("request") or {}), shaping_of(request)
    other = [name for name in wanted if there.get(name) != wanted[name]]
    if other:
        has, asked = (", ".join(f"{n} {d.get(n)}" for n in other) for d in (there, wanted))
        shown = storage.redact(request.destination)
        raise RequestError(f"{shown} is a dataset with {has}; {asked} wants another destination")


def shaping_of(request: SrDatasetRequest) -> dict[str, Any]:
    """What a user chooses that shapes a row."""
    names = ("scale", "degradation", "validation", "test", "seed")
    return {name: getattr(request, name) for name in names}


def config_digest(request: SrDatasetRequest, degradation: "DegradationConfig") -> str:
    """A digest of all that shapes a row: with the same one a source gives the same row."""
    drawn = asdict(degradation) if degradation.kind != "bicubic" else {}  # bicubic draws nothing
    shaping = {
        "job": "dataset-sr",
        "pixels": PIXELS_VERSION,
        "degradation": {"kind": degradation.kind, "scale": degradation.scale, **drawn},
        "seed": request.seed,
        "validation": float(request.validation),
        "test": float(request.test),
    }
    return hashlib.sha256(json.dumps(shaping, sort_keys=True).encode()).hexdigest()[:16]
