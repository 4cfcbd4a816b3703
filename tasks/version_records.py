"""What lies in a model registry: versions, each with its record, under numbers."""

import json
import re
from dataclasses import dataclass, fields, replace

from tasks import storage
from tasks.failures import RequestError, persistently

_NAME = re.compile(r"[a-z0-9_-][a-z0-9._-]*")  # "." and ".." would be other folders
NUMBER = re.compile(r"[1-9][0-9]{0,8}")
_RECORD, _WEIGHTS = "model.json", "model.safetensors"


class RegistryError(RequestError):
    """The registry has no such model, version or champion; the message says what it has."""


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """Where a version comes from and what it is worth: `model.json`."""

    system: str
    name: str
    run: str
    """What made it: a run that is killed after it published, and resumed, finds its version."""
    architecture: str
    config: dict[str, object]
    dataset: str
    dataset_digest: str
    metrics: dict[str, float]
    parent: str | None
    """NAME@VERSION that it was fine-tuned from."""
    training: dict[str, object]
    """Steps, loss, seed and the like."""
    code_version: str
    digest: str
    """SHA-256 of the weights' file, 16 hex digits."""
    created_at: str
    """ISO 8601, UTC."""


@dataclass(frozen=True, kw_only=True)
class Version:
    """One version of a model by its place; `registry` is a whole URI."""

    registry: str
    system: str
    name: str
    version: int

    @property
    def folder(self) -> str:
        return storage.join(self.registry, self.system, self.name, str(self.version))

    @property
    def weights_uri(self) -> str:
        return storage.join(self.folder, _WEIGHTS)

    @property
    def record_uri(self) -> str:
        return storage.join(self.folder, _RECORD)

    @property
    def ref(self) -> str:
        """NAME@VERSION."""
        return f"{self.name}@{self.version}"


def read_record(version: Version) -> ModelRecord:
    """What a complete version says of itself.

    Raises:
        RegistryError: there is no such version, or its publisher has not finished it.
        ValueError: its `model.json` is damaged.
        StorageError: the registry cannot be read.
    """
    uri = version.record_uri
    try:
        data = persistently(lambda: storage.read(uri))
    except storage.NotFoundError as error:
        raise no_such_version(version) from error
    try:
        said = json.loads(data)
        return ModelRecord(**{field.name: said[field.name] for field in fields(ModelRecord)})
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{storage.redact(uri)} is damaged: {error!r}") from error


def list_versions(registry: str, system: str, name: str) -> list[Version]:
    """The complete versions, oldest first; a claim that was never finished is none.

    Raises:
        RegistryError: a bad name.
        StorageError: the registry cannot be read.
    """
    place = place_of(registry, system, name)
    complete = {_WEIGHTS, _RECORD}
    numbers = sorted(n for n, files in numbers_taken(place).items() if complete <= files)
    return [replace(place, version=number) for number in numbers]


def list_names(registry: str, system: str) -> list[str]:
    """The models of a system that have a version, sorted. Raises StorageError."""
    place = place_of(registry, system, "any")
    paths = (path.split("/") for path in _paths(storage.join(place.registry, system)))
    return sorted(
        {
            parts[0]
            for parts in paths
            if len(parts) == 3 and NUMBER.fullmatch(parts[1]) and parts[2] == _RECORD
        }
    )


def place_of(registry: str, system: str, name: str) -> Version:
    """Where a model's versions are, as the version 0 that is none.

    Raises:
        RegistryError: a bad name.
        InvalidUriError: the registry is no URI.
    """
    for what, text in (("system", system), ("model", name)):
        if not _NAME.fullmatch(text):
            raise RegistryError(
                f"the name of a {what} is made of a-z, 0-9, '_', '-' and, not first, '.',"
                f" got {text!r}"
            )
    return Version(registry=storage.normalise(registry), system=system, name=name, version=0)


def _paths(folder: str) -> list[str]:
    """The path of every file below a folder; none where there is no such folder."""
    try:
        pages = persistently(lambda: list(storage.list_pages(folder)))
    except storage.NotFoundError:
        return []
    return [entry.uri[len(folder) + 1 :] for page in pages for entry in page]


def numbers_taken(place: Version) -> dict[int, set[str]]:
    """Every number that is taken, and which files are there under it. Raises StorageError."""
    found: dict[int, set[str]] = {}
    for path in _paths(storage.join(place.registry, place.system, place.name)):
        number, _, file = path.partition("/")
        if NUMBER.fullmatch(number):
            found.setdefault(int(number), set()).add(file)
    return found


def no_such_name(place: Version) -> RegistryError:
    """Says which names there are. Raises StorageError."""
    names = ", ".join(list_names(place.registry, place.system)) or "none"
    return RegistryError(
        f"there is no {place.system} model named {place.name!r} in"
        f" {storage.redact(place.registry)}, which has: {names}"
    )


def no_such_version(version: Version) -> RegistryError:
    """Says which versions there are, or names where there are none. Raises StorageError."""
    complete = list_versions(version.registry, version.system, version.name)
    if not complete:
        return no_such_name(version)
    known = ", ".join(str(other.version) for other in complete)
    begun = version.version in numbers_taken(version)
    wrong = "was never finished" if begun else "is not there"
    return RegistryError(f"{version.ref} {wrong}: {version.name} has the versions {known}")
