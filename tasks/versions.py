"""The model registry: versions that never change, and the champion among them.

REGISTRY/<system>/<name>/champion.json               who is champion, and every promotion before
REGISTRY/<system>/<name>/<version>/claim.json        whose number this is: an exclusive write
REGISTRY/<system>/<name>/<version>/model.safetensors
REGISTRY/<system>/<name>/<version>/model.json        written after the weights: the commit
"""

import hashlib
import json
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial

from tasks import storage
from tasks.failures import persistently
from tasks.version_records import (
    NUMBER,
    ModelRecord,
    RegistryError,
    Version,
    list_names,
    list_versions,
    no_such_name,
    no_such_version,
    numbers_taken,
    place_of,
    read_record,
)

__all__ = [
    "Champion",
    "ModelRecord",
    "Promotion",
    "RegistryError",
    "Version",
    "champion",
    "list_names",
    "list_versions",
    "promote",
    "publish",
    "published_by",
    "read_record",
    "resolve",
    "rollback",
    "weights_digest",
]

_READERS = 8


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """One change of the champion; `promoted_at` is ISO 8601, UTC."""

    version: int
    reason: str
    promoted_at: str
    rollback: bool = False


@dataclass(frozen=True, kw_only=True)
class Champion:
    """The version in use, and how it came to be: `history` is oldest first, its last is this."""

    version: Version
    previous: int | None
    """The version that a rollback leads to."""
    reason: str
    promoted_at: str
    history: tuple[Promotion, ...]


def weights_digest(checkpoint: bytes) -> str:
    """SHA-256 of a checkpoint's bytes, 16 hex digits, as in records and manifests."""
    return hashlib.sha256(checkpoint).hexdigest()[:16]


