"""From a model reference, as a user types it, to an upscaler on its device."""

import hashlib
import threading
from dataclasses import dataclass, replace
from importlib import resources
from typing import TYPE_CHECKING, Literal

from models.cards import Card, CheckpointError, read_card
from tasks import storage

if TYPE_CHECKING:  # torch takes five seconds to import: only when a model is really loaded
    from models.upscaling import Upscaler

PrecisionChoice = Literal["auto", "fp32", "bf16"]

_BF16_MAY_COST_DB = 0.01
_CHECKPOINT_SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt")

_loaded: dict[tuple[str, int | None, str, str], "LoadedModel"] = {}
_loading = threading.Lock()


class ModelError(ValueError):
    """The reference names no model that can be used; the message says why."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedModel:
    """A model ready to run: its digest is of the checkpoint's bytes."""

    name: str
    digest: str
    upscaler: "Upscaler"

    @property
    def device(self) -> str:
        return str(self.upscaler.device)


def shipped_models() -> list[str]:
    """The names that need no registry and no file."""
    weights = resources.files("models") / "weights"
    names = [f.name.removesuffix(".safetensors") for f in weights.iterdir()]
    return ["bicubic", *sorted(n for n in names if "." not in n)]


def check_model(ref: str | None, scale: int | None) -> None:
    """Find out what is wrong with a reference as far as that goes without importing torch.

    Raises:
        ModelError: no such model or file, or a shipped one of another scale.
        StorageError: the checkpoint's store cannot be asked.
    """
    name = ref or f"mill-x{scale or 4}"
    if name == "bicubic":
        if scale is not None and not 2 <= scale <= 8:
            raise ModelError(f"scale must be 2 to 8 for bicubic, got {scale}")
        return
    if name in shipped_models():
        card = read_card(_shipped(name))
        own = card.config["scale"] if card is not None else scale
        if scale not in (None, own):
            raise ModelError(f"{name} enlarges {own} times, got scale {scale}")
        return
    if ref is None:
        raise ModelError(f"scale must be 2, 3 or 4, got {scale}")
    if "/" not in name and not name.endswith(_CHECKPOINT_SUFFIXES):
        known = ", ".join(shipped_models())
        raise ModelError(
            f"there is no model named {name!r}; wanted one of {known}, or a checkpoint"
        )
    try:
        storage.stat(storage.normalise(name))
    except storage.NotFoundError as error:
        raise ModelError(f"there is no checkpoint at {storage.redact(name)}") from error


def load_model(ref: str | None, scale: int | None, precision: PrecisionChoice) -> LoadedModel:
    """Load a super-resolution model once per process.

    Args:
        ref: a shipped name, or the path or URI of a checkpoint; None for mill at this scale.
        scale: what the model must enlarge by; None takes the model's own (4 for bicubic).
        precision: auto takes bfloat16 where the device is fast at it and the model's card says
            that it costs less than 0.01 dB.
    Raises:
        ModelError: no such model, a scale that is not the model's, a damaged checkpoint.
        StorageError: the checkpoint cannot be read.
    """
    check_model(ref, scale)
    name = ref or f"mill-x{scale or 4}"
    with _loading:
        key = (name, scale or 4 if name == "bicubic" else None, precision, _version(name))
        if key not in _loaded:
            _loaded[key] = _load(name, scale or 4, precision)
        model = _loaded[key]
    if scale not in (None, model.upscaler.scale):
        raise ModelError(f"{name} enlarges {model.upscaler.scale} times, got scale {scale}")
    return model


def _version(name: str) -> str:
    """The etag of a checkpoint in a store, so that one written anew is loaded anew."""
    return "" if name in shipped_models() else storage.stat(storage.normalise(name)).etag


def _load(name: str, bicubic_scale: int, precision: PrecisionChoice) -> LoadedModel:
    from models.checkpoints import load_upscaler
    from models.upscaling import bicubic_upscaler

    if name == "bicubic":
        upscaler = bicubic_upscaler(bicubic_scale)
        return LoadedModel(name=name, digest="built-in", upscaler=upscaler)
    shipped = name in shipped_models()
    data = _shipped(name) if shipped else storage.read(storage.normalise(name))
    try:
        upscaler = load_upscaler(data, name=storage.redact(name))
        card = read_card(data) if shipped else None
    except CheckpointError as error:
        raise ModelError(str(error)) from error
    digest = hashlib.sha256(data).hexdigest()[:16]
    return LoadedModel(name=name, digest=digest, upscaler=_on_device(upscaler, card, precision))


def _shipped(name: str) -> bytes:
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
