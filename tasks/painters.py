"""From a painter's reference, as a user types it, to a network on its device."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
    from models.style_feedforward import Painter

SYSTEM = "style"
ARCHITECTURE = "painter"
DEFAULT = "painter"

_loaded: dict[tuple[str, str], "LoadedPainter"] = {}
_loading = threading.Lock()


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedPainter:
    """A painter ready to paint, in fp32: its digest is of the checkpoint's bytes.

    One from a registry is named NAME@VERSION; `styles` are in the order of its rows.
    """

    name: str
    digest: str
    styles: tuple[str, ...]
    network: "Painter"
    version: Version | None = None

    @property
    def device(self) -> str:
        return str(self.network.skip.device)


def find_painter(ref: str | None, registry: str | None = None) -> Version | None:
    """The registry's version that a reference means; None where it means no registry's.

    Raises:
        ModelError: the registry has no such name or version, or the name no champion.
        StorageError: the registry cannot be asked.
    """
    place = registry_uri(registry)
    return None if place is None else version_meant(SYSTEM, ref or DEFAULT, place)


def check_painter(
    ref: str | None, styles: Sequence[str] = (), registry: str | None = None
) -> tuple[str, ...]:
    """The names of a painter's styles, without importing torch.

    Args:
        styles: names that it must have.
    Raises:
        ModelError: no such painter, not a painter, or one without such a style.
        StorageError: the checkpoint or the registry cannot be read.
    """
    version, name = find_painter(ref, registry), ref or DEFAULT
    if version is not None:
        name, config = version.ref, versions.read_record(version).config
    else:
        config = _config(_read(name), storage.redact(name))
    found = config.get("styles")
    if not isinstance(found, list) or not all(isinstance(style, str) for style in found):
        raise ModelError(f"{name} does not say what styles it has")
    unknown = [style for style in styles if style not in found]
    if unknown:
        raise ModelError(f"{name} has no style {unknown[0]!r}; it has {', '.join(found)}")
    return tuple(found)


def _config(data: bytes, name: str) -> dict[str, object]:
    try:
        card = read_card(data)
    except CheckpointError as error:
        raise ModelError(f"{name} is damaged, or no painter: {error}") from error
    if card is None or card.architecture != ARCHITECTURE:
        what = "no checkpoint of ours" if card is None else f"a {card.architecture}"
        raise ModelError(f"{name} is {what}, wanted a painter")
    return card.config


def read_painter(ref: str | None, registry: str | None = None) -> bytes:
    """The bytes of the checkpoint that a reference means.

    Raises:
        ModelError: no such painter.
        StorageError: the checkpoint or the registry cannot be read.
    """
    version = find_painter(ref, registry)
    if version is None:
        return _read(ref or DEFAULT)
    uri = version.weights_uri
    return persistently(lambda: storage.read(uri))


def _read(name: str) -> bytes:
    if name in shipped_models(SYSTEM):
        return shipped_bytes(name)
    if not is_checkpoint(name):
        known = ", ".join(shipped_models(SYSTEM)) or "none that are shipped"
        raise ModelError(
            f"there is no painter named {name!r}; wanted one of {known}, a checkpoint, or with"
            " --registry the name of a painter there"
        )
    uri = storage.normalise(name)
    try:
        return persistently(lambda: storage.read(uri))
    except storage.NotFoundError as error:
        raise ModelError(f"there is no checkpoint at {storage.redact(name)}") from error


def load_painter(ref: str | None, registry: str | None = None) -> LoadedPainter:
    """Load a painter once per process.

    Args:
        ref: the shipped `painter`, which is also the default; NAME (its champion) or NAME@VERSION
            in the registry; or the path or URI of a checkpoint.
        registry: its URI; None takes PIXELMILL_REGISTRY, if that is set; "" is none at all.
    Raises:
        ModelError: no such painter, or a damaged checkpoint.
        StorageError: the checkpoint or the registry cannot be read.
    """
    version = find_painter(ref, registry)
    name = version.ref if version is not None else ref or DEFAULT
    data = read_painter(name, registry)
    where = version.weights_uri if version is not None else name
    key = where, weights_digest(data)
    with _loading:
        if key not in _loaded:
            _loaded[key] = _load(data, storage.redact(name), version)
        return _loaded[key]


def _load(data: bytes, name: str, version: Version | None) -> LoadedPainter:
    import torch

    from models.checkpoints import load_network
    from models.style_feedforward import Painter

    try:
        network = load_network(data, architecture=ARCHITECTURE, name=name)
    except CheckpointError as error:
        raise ModelError(str(error)) from error
    if not isinstance(network, Painter):
        raise ModelError(f"{name} is no painter")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network.eval().requires_grad_(False).to(device)
    return LoadedPainter(
        name=name,
        digest=weights_digest(data),
        styles=network.config.styles,
        network=network,
        version=version,
    )