def publish(registry: str, checkpoint: bytes, record: ModelRecord) -> Version:
    """Add a version under the next free number; also when others do so at the same time.

    The same weights, dataset and parent from the same run are published once: the version that
    is there is returned.

    Raises:
        RegistryError: a bad name, an empty checkpoint or run, a digest that is not the weights',
            or a record that JSON cannot hold (NaN among the metrics).
        StorageError: the registry cannot be written.
    """
    place = place_of(registry, record.system, record.name)
    if not checkpoint or not record.run:
        raise RegistryError(f"a checkpoint and a run are needed to publish {record.name}")
    if record.digest != (digest := weights_digest(checkpoint)):
        raise RegistryError(f"digest must be {digest}, the weights' own, got {record.digest!r}")
    try:
        told = replace(record, dataset=storage.redact(record.dataset))
        text = json.dumps(asdict(told), indent=2, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise RegistryError(f"the record of {record.name} is no JSON: {error}") from error
    for earlier in published_by(registry, record.system, record.name, record.run):
        if _same_origin(read_record(earlier), record):
            return earlier
    version = _claim(place, record.run)
    persistently(lambda: storage.write(version.weights_uri, checkpoint))
    persistently(lambda: storage.write(version.record_uri, text.encode()))
    return version


def publish_trained(registry: str, checkpoint: bytes, record: ModelRecord) -> Version:
    """Publish what a training made; the first version of a name becomes champion at once.

    Raises:
        ValueError, StorageError: as in `publish`.
    """
    made = publish(registry, checkpoint, record)
    if champion(registry, record.system, record.name) is None:
        promote(registry, record.system, record.name, made.version, reason="the first version")
    return made


def published_by(registry: str, system: str, name: str, run: str) -> list[Version]:
    """The complete versions that a run has published, newest first. Raises StorageError."""
    complete = list_versions(registry, system, name)[::-1]
    with ThreadPoolExecutor(_READERS) as pool:
        records = pool.map(read_record, complete)
        return [v for v, record in zip(complete, records, strict=True) if record.run == run]


def _same_origin(one: ModelRecord, other: ModelRecord) -> bool:
    first, second = ((r.digest, r.dataset_digest, r.parent) for r in (one, other))
    return first == second


def _claim(place: Version, run: str) -> Version:
    """Make a number ours. Nobody else writes the same claim: S3 takes an equal one for its own."""
    claim = json.dumps({"publisher": secrets.token_hex(16), "run": run}).encode()
    version = replace(place, version=max(numbers_taken(place), default=0) + 1)
    while True:
        target = storage.join(version.folder, "claim.json")
        try:
            persistently(partial(storage.write, target, claim, exclusive=True))
        except storage.AlreadyExistsError:
            version = replace(version, version=version.version + 1)
        else:
            return version


def champion(registry: str, system: str, name: str) -> Champion | None:
    """The version in use; None before the first promotion.

    Raises:
        RegistryError: a bad name.
        ValueError: `champion.json` is damaged.
        StorageError: the registry cannot be read.
    """
    place = place_of(registry, system, name)
    uri = _champion_uri(place)
    try:
        data = persistently(lambda: storage.read(uri))
    except storage.NotFoundError:
        return None
    try:
        said = json.loads(data)
        history = tuple(Promotion(**entry) for entry in said["history"])
        if said["version"] != history[-1].version:
            raise ValueError("its version is not the last of its history")  # noqa: TRY301
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{storage.redact(uri)} is damaged: {error!r}") from error
    return _champion(place, history)


def promote(registry: str, system: str, name: str, version: int | None, *, reason: str) -> Champion:
    """Make a version the champion; None is the newest. The champion itself stays as it is.

    Of two promotions at the same moment the later write stays, whole.

    Raises:
        RegistryError: there is no such complete version.
        ValueError, StorageError: as in `champion`.
    """
    complete = list_versions(registry, system, name)
    if not complete:
        raise no_such_name(place_of(registry, system, name))
    chosen = complete[-1] if version is None else replace(complete[0], version=version)
    if chosen not in complete:
        raise no_such_version(chosen)
    current = champion(registry, system, name)
    if current is not None and current.version == chosen:
        return current
    return _crown(chosen, current, reason=reason, back=False)


def rollback(registry: str, system: str, name: str, *, reason: str) -> Champion:
    """Make the champion's predecessor champion again; once more leads to the one before that.

    Raises:
        RegistryError: there is no predecessor, or it is not there any more.
        ValueError, StorageError: as in `champion`.
    """
    current = champion(registry, system, name)
    if current is None:
        raise _no_champion(place_of(registry, system, name))
    if current.previous is None:
        raise RegistryError(f"no champion came before {current.version.ref}: nothing to go back to")
    target = replace(current.version, version=current.previous)
    read_record(target)
    return _crown(target, current, reason=reason, back=True)


def _crown(chosen: Version, current: Champion | None, *, reason: str, back: bool) -> Champion:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    latest = Promotion(version=chosen.version, reason=reason, promoted_at=now, rollback=back)
    history = (*(current.history if current is not None else ()), latest)
    said = {**asdict(latest), "history": [asdict(entry) for entry in history]}
    data = json.dumps(said, indent=2).encode()
    persistently(lambda: storage.write(_champion_uri(chosen), data))
    return _champion(chosen, history)


def _champion(place: Version, history: tuple[Promotion, ...]) -> Champion:
    # a rollback takes the champion off the pile of those in office, a promotion puts one on it
    pile: list[int] = []
    for entry in history:
        pile = pile[:-2] if entry.rollback else pile
        pile.append(entry.version)
    latest = history[-1]
    return Champion(
        version=replace(place, version=latest.version),
        previous=pile[-2] if len(pile) > 1 else None,
        reason=latest.reason,
        promoted_at=latest.promoted_at,
        history=history,
    )


def resolve(registry: str, system: str, ref: str) -> Version:
    """The version that NAME (its champion), NAME@3 or NAME@v3 means.

    Raises:
        RegistryError: no such name, version or champion; the sentence lists what there is.
        ValueError, StorageError: as in `champion`.
    """
    name, at, wanted = ref.partition("@")
    place = place_of(registry, system, name)
    if not at:
        current = champion(registry, system, name)
        if current is None:
            raise _no_champion(place)
        return current.version
    number = wanted.removeprefix("v")
    if not NUMBER.fullmatch(number):
        raise RegistryError(f"a version is a number from 1 on, as in {name}@1, got {ref!r}")
    version = replace(place, version=int(number))
    if not persistently(lambda: storage.exists(version.record_uri)):
        raise no_such_version(version)
    return version


def _champion_uri(place: Version) -> str:
    return storage.join(place.registry, place.system, place.name, "champion.json")


def _no_champion(place: Version) -> RegistryError:
    complete = list_versions(place.registry, place.system, place.name)
    if not complete:
        return no_such_name(place)
    known = ", ".join(other.ref for other in complete)
    return RegistryError(
        f"{place.name} has no champion yet: promote a version, or name one: {known}"
    )
