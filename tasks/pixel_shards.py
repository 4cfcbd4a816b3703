"""What pixel jobs do alike: the plan, one shard of pictures in batches, its commit."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

import pyarrow as pa

from models.images import ImageError
from models.pixel_exchange import PixelFormat, near_levels
from tasks import collection, storage, tables
from tasks.bulk_job import BulkRequest, Maker, digest_of, open_run
from tasks.collection import PlanConfig, Shard, Source
from tasks.failures import RequestError, RunAbortedError, error_kind, explain, persistently
from tasks.pixel_models import LoadedPixelModel, PixelFacts, load_pixel_model
from tasks.pixel_reading import PixelPicture, is_dataset, list_pictures, read_shard
from tasks.runs import RunProgress
from tasks.tables import ManifestRow, RunRow
from tasks.transform import Provenance

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

PIXEL_JOBS_VERSION = 1
"""Part of every config digest: raise it when the same request gives other outputs than before."""

Row = TypeVar("Row", bound=ManifestRow)


class PixelRequest(BulkRequest, Protocol):
    """The part of a request that every job over pictures has."""

    @property
    def model(self) -> str | None: ...
    @property
    def registry(self) -> str | None: ...
    @property
    def split(self) -> str | None: ...
    @property
    def label(self) -> int | None: ...


class SizedRequest(Protocol):
    """Of pictures that are reduced, for a model that may be told a class."""

    @property
    def source(self) -> str: ...
    @property
    def size(self) -> int | None: ...
    @property
    def label(self) -> int | None: ...


@dataclass(frozen=True, kw_only=True)
class Batches:
    """How many pictures of one size, and how many values of them, are worked on at once."""

    pictures: int = 64
    values: int = 2**18


def format_of(facts: PixelFacts) -> PixelFormat:
    """The pictures that a model knows."""
    return PixelFormat(
        channels=facts.channels, levels=facts.levels, run=facts.run, multiple=facts.multiple
    )


def check_label(label: int | None, facts: PixelFacts) -> None:
    """Raises RequestError: a label that the model has not."""
    if label is None:
        return
    if not facts.classes:
        raise RequestError(f"{facts.name} has no classes, got the label {label}")
    if not 0 <= label < facts.classes:
        raise RequestError(f"{facts.name} has the classes 0 to {facts.classes - 1}, got {label}")


def check_steps(facts: PixelFacts, what: str) -> None:
    """Raises RequestError: a network that cannot be run site by site."""
    if facts.architecture == "pixelrnn":
        raise RequestError(f"{what} runs convolutional models alone, {facts.name} is a PixelRNN")


def open_pixel_run(
    job: str, request: BulkRequest, facts: PixelFacts, shaping: dict[str, object]
) -> tuple[RunRow, Provenance]:
    """A run's record at its beginning, and what its rows will say. Writes nothing."""
    told = {"job": job, "version": PIXEL_JOBS_VERSION, "model": facts.digest, **shaping}
    maker = Maker(name=facts.name, digest=facts.digest)
    return open_run(job, request, maker, digest_of(told))


def plan_pictures(
    request: PixelRequest, provenance: Provenance, progress: RunProgress
) -> Iterator[Shard]:
    """Shards of what is still to do, while the source is listed."""
    done = collection.DoneIndex.empty()
    if not request.overwrite:
        done = collection.read_done(request.destination)
    config = PlanConfig(
        shard_size=request.shard_size,
        limit=request.limit,
        format="png",
        case_sensitive=storage.case_sensitive(request.destination),
        by_name=not collection.is_list(request.source),
    )
    return collection.plan_shards(
        list_pictures(request.source, request.split),
        done,
        config_digest=provenance.config_digest,
        config=config,
        counts=progress.counts,
    )


def near_pictures(shard: Shard, request: SizedRequest, facts: PixelFacts) -> Iterator[PixelPicture]:
    """The pictures of a shard, brought as near to what the model takes as they can be."""
    return read_shard(
        shard,
        partial(near_levels, wanted=format_of(facts), size=request.size),
        dataset=is_dataset(request.source),
        label=request.label,
        classes=facts.classes,
    )


def load_checked(
    ref: str | None, registry: str | None, provenance: Provenance, *, device: str | None = "cpu"
) -> LoadedPixelModel:
    """The model that the request was checked with.

    Raises:
        RunAbortedError: it is another one by now.
    """
    loaded = load_pixel_model(ref, registry, device=device)
    if loaded.digest != provenance.model_digest:
        raise RunAbortedError(
            f"{loaded.name} has the digest {loaded.digest}, wanted {provenance.model_digest}:"
            " it was replaced while the run began; run it again"
        )
    return loaded


