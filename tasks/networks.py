"""From a network's reference, as a user types it, to the network: what all but enlargers do alike.

A `Kind` of networks has a module of its own with the functions that jobs call: `painters`,
`chair_models`, `pixel_models`. Enlargers have `registry`, as they may be other people's.
"""

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from models.cards import Card, CheckpointError, read_card
from tasks import storage, versions
from tasks.failures import persistently
from tasks.registry import (
    ModelError,
    is_checkpoint,
    registry_uri,
    shipped_bytes,
    shipped_models,
    version_meant,
)
from tasks.versions import Version, weights_digest

if TYPE_CHECKING:  # torch takes five seconds to import: only when a network is really loaded
    from torch import nn

_loaded: dict[tuple[str, str, str], "LoadedNetwork"] = {}
_loading = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What networks a job wants.

    Args:
        system: the folder of a registry, and what shipped models are told apart by.
        architectures: names of `systems.SYSTEMS`.
        default: the name that no reference means.
        noun: what messages call one.
    """

    system: str
    architectures: tuple[str, ...]
    default: str
    noun: str


@dataclass(frozen=True, kw_only=True)
class NetworkFacts:
    """What is known of a network without importing torch."""

    name: str
    digest: str
    architecture: str
    config: dict[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedNetwork:
    """A network ready to run, in fp32: its digest is of the checkpoint's bytes.

    One from a registry is named NAME@VERSION.
    """

    name: str
    digest: str
    network: "nn.Module"
    version: Version | None = None


def find_network(kind: Kind, ref: str | None, registry: str | None) -> Version | None:
    """The registry's version that a reference means; None where it means no registry's.

    Raises:
        ModelError: the registry has no such name or version, or the name no champion.
        StorageError: the registry cannot be asked.
    """
    place = registry_uri(registry)
    return None if place is None else version_meant(kind.system, ref or kind.default, place)


def read_network(kind: Kind, ref: str | None, registry: str | None) -> bytes:
    """The bytes of the checkpoint that a reference means.

    Raises:
        ModelError: no such network.
        StorageError: the checkpoint or the registry cannot be read.
    """
    return _read(kind, ref or kind.default, find_network(kind, ref, registry))


def _read(kind: Kind, name: str, found: Version | None) -> bytes:
    if found is not None:
        return persistently(lambda: storage.read(found.weights_uri))
    shipped = shipped_models(kind.system)
    if name in shipped:
        return shipped_bytes(name)
    if not is_checkpoint(name):
        known = ", ".join(shipped) or "none that are shipped"
        raise ModelError(
            f"there is no {kind.noun} named {name!r}; wanted one of {known}, a checkpoint, or with"
            f" --registry the name of a {kind.noun} there"
        )
    where = storage.normalise(name)
    try:
        return persistently(lambda: storage.read(where))
    except storage.NotFoundError as error:
        raise ModelError(f"there is no checkpoint at {storage.redact(name)}") from error


def check_network(kind: Kind, ref: str | None, registry: str | None) -> NetworkFacts:
    """What a reference means, without importing torch.

    Raises:
        ModelError: no such network, or one of another kind.
        StorageError: the checkpoint or the registry cannot be read.
    """
    found = find_network(kind, ref, registry)
    if found is not None:
        record = versions.read_record(found)
        return NetworkFacts(
            name=found.ref,
            digest=record.digest,
            architecture=record.architecture,
            config=dict(record.config),
        )
    name = storage.redact(ref or kind.default)
    data = _read(kind, ref or kind.default, None)
    card = _card(kind, data, name)
    return NetworkFacts(
        name=name,
        digest=weights_digest(data),
        architecture=card.architecture,
        config=card.config,
    )


def _card(kind: Kind, data: bytes, name: str) -> Card:
    try:
        card = read_card(data)
    except CheckpointError as error:
        raise ModelError(f"{name} is damaged, or no {kind.noun}: {error}") from error
    if card is None or card.architecture not in kind.architectures:
        what = "no checkpoint of ours" if card is None else f"a {card.architecture}"
        raise ModelError(f"{name} is {what}, wanted a {kind.noun}")
    return card


def load_network(
    kind: Kind, ref: str | None, registry: str | None, *, device: str | None = None
) -> LoadedNetwork:
    """Load a network once per process and device.

    Args:
        ref: a shipped name; NAME (its champion) or NAME@VERSION in the registry; or the path or
            URI of a checkpoint; None is the kind's default.
        registry: its URI; None takes PIXELMILL_REGISTRY, if that is set; "" is none at all.
        device: None is a graphics card where there is one.
    Raises:
        ModelError: no such network, or a damaged checkpoint.
        StorageError: the checkpoint or the registry cannot be read.
    """
    found = find_network(kind, ref, registry)
    name = found.ref if found is not None else ref or kind.default
    data = _read(kind, name, found)
    where = found.weights_uri if found is not None else name
    key = where, weights_digest(data), device or "any"
    with _loading:
        if key not in _loaded:
            _loaded[key] = _load(kind, data, storage.redact(name), found, device)
        return _loaded[key]


def _load(
    kind: Kind, data: bytes, name: str, found: Version | None, device: str | None
) -> LoadedNetwork:
    import torch

    from models import checkpoints

    card = _card(kind, data, name)
    try:
        network = checkpoints.load_network(data, architecture=card.architecture, name=name)
    except CheckpointError as error:
        raise ModelError(str(error)) from error
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    network.eval().requires_grad_(False).to(chosen)
    return LoadedNetwork(name=name, digest=weights_digest(data), network=network, version=found)
