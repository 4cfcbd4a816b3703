"""From a generator's reference, as a user types it, to a network on its device."""

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from models.cards import CheckpointError, read_card
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
    from models.chair_networks import ChairGenerator

SYSTEM = "chairs"
ARCHITECTURE = "chair_generator"
DEFAULT = "chairs-small"

_loaded: dict[tuple[str, str], "LoadedGenerator"] = {}
_loading = threading.Lock()


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedGenerator:
    """A generator ready to draw, in fp32: its digest is of the checkpoint's bytes.

    One from a registry is named NAME@VERSION.
    """

    name: str
    digest: str
    network: "ChairGenerator"
    version: Version | None = None

    @property
    def device(self) -> str:
        return str(next(self.network.parameters()).device)


def find_generator(ref: str | None, registry: str | None = None) -> Version | None:
    """The registry's version that a reference means; None where it means no registry's.

    Raises:
        ModelError: the registry has no such name or version, or the name no champion.
        StorageError: the registry cannot be asked.
    """
    place = registry_uri(registry)
    return None if place is None else version_meant(SYSTEM, ref or DEFAULT, place)


def read_generator(ref: str | None, registry: str | None = None) -> bytes:
    """The bytes of the checkpoint that a reference means.

    Raises:
        ModelError: no such generator.
        StorageError: the checkpoint or the registry cannot be read.
    """
    found, name = find_generator(ref, registry), ref or DEFAULT
    if found is not None:
        uri = found.weights_uri
        return persistently(lambda: storage.read(uri))
    if name in shipped_models(SYSTEM):
        return shipped_bytes(name)
    if not is_checkpoint(name):
        known = ", ".join(shipped_models(SYSTEM)) or "none that are shipped"
        raise ModelError(
            f"there is no generator named {name!r}; wanted one of {known}, a checkpoint, or with"
            " --registry the name of a generator there"
        )
    where = storage.normalise(name)
    try:
        return persistently(lambda: storage.read(where))
    except storage.NotFoundError as error:
        raise ModelError(f"there is no checkpoint at {storage.redact(name)}") from error


@dataclass(frozen=True, kw_only=True)
class GeneratorFacts:
    """What is known of a generator without importing torch."""

    name: str
    digest: str
    classes: int
    size: int


def check_generator(ref: str | None, registry: str | None = None) -> GeneratorFacts:
    """What a reference means, without importing torch.

    Raises:
        ModelError: no such generator, or it is none.
        StorageError: the checkpoint or the registry cannot be read.
    """
    found = find_generator(ref, registry)
    name = found.ref if found is not None else storage.redact(ref or DEFAULT)
    if found is not None:
        record = versions.read_record(found)
        return _facts(name, record.digest, record.config)
    data = read_generator(ref, registry)
    return _facts(name, weights_digest(data), _config(data, name))


def _facts(name: str, digest: str, config: dict[str, Any]) -> GeneratorFacts:
    try:
        return GeneratorFacts(
            name=name, digest=digest, classes=int(config["classes"]), size=int(config["size"])
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{name} does not say how many chairs it knows, and how large") from error


def _config(data: bytes, name: str) -> dict[str, Any]:
    try:
        card = read_card(data)
    except CheckpointError as error:
        raise ModelError(f"{name} is damaged, or no generator: {error}") from error
    if card is None or card.architecture != ARCHITECTURE:
        what = "no checkpoint of ours" if card is None else f"a {card.architecture}"
        raise ModelError(f"{name} is {what}, wanted a generator of chairs")
    return card.config


def load_generator(ref: str | None, registry: str | None = None) -> LoadedGenerator:
    """Load a generator once per process.

    Args:
        ref: the shipped `chairs-small`, which is also the default; NAME (its champion) or
            NAME@VERSION in the registry; or the path or URI of a checkpoint.
        registry: its URI; None takes PIXELMILL_REGISTRY, if that is set; "" is none at all.
    Raises:
        ModelError: no such generator, or a damaged checkpoint.
        StorageError: the checkpoint or the registry cannot be read.
    """
    found = find_generator(ref, registry)
    name = found.ref if found is not None else ref or DEFAULT
    data = read_generator(name, registry)
    key = (found.weights_uri if found is not None else name), weights_digest(data)
    with _loading:
        if key not in _loaded:
            _loaded[key] = _load(data, storage.redact(name), found)
        return _loaded[key]


def _load(data: bytes, name: str, found: Version | None) -> LoadedGenerator:
    import torch

    from models.chair_networks import ChairGenerator
    from models.checkpoints import load_network

    try:
        network = load_network(data, architecture=ARCHITECTURE, name=name)
    except CheckpointError as error:
        raise ModelError(str(error)) from error
    if not isinstance(network, ChairGenerator):
        raise ModelError(f"{name} is no generator of chairs")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network.eval().requires_grad_(False).to(device)
    return LoadedGenerator(name=name, digest=weights_digest(data), network=network, version=found)