def stacked(pictures: Sequence[PixelPicture]) -> "torch.Tensor":
    """Levels (N, C, H, W), uint8."""
    import numpy as np
    import torch

    levels = np.stack([picture.pixels for picture in pictures])
    return torch.from_numpy(levels).permute(0, 3, 1, 2).contiguous()


def labels_of(pictures: Sequence[PixelPicture], classes: int) -> "torch.Tensor | None":
    """(N,) classes for a model that has some."""
    import torch

    return torch.tensor([picture.condition for picture in pictures]) if classes else None


def manifest_row(source: Source, provenance: Provenance, shard: int) -> ManifestRow:
    """A source's row, ok so far; the rest is put in by whoever did the work."""
    return ManifestRow(
        source=tables.storable(source.uri),
        source_etag=source.etag,
        source_bytes=source.size,
        status="ok",
        model=provenance.model,
        model_digest=provenance.model_digest,
        config_digest=provenance.config_digest,
        run=provenance.run,
        shard=shard,
        finished_at=datetime.now(UTC),
    )


def failed_row(row: Row, error: Exception) -> Row:
    """The same row with what went wrong."""
    return replace(
        row,
        status="failed",
        error_type=error_kind(error),
        error=tables.storable(explain(error)),
    )


def values_of(row: ManifestRow) -> dict[str, object]:
    """A row's values by name, for a row of a wider kind."""
    return {field.name: getattr(row, field.name) for field in fields(ManifestRow)}


def write_manifest(
    destination: str, run: str, shard: int, rows: Sequence[ManifestRow], schema: pa.Schema
) -> None:
    """A manifest part: the commit of its shard. Raises StorageError."""
    if not rows:
        return
    part = f"manifest/run={run}/shard-{shard:06d}.parquet"
    ordered: list[ManifestRow] = sorted(rows, key=lambda row: row.source)
    data = tables.to_parquet(ordered, schema)
    persistently(lambda: storage.write(storage.join(destination, part), data))


def work_through(
    pictures: Iterator[PixelPicture],
    progress: RunProgress,
    *,
    batches: Batches,
    row: Callable[[PixelPicture], Row],
    work: Callable[[Sequence[PixelPicture], Sequence[Row]], Sequence[Row]],
    commit: Callable[[Sequence[Row]], None],
) -> list[Row]:
    """Work through a shard's pictures in batches of one size, and commit what was finished.

    Args:
        row: a picture's row, ok so far.
        work: a batch and its rows -> the rows as they shall be; raises what fails the whole batch.
        commit: writes what is to be there, the manifest part last.
    Raises:
        RunAbortedError: the store cannot be reached; what was finished is committed.
        StorageError: the destination cannot be written.
    """
    rows: list[Row] = []

    def add(made: Sequence[Row]) -> None:
        rows.extend(made)
        for one in made:
            progress.add(one)

    try:
        for batch in _batched(pictures, batches):
            if progress.stop.is_set():
                break
            add(_worked(batch, row, work))
    except storage.StorageUnavailableError as error:
        commit(rows)
        raise RunAbortedError(explain(error)) from error
    commit(rows)
    return rows


def _worked(
    batch: Sequence[PixelPicture],
    row: Callable[[PixelPicture], Row],
    work: Callable[[Sequence[PixelPicture], Sequence[Row]], Sequence[Row]],
) -> Sequence[Row]:
    own, began = [row(picture) for picture in batch], time.thread_time()
    if batch[0].error is not None:
        return [failed_row(own[0], batch[0].error)]
    try:
        made = work(batch, own)
    except (ImageError, MemoryError) as error:
        return [failed_row(one, error) for one in own]
    share, now = (time.thread_time() - began) / len(batch), datetime.now(UTC)
    return [
        replace(one, infer_s=share, decode_s=picture.decode_s, finished_at=now)
        for one, picture in zip(made, batch, strict=True)
    ]


def _batched(pictures: Iterator[PixelPicture], batches: Batches) -> Iterator[list[PixelPicture]]:
    """Pictures of one size together; a failed one alone. Holds at most `batches.values` a size."""
    waiting: dict[tuple[int, ...], list[PixelPicture]] = {}
    held = 0
    for picture in pictures:
        if picture.error is not None:
            yield [picture]
            continue
        size = picture.pixels.size
        group = waiting.setdefault(picture.pixels.shape, [])
        if group and (len(group) >= batches.pictures or (len(group) + 1) * size > batches.values):
            held -= len(group) * size
            yield group
            group = waiting[picture.pixels.shape] = []
        group.append(picture)
        held += size
        if held > 8 * batches.values:  # many sizes: none of them may wait for its batch
            yield from waiting.values()
            waiting, held = {}, 0
    yield from waiting.values()
