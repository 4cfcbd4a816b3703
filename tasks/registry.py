"""From a model reference, as a user types it, to an upscaler on its device."""

import os
import threading
from dataclasses import dataclass, replace
from importlib import resources
from typing import TYPE_CHECKING, Literal

from models.cards import Card, CheckpointError, read_card
from tasks import storage, versions
from tasks.versions import RegistryError, Version, weights_digest

if TYPE_CHECKING:  # torch takes five seconds to import: only when a model is really loaded
    from models.upscaling import Upscaler

PrecisionChoice = Literal["auto", "fp32", "bf16"]

_BF16_MAY_COST_DB = 0.01
_SYSTEM = "sr"
_OTHER_SYSTEMS = {
    "painter": "style",
    "chairs-small": "chairs",
    "digits": "pixels",
    "patches": "pixels",
}
"""Shipped models of other systems than super-resolution, whose names are not asked for here."""
_CHECKPOINT_SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt")

_loaded: dict[tuple[str, int | None, str, str], "LoadedModel"] = {}
_loading = threading.Lock()


class ModelError(ValueError):
    """The reference names no model that can be used; the message says why."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedModel:
    """A model ready to run: its digest is of the checkpoint's bytes.

    One from a registry is named NAME@VERSION.
    """

    name: str
    digest: str
    upscaler: "Upscaler"
    version: Version | None = None

    @property
    def device(self) -> str:
        return str(self.upscaler.device)


def shipped_models(system: str = _SYSTEM) -> list[str]:
    """The names of a system's models that need no registry and no file."""
    weights = resources.files("models") / "weights"
    names = sorted(f.name.removesuffix(".safetensors") for f in weights.iterdir())
    own = [n for n in names if "." not in n and _OTHER_SYSTEMS.get(n, _SYSTEM) == system]
    return ["bicubic", *own] if system == _SYSTEM else own


def registry_uri(registry: str | None) -> str | None:
    """The registry to look into: the one given, else PIXELMILL_REGISTRY's; "" is none at all."""
    given = os.environ.get("PIXELMILL_REGISTRY") if registry is None else registry
    return storage.normalise(given) if given else None


def find_version(ref: str | None, scale: int | None, registry: str | None) -> Version | None:
    """The registry's version that a reference means; None where it means no registry's.

    A shipped name, mill without a reference included, means the registry's model of that name if
    that has a champion there, so that what was trained on from it takes its place.

    Raises:
        ModelError: the registry has no such name or version, or the name no champion.
        StorageError: the registry cannot be asked.
    """
    name, place = ref or _default(scale), registry_uri(registry)
    shipped = name in shipped_models()
    if place is None or name == "bicubic" or not (ref or shipped):
        return None
    return version_meant(_SYSTEM, name, place)


def version_meant(system: str, ref: str, place: str) -> Version | None:
    """The version that a reference means in a registry; None for a checkpoint's URI.

    A shipped name is the champion of that name, where there is one, else None.

    Raises:
        ModelError: the registry has no such name or version, or the name no champion.
        StorageError: the registry cannot be asked.
    """
    if is_checkpoint(ref):
        return None
    shipped = shipped_models(system)
    try:
        if ref not in shipped:
            return versions.resolve(place, system, ref)
        current = versions.champion(place, system, ref)
    except RegistryError as error:
        known = ", ".join(shipped) or "none"
        raise ModelError(f"{error}; shipped are {known}") from error
    return current.version if current is not None else None


def check_model(ref: str | None, scale: int | None, registry: str | None = None) -> None:
    """Find out what is wrong with a reference as far as that goes without importing torch.

    Raises:
        ModelError: no such model, version or file, or one of another scale as far as it says.
        StorageError: the checkpoint's store or the registry cannot be asked.
    """
    _check(ref, scale, find_version(ref, scale, registry))


def _check(ref: str | None, scale: int | None, version: Version | None) -> None:
    name = ref or _default(scale)
    if version is not None:
        _check_scale(version.ref, versions.read_record(version).config.get("scale"), scale)
    elif name == "bicubic":
        if scale is not None and not 2 <= scale <= 8:
            raise ModelError(f"scale must be 2 to 8 for bicubic, got {scale}")
    elif name in shipped_models():
        card = read_card(shipped_bytes(name))
        _check_scale(name, card.config["scale"] if card is not None else None, scale)
    elif ref is None:
        raise ModelError(f"scale must be 2, 3 or 4, got {scale}")
    elif not is_checkpoint(name):
        known = ", ".join(shipped_models())
        raise ModelError(
            f"there is no model named {name!r}; wanted one of {known}, a checkpoint, or with"
            " --registry the name of a model there"
        )
    else:
        try:
            storage.stat(storage.normalise(name))
        except storage.NotFoundError as error:
            raise ModelError(f"there is no checkpoint at {storage.redact(name)}") from error


def _check_scale(name: str, own: object, wanted: int | None) -> None:
    if own is not None and wanted not in (None, own):
        raise ModelError(f"{name} enlarges {own} times, got scale {wanted}")


def _default(scale: int | None) -> str:
    return f"mill-x{scale or 4}"


