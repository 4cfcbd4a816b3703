"""What a training leaves in the registry and says in the end, whatever it has trained."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Protocol

from torch import nn

from models.cards import Card, read_card
from models.checkpoints import write_checkpoint
from tasks import storage, versions
from tasks.failures import RequestError, persistently
from tasks.training import TrainingProgress
from tasks.versions import ModelRecord, Version


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """Where a training lives, and what the record of its version says beside the scores.

    Args:
        settings: all of them, for the record.
        parent: what it goes on from: NAME@VERSION where the registry has it, else the reference.
    """

    system: str
    registry: str
    name: str
    run: str
    dataset: str
    dataset_digest: str
    settings: Mapping[str, Any]
    parent: str | None = None

    @property
    def folder(self) -> str:
        return run_folder(self.registry, self.system, self.name, self.run)

    @property
    def weights_uri(self) -> str:
        return storage.join(self.folder, "model.safetensors")


@dataclass(frozen=True, kw_only=True)
class TrainingSummary:
    """What a training came to; `told` is its scores in words, a part of the closing line."""

    version: Version
    steps: int
    told: str
    metrics: dict[str, float]
    seconds: float
    idle_share: float
    trained: bool
    """False if this very training had been published before."""
    champion: int

    def closing_line(self) -> str:
        """What was done, and where it is, in one line."""
        own = self.champion == self.version.version
        rank = "the champion" if own else f"version {self.champion} stays champion"
        done = f"{self.seconds:.0f} s" if self.trained else "trained before, nothing to do"
        what = f"{self.version.ref}: {self.steps} steps, {self.told}"
        return f"{what}, {rank}; {done}: {self.version.folder}"


def run_of(told: Mapping[str, Any]) -> str:
    """The name of the run that is all this: equal things are the same run."""
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def run_folder(registry: str, system: str, name: str, run: str) -> str:
    """Where a run's checkpoints, metrics and pictures are."""
    return storage.join(registry, system, name, "training", run)


class TrainRequest(Protocol):
    """The part of a request that every training has."""

    @property
    def registry(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def dataset(self) -> str: ...
    @property
    def start(self) -> str | None: ...


def training_run_of(
    request: TrainRequest,
    *,
    system: str,
    run: str,
    dataset_digest: str,
    settings: Mapping[str, Any],
    find: Callable[[str, str], Version | None],
) -> TrainingRun:
    """The run of a request; find: the registry's version that a reference to go on from means."""
    parent = None
    if request.start is not None:
        found = find(request.start, request.registry)
        parent = found.ref if found is not None else storage.redact(request.start)
    return TrainingRun(
        system=system,
        registry=request.registry,
        name=request.name,
        run=run,
        dataset=request.dataset,
        dataset_digest=dataset_digest,
        settings=settings,
        parent=parent,
    )


def published(run: TrainingRun) -> Version | None:
    """The version that this very training has made before, if any."""
    found = versions.published_by(run.registry, run.system, run.name, run.run)
    return found[0] if found else None


def keep(run: TrainingRun, network: nn.Module, card: Card) -> None:
    """Write the trained network beside the checkpoint."""
    data = write_checkpoint(network, card)
    persistently(lambda: storage.write(run.weights_uri, data))


def curve(run: TrainingRun) -> bytes:
    """The picture of the run's loss and score, PNG."""
    return persistently(lambda: storage.read(storage.join(run.folder, "curve.png")))


def publish(run: TrainingRun) -> Version:
    """Put the trained network into the registry; the first version becomes champion at once.

    Raises:
        RequestError: what lies beside the checkpoint has no card. StorageError.
    """
    data = persistently(lambda: storage.read(run.weights_uri))
    card = read_card(data)
    if card is None:
        raise RequestError(f"{run.weights_uri} is no checkpoint of ours")
    record = ModelRecord(
        system=run.system,
        name=run.name,
        run=run.run,
        architecture=card.architecture,
        config=dict(card.config),
        dataset=run.dataset,
        dataset_digest=run.dataset_digest,
        metrics=card.metrics,
        parent=run.parent,
        training=dict(run.settings),
        code_version=version("pixelmill"),
        digest=versions.weights_digest(data),
        created_at=datetime.now(UTC).isoformat(),
    )
    return versions.publish_trained(run.registry, data, record)


def summarise(
    run: TrainingRun, made: Version, progress: TrainingProgress | None
) -> TrainingSummary:
    """The summary of a training; without progress, of one that had been published before."""
    champion = versions.champion(run.registry, run.system, run.name)
    record = versions.read_record(made)
    return TrainingSummary(
        version=made,
        steps=run.settings["steps"],
        told=_TOLD[run.system](record),
        metrics=record.metrics,
        seconds=progress.seconds if progress else 0.0,
        idle_share=progress.idle_share if progress else 0.0,
        trained=progress is not None,
        champion=champion.version.version if champion else 0,
    )


def _of_sr(record: ModelRecord) -> str:
    told = record.metrics
    psnr, plain = told["validation_psnr_y"], told["validation_bicubic_psnr_y"]
    return f"{psnr:.2f} dB on the validation split (bicubic {plain:.2f})"


def _of_style(record: ModelRecord) -> str:
    told, styles = record.metrics, list(record.config["styles"])  # type: ignore[call-overload]
    return (
        f"{len(styles)} styles, objective {told['validation_total']:.3f} on held-out photographs"
        f" (content {told['validation_content']:.3f}, style {told['validation_style']:.3f})"
    )


def _of_chairs(record: ModelRecord) -> str:
    told = record.metrics
    return (
        f"{record.config['classes']} chairs, on held-out views mask IoU"
        f" {told['validation_mask_iou']:.3f}"
        f" (nearest view {told['validation_nearest_mask_iou']:.3f}),"
        f" RGB MSE {told['validation_rgb_mse']:.5f} ({told['validation_nearest_rgb_mse']:.5f})"
    )


def _of_pixels(record: ModelRecord) -> str:
    told = record.metrics
    return (
        f"{told['validation_nats']:.2f} nats a picture,"
        f" {told['validation_bits_per_dimension']:.4f} bits/dim on the validation split"
    )


_TOLD: dict[str, Callable[[ModelRecord], str]] = {
    "sr": _of_sr,
    "style": _of_style,
    "chairs": _of_chairs,
    "pixels": _of_pixels,
}
"""System -> a version's scores in words."""
