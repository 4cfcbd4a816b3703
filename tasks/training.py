"""The training loop that every system shares: batches ahead, checkpoints, metrics, a clean stop.

What a run leaves in its folder:
    checkpoint.pt           written whole or not at all; what the next run of the same name takes up
    metrics/from-<step>.parquet     rows (run, step, split, metric, value, at), while it runs
    curve.png               loss and score over the steps
A killed run goes on from its checkpoint and ends, on a CPU in fp32, with the weights of one that
was never interrupted: a batch depends on the seed and the step alone.
"""

import io
import logging
import pickle
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

import torch
from torch import nn

from models.training import Batch, Loss, OptimisationConfig, StepReport, Trainer
from tasks import storage, tables
from tasks.curves import curve_picture
from tasks.failures import persistently
from tasks.prefetch import prefetched
from tasks.runs import StoppedError
from tasks.tables import MetricRow
from tasks.transform import processors

log = logging.getLogger(__name__)

_FLUSH_EVERY_S = 15.0
_LOSS_EVERY = 10


class CheckpointMismatchError(ValueError):
    """The checkpoint in a run's folder belongs to another training."""


class Problem(Protocol):
    """What a system tells the loop; the network is the one in training form."""

    @property
    def network(self) -> nn.Module: ...
    @property
    def loss(self) -> Loss: ...
    def batch(self, step: int, rank: int, processes: int, /) -> Batch: ...
    def validate(self, network: nn.Module, /) -> dict[str, float]: ...


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """Where a run lives and how often it tells of itself; `title` names its curve."""

    run: str
    folder: str
    title: str
    optimisation: OptimisationConfig
    validate_every: int = 500
    checkpoint_every: int = 500
    precision: Literal["auto", "fp32", "bf16"] = "fp32"


@dataclass(kw_only=True)
class TrainingProgress:
    """What a training has done so far; anyone may read, and set `stop`."""

    steps: int = 0
    step: int = 0
    began_at: int = 0
    loss: float = float("nan")
    scores: dict[str, float] = field(default_factory=dict)
    waited_s: float = 0.0
    """Seconds in which the device had no batch to work on."""
    busy_s: float = 0.0
    main_process: bool = True
    """Among several that train together, the one that writes."""
    stop: threading.Event = field(default_factory=threading.Event)
    began: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    @property
    def idle_share(self) -> float:
        """Of the loop's time, what the device spent waiting for batches."""
        return self.waited_s / max(1e-9, self.waited_s + self.busy_s)


def fit(problem: Problem, config: FitConfig, progress: TrainingProgress) -> nn.Module:
    """Train until the last step, from the run's checkpoint if there is one.

    Returns:
        The averaged network, on the CPU, still in training form.
    Raises:
        StoppedError: `progress.stop` was set; the checkpoint is of that step.
        DivergedError: with the step and the cause; the last good checkpoint stays.
        CheckpointMismatchError: the folder holds another network's checkpoint.
        StorageError: the folder cannot be read or written.
    """
    with _device(config.precision) as device:
        network = problem.network.to(device.device).to(memory_format=torch.channels_last)
        trainer = Trainer(
            network,
            config.optimisation,
            problem.loss,
            forward=device.prepare_model(network),
            autocast=device.autocast,
        )
        _take_up(trainer, config)
        journal = _Journal(config, first_step=trainer.step) if device.is_main_process else None
        progress.steps, progress.step = config.optimisation.steps, trainer.step
        progress.began_at, progress.main_process = trainer.step, device.is_main_process
        _loop(problem, trainer, config, progress, device, journal)
        return trainer.average.cpu()


def _loop(
    problem: Problem,
    trainer: Trainer,
    config: FitConfig,
    progress: TrainingProgress,
    device: Any,
    journal: "_Journal | None",
) -> None:
    rank, processes = device.process_index, device.num_processes
    made = prefetched(
        lambda step: problem.batch(step, rank, processes),
        range(trainer.step, config.optimisation.steps),
        workers=max(1, min(8, processors() - 1)),
        ahead=8,
    )
    mark = time.monotonic()
    for batch in made:
        got = time.monotonic()
        moved = tuple(t.to(device.device, non_blocking=True) for t in batch)
        report = trainer.advance(moved)
        progress.step = trainer.step
        if report.step % _LOSS_EVERY == 0 or trainer.finished:
            progress.loss = float(report.losses["total"])
            if journal is not None:
                journal.losses(report)
        now = time.monotonic()
        progress.waited_s += got - mark
        progress.busy_s += now - got
        stopping = _agreed(progress.stop.is_set(), device)
        if journal is not None:
            _report(problem, trainer, config, progress, journal, stopping=stopping)
        if stopping and not trainer.finished:
            raise StoppedError(
                f"stopped after step {trainer.step} of {config.optimisation.steps};"
                " the same command goes on from there"
            )
        mark = time.monotonic()


def _report(
    problem: Problem,
    trainer: Trainer,
    config: FitConfig,
    progress: TrainingProgress,
    journal: "_Journal",
    *,
    stopping: bool,
) -> None:
    """Score, save and write down what is due after a step."""
    step, over = trainer.step, trainer.finished
    if step % config.validate_every == 0 or over:
        progress.scores = problem.validate(trainer.average)
        journal.scores(step, progress.scores)
        shown = ", ".join(f"{name} {value:.3f}" for name, value in progress.scores.items())
        log.info("step %d of %d: loss %.5f, %s", step, progress.steps, progress.loss, shown)
    if step % config.checkpoint_every == 0 or over or stopping:
        journal.flush()
        save_checkpoint(trainer, config)
        journal.next_part(step)
    else:
        journal.flush_now_and_then()


