"""What a dataset for pixel models is asked to be: checks, and what must not change afterwards."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from models.pixel_pictures import CutConfig, Fit
from tasks import chairs_request, collection, storage
from tasks.failures import RequestError

PIXELS_VERSION = 1
"""Part of every config digest: raise it when the same request gives other pixels than before."""

_DEFAULT_SIZE = 32


@dataclass(frozen=True, kw_only=True)
class PixelsRequest:
    """What a user asks for; see the command line.

    size: None is 32 for images, and its own for a file of arrays.
    labels: folder takes the name of the folder that an image lies in; arrays bring their own.
    validation, test: shares of pictures, where the source has no splits of its own.
    shard_size: source pictures.
    """

    source: str
    destination: str
    size: int | None = None
    patches: int = 0
    fit: Fit = "crop"
    gray: bool = False
    binary: bool = False
    labels: Literal["none", "folder"] = "none"
    seed: int = 0
    validation: float = 0.05
    test: float = 0.1
    shard_size: int = 2048
    max_failed: float = 0.1


def check_request(request: PixelsRequest) -> PixelsRequest:
    """The request with whole URIs, after every check that lists nothing.

    Raises:
        RequestError: a value out of range, the destination in the source, or another dataset there.
        StorageError: there is no such source, or a store cannot be asked.
    """
    ranges = {"size": (1, 1024), "patches": (0, 100_000), "shard_size": (1, 1_000_000)}
    for name, (low, high) in ranges.items():
        value = getattr(request, name)
        if value is not None and not low <= value <= high:
            raise RequestError(f"{name.replace('_', '-')} must be {low} to {high}, got {value}")
    for name, wanted in {"fit": ("crop", "stretch"), "labels": ("none", "folder")}.items():
        if getattr(request, name) not in wanted:
            raise RequestError(
                f"{name} must be {' or '.join(wanted)}, got {getattr(request, name)!r}"
            )
    if not 0 <= request.max_failed <= 1:
        raise RequestError(f"max-failed must be 0 to 1, got {request.max_failed}")
    chairs_request.check_shares(request.validation, request.test)
    source, destination = storage.normalise(request.source), storage.normalise(request.destination)
    if storage.is_within(destination, source):
        raise RequestError(
            f"the destination must not lie inside the source, got {source} and {destination}"
        )
    collection.check_exists(source)
    request = replace(request, source=source, destination=destination)
    chairs_request.check_same(destination, shaping_of(request))
    return request


def shaping_of(request: PixelsRequest) -> dict[str, Any]:
    """What a user chooses that shapes a row, or the file it is in."""
    return {
        "job": "dataset-pixels",
        "pixels": PIXELS_VERSION,
        "size": request.size,
        "patches": request.patches,
        "fit": request.fit,
        "gray": request.gray,
        "binary": request.binary,
        "labels": request.labels,
        "seed": request.seed,
        "validation": float(request.validation),
        "test": float(request.test),
        "shard_size": request.shard_size,
    }


def cut_of(request: PixelsRequest, *, arrays: bool) -> CutConfig:
    """How each picture is cut."""
    size = request.size
    if size is None and (request.patches or not arrays):
        size = _DEFAULT_SIZE
    return CutConfig(
        size=size,
        patches=request.patches,
        fit=request.fit,
        gray=request.gray,
        binary=request.binary,
        seed=request.seed,
    )
