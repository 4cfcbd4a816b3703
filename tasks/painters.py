"""From a painter's reference, as a user types it, to a network on its device."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from tasks import networks
from tasks.networks import Kind, LoadedNetwork
from tasks.registry import ModelError
from tasks.versions import Version

if TYPE_CHECKING:  # torch takes five seconds to import: only when a network is really loaded
    from models.style_feedforward import Painter

SYSTEM = "style"
ARCHITECTURE = "painter"
DEFAULT = "painter"
_KIND = Kind(system=SYSTEM, architectures=(ARCHITECTURE,), default=DEFAULT, noun="painter")


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
    return networks.find_network(_KIND, ref, registry)


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
    facts = networks.check_network(_KIND, ref, registry)
    found = facts.config.get("styles")
    if not isinstance(found, list) or not all(isinstance(style, str) for style in found):
        raise ModelError(f"{facts.name} does not say what styles it has")
    unknown = [style for style in styles if style not in found]
    if unknown:
        raise ModelError(f"{facts.name} has no style {unknown[0]!r}; it has {', '.join(found)}")
    return tuple(found)


def read_painter(ref: str | None, registry: str | None = None) -> bytes:
    """The bytes of the checkpoint that a reference means.

    Raises:
        ModelError: no such painter.
        StorageError: the checkpoint or the registry cannot be read.
    """
    return networks.read_network(_KIND, ref, registry)


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
    return _painter(networks.load_network(_KIND, ref, registry))


@lru_cache(maxsize=64)
def _painter(loaded: LoadedNetwork) -> LoadedPainter:
    from models.style_feedforward import Painter

    network = loaded.network
    if not isinstance(network, Painter):
        raise ModelError(f"{loaded.name} is no painter")
    return LoadedPainter(
        name=loaded.name,
        digest=loaded.digest,
        styles=network.config.styles,
        network=network,
        version=loaded.version,
    )