def _agreed(stop: bool, device: Any) -> bool:
    """Whether any process was asked to stop: all must leave the loop after the same step."""
    if device.num_processes == 1:
        return stop
    votes = torch.tensor([int(stop)], device=device.device)
    return bool(device.reduce(votes, reduction="sum").item())


@contextmanager
def _device(precision: Literal["auto", "fp32", "bf16"]) -> Iterator[Any]:
    """An Accelerator: this process's device and its place among the others."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    # a process that trains twice may do so in two precisions, which this state refuses
    AcceleratorState._reset_state()
    fast = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    narrow = precision == "bf16" or (precision == "auto" and fast)
    device = Accelerator(
        cpu=not torch.cuda.is_available(), mixed_precision="bf16" if narrow else "no"
    )
    threads = torch.get_num_threads()
    # said outright: what ran in this process before may have left another number, and sums over
    # more threads are rounded otherwise
    torch.set_num_threads(max(1, processors() // device.num_processes))
    try:
        yield device
    finally:
        torch.set_num_threads(threads)
        device.end_training()


def save_checkpoint(trainer: Trainer, config: FitConfig) -> None:
    """Write the trainer's whole state over the last one, atomically."""
    sink = io.BytesIO()
    torch.save({"run": config.run, **trainer.state()}, sink)
    data = sink.getvalue()
    persistently(lambda: storage.write(_checkpoint_uri(config), data))


def _checkpoint_uri(config: FitConfig) -> str:
    return storage.join(config.folder, "checkpoint.pt")


def _take_up(trainer: Trainer, config: FitConfig) -> None:
    """Restore the trainer from the run's checkpoint, if there is one."""
    uri = _checkpoint_uri(config)
    try:
        data = persistently(lambda: storage.read(uri))
    except storage.NotFoundError:
        return
    try:
        device = next(trainer.network.parameters()).device
        state = torch.load(io.BytesIO(data), map_location=device, weights_only=True)
        if state.get("run") != config.run:
            raise CheckpointMismatchError(
                f"{storage.redact(uri)} is of the run {state.get('run')}, wanted {config.run}"
            )
        trainer.restore(state)
    except (RuntimeError, KeyError, pickle.UnpicklingError) as error:
        raise CheckpointMismatchError(
            f"{storage.redact(uri)} does not fit this training: {error}"
        ) from error
    log.info("going on from step %d", trainer.step)


class _Journal:
    """A run's metric rows: what a killed run wrote after its checkpoint is written over."""

    def __init__(self, config: FitConfig, *, first_step: int) -> None:
        self._config = config
        self._first = first_step
        self._rows: list[MetricRow] = []
        self._flushed = time.monotonic()

    def _add(self, step: int, split: str, metric: str, value: float) -> None:
        self._rows.append(
            MetricRow(
                run=self._config.run,
                step=step,
                split=split,
                metric=metric,
                value=value,
                at=datetime.now(UTC),
            )
        )

    def losses(self, report: StepReport) -> None:
        """The parts of a step's loss, its gradient and its learning rate."""
        for name, value in report.losses.items():
            self._add(report.step, "train", name, float(value))
        self._add(report.step, "train", "gradient_norm", float(report.gradient_norm))
        self._add(report.step, "train", "learning_rate", report.learning_rate)

    def scores(self, step: int, scores: dict[str, float]) -> None:
        for name, value in scores.items():
            self._add(step, "validation", name, value)

    def flush(self) -> None:
        """Write the rows since the last checkpoint."""
        self._flushed = time.monotonic()
        if self._rows:
            uri = storage.join(self._config.folder, f"metrics/from-{self._first:09d}.parquet")
            data = tables.to_parquet(self._rows, tables.METRICS)
            persistently(lambda: storage.write(uri, data))

    def flush_now_and_then(self) -> None:
        if time.monotonic() - self._flushed > _FLUSH_EVERY_S:
            self.flush()

    def next_part(self, step: int) -> None:
        """A checkpoint of that step stands: rows from here on go into a part of their own."""
        self._first, self._rows = step, []


def read_metrics(folder: str, *, until: int) -> list[MetricRow]:
    """The rows of a run, in the order of their steps; none of steps after `until`.

    A part that a killed run began after its last checkpoint has been written over by the run
    that went on from there, which began at the same step.
    """
    rows: list[MetricRow] = []
    pages = storage.list_pages(storage.join(folder, "metrics"))
    for uri in sorted(entry.uri for page in pages for entry in page):
        table = tables.from_parquet(storage.read(uri))
        rows += [MetricRow(**record) for record in table.to_pylist()]
    return sorted((r for r in rows if r.step <= until), key=lambda r: r.step)


def write_curve(config: FitConfig) -> str:
    """Draw the run's curve from its metric rows; returns the picture's URI."""
    rows = read_metrics(config.folder, until=config.optimisation.steps)
    uri = storage.join(config.folder, "curve.png")
    picture = curve_picture(rows, title=config.title)
    persistently(lambda: storage.write(uri, picture))
    return uri
