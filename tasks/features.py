"""From where a user says that the weights are, to a feature network on its device."""

import hashlib
import io
import os
import pickle
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPException
from typing import TYPE_CHECKING, Literal

from tasks import storage
from tasks.failures import persistently

if TYPE_CHECKING:  # torch takes five seconds to import: only when a network is really loaded
    import torch

    from models.features import FeatureKind, FeatureNetwork

VARIABLE = "PIXELMILL_FEATURES"
"""The environment variable that says where the weights are when no option does."""
TORCHVISION = "torchvision"
"""The reference that means torchvision's own weights, whatever the variable says."""

_KINDS: "tuple[FeatureKind, ...]" = ("vgg19", "vgg16", "squeezenet1_0")  # the first is preferred
_PICKLES = (".pth", ".pt")
_SUFFIXES = (".safetensors", *_PICKLES)

_states: "dict[tuple[str, str], dict[str, torch.Tensor]]" = {}  # by where and etag; float32
_digests: dict[tuple[str, str], str] = {}
_loading = threading.RLock()


class FeaturesError(ValueError):
    """There are no such weights, or they are not the network's; the message says why."""


@dataclass(frozen=True, kw_only=True)
class FeatureWeights:
    """Where one network's weights are: the URI of a file and its etag, or torchvision's."""

    kind: "FeatureKind"
    uri: str
    etag: str = ""


def locate_features(ref: str | None, kind: "FeatureKind | None" = None) -> FeatureWeights:
    """Find the weights that a reference means, without importing torch or reading them.

    Args:
        ref: "torchvision" for its ImageNet weights; the path or URI of a .safetensors, .pth or .pt
            file; or a folder that holds one such file a network, its name beginning with the
            network's: vgg16_features_fp16.safetensors. None is what PIXELMILL_FEATURES says, and
            torchvision where it says nothing.
        kind: None is what the file's name begins with; of a folder, or of torchvision, the first
            that is there of vgg19, vgg16 and squeezenet1_0.
    Raises:
        FeaturesError: there is no such file, several, or its name does not tell the network.
        StorageError: the store cannot be asked.
    """
    ref = ref or os.environ.get(VARIABLE) or TORCHVISION
    if kind is not None and kind not in _KINDS:
        raise FeaturesError(f"a feature network is one of {', '.join(_KINDS)}, got {kind!r}")
    if ref == TORCHVISION:
        return FeatureWeights(kind=kind or _KINDS[0], uri=TORCHVISION)
    uri = storage.normalise(ref)
    return _file(uri, kind) if uri.endswith(_SUFFIXES) else _in_folder(uri, kind)


def _file(uri: str, kind: "FeatureKind | None") -> FeatureWeights:
    kind = kind or _kind_of(uri)
    if kind is None:
        raise FeaturesError(
            f"the name of {storage.redact(uri)} does not begin with its network's,"
            f" wanted one of {', '.join(_KINDS)}"
        )
    try:
        entry = persistently(lambda: storage.stat(uri))
    except storage.NotFoundError as error:
        raise FeaturesError(f"there are no feature weights at {storage.redact(uri)}") from error
    return FeatureWeights(kind=kind, uri=uri, etag=entry.etag)


def _in_folder(uri: str, kind: "FeatureKind | None") -> FeatureWeights:
    try:
        pages = persistently(lambda: list(storage.list_pages(uri)))
    except storage.NotFoundError as error:
        raise FeaturesError(f"there are no feature weights at {storage.redact(uri)}") from error
    found = [e for page in pages for e in page if e.uri.endswith(_SUFFIXES) and _kind_of(e.uri)]
    for wanted in [kind] if kind else _KINDS:
        fitting = [entry for entry in found if _kind_of(entry.uri) == wanted]
        if len(fitting) > 1:
            names = ", ".join(sorted(_name(entry.uri) for entry in fitting))
            raise FeaturesError(
                f"{storage.redact(uri)} has several files for {wanted}, wanted one: {names}"
            )
        if fitting:
            return FeatureWeights(kind=wanted, uri=fitting[0].uri, etag=fitting[0].etag)
    have = ", ".join(sorted(_name(entry.uri) for entry in found)) or "nothing of the kind"
    raise FeaturesError(
        f"{storage.redact(uri)} has no weights whose name begins with"
        f" {kind or ' or '.join(_KINDS)}; it has {have}"
    )