def is_checkpoint(name: str) -> bool:
    """Whether a reference is the path or URI of a checkpoint, by its look."""
    return "/" in name or name.endswith(_CHECKPOINT_SUFFIXES)


def load_model(
    ref: str | None, scale: int | None, precision: PrecisionChoice, registry: str | None = None
) -> LoadedModel:
    """Load a super-resolution model once per process.

    Args:
        ref: a shipped name, NAME (its champion) or NAME@VERSION in the registry, or the path or
            URI of a checkpoint; None for mill at this scale. See `find_version` for names that
            are both.
        scale: what the model must enlarge by; None takes the model's own (4 for bicubic).
        precision: auto takes bfloat16 where the device is fast at it and the model's card says
            that it costs less than 0.01 dB.
        registry: its URI; None takes PIXELMILL_REGISTRY, if that is set; "" is none at all.
    Raises:
        ModelError: no such model, a scale that is not the model's, a damaged checkpoint.
        StorageError: the checkpoint or the registry cannot be read.
    """
    version = find_version(ref, scale, registry)
    _check(ref, scale, version)
    name = ref or _default(scale)
    where = version.weights_uri if version is not None else name
    with _loading:
        key = (where, scale or 4 if name == "bicubic" else None, precision, _etag(where))
        if key not in _loaded:
            if version is not None:
                _loaded[key] = _load_version(version, precision)
            else:
                _loaded[key] = _load(name, scale or 4, precision)
        model = _loaded[key]
    _check_scale(model.name, model.upscaler.scale, scale)
    return model


def read_checkpoint(ref: str, registry: str | None = None) -> bytes:
    """The bytes of the checkpoint that a reference means, as in `load_model`.

    Raises:
        ModelError: no such model, or bicubic, which has no weights.
        StorageError: the checkpoint or the registry cannot be read.
    """
    version = find_version(ref, None, registry)
    _check(ref, None, version)
    if version is not None:
        return storage.read(version.weights_uri)
    if ref == "bicubic":
        raise ModelError("bicubic has no weights, wanted a model that has")
    return shipped_bytes(ref) if ref in shipped_models() else storage.read(storage.normalise(ref))


def _etag(where: str) -> str:
    """The etag of a checkpoint in a store, so that one written anew is loaded anew."""
    return "" if where in shipped_models() else storage.stat(storage.normalise(where)).etag


def _load_version(version: Version, precision: PrecisionChoice) -> LoadedModel:
    data = storage.read(version.weights_uri)
    return replace(_from_bytes(data, version.ref, precision, vouched=True), version=version)


def _load(name: str, bicubic_scale: int, precision: PrecisionChoice) -> LoadedModel:
    from models.upscaling import bicubic_upscaler

    if name == "bicubic":
        upscaler = bicubic_upscaler(bicubic_scale)
        return LoadedModel(name=name, digest="built-in", upscaler=upscaler)
    shipped = name in shipped_models()
    data = shipped_bytes(name) if shipped else storage.read(storage.normalise(name))
    return _from_bytes(data, name, precision, vouched=shipped)


def _from_bytes(
    data: bytes, name: str, precision: PrecisionChoice, *, vouched: bool
) -> LoadedModel:
    """`vouched`: whether its card is believed; anybody's checkpoint may claim anything."""
    from models.checkpoints import load_upscaler

    try:
        upscaler = load_upscaler(data, name=storage.redact(name))
        card = read_card(data) if vouched else None
    except CheckpointError as error:
        raise ModelError(str(error)) from error
    upscaler = _on_device(upscaler, card, precision)
    return LoadedModel(name=name, digest=weights_digest(data), upscaler=upscaler)


def shipped_bytes(name: str) -> bytes:
    """The checkpoint of a shipped model."""
    return (resources.files("models") / "weights" / f"{name}.safetensors").read_bytes()


def choose_precision(
    wanted: PrecisionChoice, *, fast: bool, cost_db: float | None
) -> Literal["fp32", "bf16"]:
    """What auto means: bfloat16 where the device is fast at it and the model hardly suffers.

    Args:
        cost_db: PSNR that bfloat16 costs on Set5, from the model's card; None if nobody measured.
    """
    if wanted != "auto":
        return wanted
    harmless = cost_db is not None and cost_db < _BF16_MAY_COST_DB
    return "bf16" if fast and harmless else "fp32"


def _on_device(upscaler: "Upscaler", card: Card | None, wanted: PrecisionChoice) -> "Upscaler":
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # AVX512 alone computes bfloat16 at half the speed of float32: 9.6 ms against 5.1 ms for a
    # 3x3 convolution of 32 channels over 212x212 pixels; AMX makes up for that many times
    on_cpu = device.type == "cpu"
    fast = torch.cpu._is_amx_tile_supported() if on_cpu else torch.cuda.is_bf16_supported()
    cost = card.metrics.get("bf16_cost_db") if card is not None else None
    precision = choose_precision(wanted, fast=bool(fast), cost_db=cost)
    network = upscaler.network.to(device) if upscaler.network is not None else None
    return replace(upscaler, network=network, device=device, precision=precision)
