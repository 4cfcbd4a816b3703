"""From a generator's reference, as a user types it, to a network on its device."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks import networks
from tasks.networks import Kind
from tasks.registry import ModelError
from tasks.versions import Version

if TYPE_CHECKING:  # torch takes five seconds to import: only when a network is really loaded
    from models.chair_networks import ChairGenerator

SYSTEM = "chairs"
ARCHITECTURE = "chair_generator"
DEFAULT = "chairs-small"
_KIND = Kind(system=SYSTEM, architectures=(ARCHITECTURE,), default=DEFAULT, noun="generator")


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
    return networks.find_network(_KIND, ref, registry)


def read_generator(ref: str | None, registry: str | None = None) -> bytes:
    """The bytes of the checkpoint that a reference means.

    Raises:
        ModelError: no such generator.
        StorageError: the checkpoint or the registry cannot be read.
    """
    return networks.read_network(_KIND, ref, registry)


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
    facts = networks.check_network(_KIND, ref, registry)
    name, config = facts.name, facts.config
    try:
        return GeneratorFacts(
            name=name,
            digest=facts.digest,
            classes=int(config["classes"]),
            size=int(config["size"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{name} does not say how many chairs it knows, and how large") from error


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
    from models.chair_networks import ChairGenerator

    loaded = networks.load_network(_KIND, ref, registry)
    if not isinstance(loaded.network, ChairGenerator):
        raise ModelError(f"{loaded.name} is no generator of chairs")
    return LoadedGenerator(
        name=loaded.name,
        digest=loaded.digest,
        network=loaded.network,
        version=loaded.version,
    )
