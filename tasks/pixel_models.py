"""From a pixel model's reference, as a user types it, to a network."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from tasks import networks
from tasks.networks import Kind
from tasks.registry import ModelError
from tasks.versions import Version

if TYPE_CHECKING:  # torch takes five seconds to import: only when a network is really loaded
    from models.pixel_likelihood import PixelNetwork

SYSTEM = "pixels"
ARCHITECTURES = ("pixelcnn", "gated_pixelcnn", "pixelcnn_pp", "pixelrnn")
DEFAULT = "digits"
_KIND = Kind(system=SYSTEM, architectures=ARCHITECTURES, default=DEFAULT, noun="pixel model")


@dataclass(frozen=True, kw_only=True)
class PixelFacts:
    """What is known of a pixel model without importing torch.

    Args:
        run: pixels in a site: widths are multiples of it.
        classes: labels that condition it; 0 is none.
        multiple: heights, and widths in sites, are multiples of it: a network's coarser scales.
    """

    name: str
    digest: str
    architecture: str
    channels: int
    levels: int
    run: int
    classes: int
    multiple: int = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedPixelModel:
    """A pixel model ready to run, in fp32: its digest is of the checkpoint's bytes.

    One from a registry is named NAME@VERSION.
    """

    name: str
    digest: str
    network: "PixelNetwork"
    version: Version | None = None


def find_pixel_model(ref: str | None, registry: str | None = None) -> Version | None:
    """The registry's version that a reference means; None where it means no registry's.

    Raises:
        ModelError: the registry has no such name or version, or the name no champion.
        StorageError: the registry cannot be asked.
    """
    return networks.find_network(_KIND, ref, registry)


def read_pixel_model(ref: str | None, registry: str | None = None) -> bytes:
    """The bytes of the checkpoint that a reference means.

    Raises:
        ModelError: no such pixel model.
        StorageError: the checkpoint or the registry cannot be read.
    """
    return networks.read_network(_KIND, ref, registry)


def check_pixel_model(ref: str | None, registry: str | None = None) -> PixelFacts:
    """What a reference means, without importing torch.

    Raises:
        ModelError: no such pixel model, or it is none.
        StorageError: the checkpoint or the registry cannot be read.
    """
    facts = networks.check_network(_KIND, ref, registry)
    config = facts.config
    try:
        return PixelFacts(
            name=facts.name,
            digest=facts.digest,
            architecture=facts.architecture,
            channels=int(config["channels"]),
            levels=int(config["levels"]),
            run=int(config["run"]),
            classes=int(config.get("classes", 0)),
            multiple=2 ** (len(config.get("blocks", (1,))) - 1)
            if facts.architecture == "pixelcnn_pp"
            else 1,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{facts.name} does not say what pictures it knows") from error


def load_pixel_model(
    ref: str | None, registry: str | None = None, *, device: str | None = "cpu"
) -> LoadedPixelModel:
    """Load a pixel model once per process and device.

    Args:
        ref: the shipped `digits`, which is also the default, or `patches`; NAME (its champion) or
            NAME@VERSION in the registry; or the path or URI of a checkpoint.
        registry: its URI; None takes PIXELMILL_REGISTRY, if that is set; "" is none at all.
        device: sampling and coding run on the CPU; None is a graphics card where there is one.
    Raises:
        ModelError: no such pixel model, or a damaged checkpoint.
        StorageError: the checkpoint or the registry cannot be read.
    """
    loaded = networks.load_network(_KIND, ref, registry, device=device)
    return LoadedPixelModel(
        name=loaded.name,
        digest=loaded.digest,
        network=cast("PixelNetwork", loaded.network),
        version=loaded.version,
    )