def _name(uri: str) -> str:
    return uri.rsplit("/", 1)[-1]


def _kind_of(uri: str) -> "FeatureKind | None":
    return next((kind for kind in _KINDS if _name(uri).startswith(kind)), None)


def features_digest(ref: str | None, *, kind: "FeatureKind | None" = None) -> str:
    """What tells these weights from others: a digest of the file, or torchvision's name of them.

    Raises:
        FeaturesError, StorageError: as in `locate_features`; or the file cannot be read.
    """
    weights = locate_features(ref, kind)
    if weights.uri == TORCHVISION:
        return f"{TORCHVISION}-{weights.kind}-IMAGENET1K_V1"
    key = weights.uri, weights.etag
    with _loading:
        if key not in _digests:
            _digests[key] = _digest(_read(weights.uri))
        return _digests[key]


def load_features(
    ref: str | None,
    *,
    kind: "FeatureKind | None" = None,
    layers: Sequence[str],
    pooling: Literal["max", "average"] = "max",
    device: "torch.device | str" = "cpu",
) -> "FeatureNetwork":
    """A feature network, its weights read once a process; torchvision's are downloaded once.

    Args:
        ref, kind: see `locate_features`.
        layers, pooling: see `FeatureNetwork`.
    Raises:
        FeaturesError: no such weights, not this network's, or no such layer; torchvision's cannot
            be downloaded.
        StorageError: the weights cannot be read.
    """
    from models.features import FeatureNetwork

    weights = locate_features(ref, kind)
    with _loading:
        # torchvision's two VGGs have one "URI"
        key = weights.uri, weights.etag or weights.kind
        if key not in _states:
            _states[key] = _load(weights)
        state = _states[key]
    try:
        network = FeatureNetwork(weights.kind, state, layers=layers, pooling=pooling)
    except ValueError as error:
        raise FeaturesError(f"features from {storage.redact(weights.uri)}: {error}") from error
    return network.to(device)


def _load(weights: FeatureWeights) -> "dict[str, torch.Tensor]":
    """The weights in float32, without the classifier, which is most of a VGG."""
    if weights.uri == TORCHVISION:
        state = _download(weights.kind)
    else:
        data = _read(weights.uri)
        _digests[weights.uri, weights.etag] = _digest(data)
        state = _tensors(data, storage.redact(weights.uri))
    return {key: value.float() for key, value in state.items() if "classifier." not in key}


def _read(uri: str) -> bytes:
    try:
        return persistently(lambda: storage.read(uri))
    except storage.NotFoundError as error:
        raise FeaturesError(f"there are no feature weights at {storage.redact(uri)}") from error


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _download(kind: "FeatureKind") -> "dict[str, torch.Tensor]":
    # five seconds to import, which nobody with weights of their own waits for
    from torchvision.models import get_model_weights

    weights = get_model_weights(kind).IMAGENET1K_V1
    try:
        state: dict[str, torch.Tensor] = weights.get_state_dict(
            progress=False, check_hash=True, weights_only=True
        )
    except (OSError, HTTPException, RuntimeError, pickle.UnpicklingError) as error:
        raise FeaturesError(
            f"torchvision's weights of {kind} cannot be downloaded ({error});"
            f" name a file or folder of weights with --features URI or {VARIABLE}"
        ) from error
    return state


def _tensors(data: bytes, name: str) -> "dict[str, torch.Tensor]":
    """The tensors of a safetensors file or of a pickle, of which no code is ever run."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load as load_safetensors

    try:
        if name.endswith(".safetensors"):
            return load_safetensors(data)
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise FeaturesError(f"{name} is no safetensors file, or is damaged: {error}") from error
    except Exception as error:  # torch meets a damaged pickle with whatever breaks first
        raise FeaturesError(f"{name} is no checkpoint, is damaged, or holds code") from error
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise FeaturesError(f"{name} holds something else than weights by name")
    return state
