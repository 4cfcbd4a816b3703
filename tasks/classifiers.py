"""From a classifier's reference, as a user types it, to one that is ready to run."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from models.cards import CheckpointError
from tasks import storage
from tasks.failures import persistently
from tasks.registry import ModelError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from models.pixels import Pixels

_TORCHVISION = "torchvision:"


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedClassifier:
    """classes: names in the order of the outputs. predict: (N, H, W, 3) uint8 -> (N,) indices."""

    name: str
    digest: str
    classes: tuple[str, ...]
    predict: "Callable[[Pixels], NDArray[np.int64]]"

    def index(self, label: str) -> int:
        """The class of a label: by name, or by number where the data has no names.

        Raises:
            ModelError: the classifier does not know it.
        """
        if label in self.classes:
            return self.classes.index(label)
        if label.isdecimal() and int(label) < len(self.classes):
            return int(label)
        known = ", ".join(self.classes[:10]) + (", ..." if len(self.classes) > 10 else "")
        raise ModelError(f"{self.name} knows no class {label!r}; it knows {known}")


def check_classifier(ref: str) -> None:
    """Find out what is wrong with a reference as far as that goes without importing torch.

    Raises:
        ModelError: there is no such file.
        StorageError: its store cannot be asked.
    """
    if ref.startswith(_TORCHVISION):
        return
    if not storage.exists(storage.normalise(ref)):
        raise ModelError(
            f"there is no classifier at {storage.redact(ref)};"
            f" wanted {_TORCHVISION}NAME or the URI of a checkpoint"
        )


def load_classifier(ref: str) -> LoadedClassifier:
    """Load a classifier onto the GPU, if there is one.

    Args:
        ref: `torchvision:NAME`, a classification model of torchvision with its default weights
            (downloaded by torchvision unless it has them), or the URI of a checkpoint that
            `models.classifiers.write_classifier` made.
    Raises:
        ModelError: no such model, weights that cannot be had, a damaged checkpoint.
        StorageError: the checkpoint cannot be read.
    """
    check_classifier(ref)
    if ref.startswith(_TORCHVISION):
        return _from_torchvision(ref.removeprefix(_TORCHVISION))
    from models.classifiers import predict, read_classifier

    data, name = persistently(lambda: storage.read(storage.normalise(ref))), storage.redact(ref)
    try:
        network = read_classifier(data, name=name)
    except CheckpointError as error:
        raise ModelError(str(error)) from error
    return LoadedClassifier(
        name=name,
        digest=hashlib.sha256(data).hexdigest()[:16],
        classes=network.config.classes,
        predict=partial(predict, _on_device(network)),
    )


def _from_torchvision(name: str) -> LoadedClassifier:
    from torch import nn
    from torchvision import models

    from models.classifiers import predict

    if name not in models.list_models(module=models):
        raise ModelError(f"torchvision has no classification model named {name!r}")
    weights = models.get_model_weights(name).DEFAULT
    try:
        network = models.get_model(name, weights=weights)
    except (OSError, RuntimeError) as error:
        raise ModelError(f"the weights of {name} could not be had: {error}") from error

    class Prepared(nn.Module):
        """The network behind the resizing and normalisation that its weights were made with."""

        def __init__(self) -> None:
            super().__init__()
            self.network, self.prepare = network, weights.transforms()

        def forward(self, rgb: "Tensor") -> "Tensor":
            logits: Tensor = self.network(self.prepare(rgb))
            return logits

    return LoadedClassifier(
        name=f"{_TORCHVISION}{name}",
        digest=str(weights),
        classes=tuple(weights.meta["categories"]),
        predict=partial(predict, _on_device(Prepared().eval().requires_grad_(False))),
    )


def _on_device(network: "nn.Module") -> "nn.Module":
    import torch

    return network.to("cuda" if torch.cuda.is_available() else "cpu")
