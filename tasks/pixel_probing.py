"""Judge embeddings: a linear classifier on them beside one on the raw pixels."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from models.linear_probe import linear_probe
from models.pixel_exchange import near_levels
from tasks import storage, tables
from tasks.collection import Shard, Source
from tasks.failures import RequestError, persistently
from tasks.pixel_embedding import FeaturesJob
from tasks.pixel_reading import read_shard
from tasks.pixel_results import current_rows
from tasks.pixel_shards import format_of
from tasks.pixel_tables import PROBES, ProbeRow


@dataclass(frozen=True, kw_only=True, eq=False)
class _Split:
    """Pictures with labels of one split: embeddings (N, D), labels (N,), where each is from."""

    embeddings: Tensor
    labels: Tensor
    sources: tuple[str, ...]


def probe(job: FeaturesJob) -> tuple[ProbeRow, ...]:
    """Train on the train split and test on the test split; rows go to probes/ as well.

    Raises:
        RequestError: a split has no embedded pictures with labels, or their sizes differ.
        StorageError: embeddings or pictures cannot be read, or the rows be written.
    """
    table = current_rows(
        job.request.destination,
        "features",
        ["label", "split", "layer", "embedding"],
        job.run.config_digest,
    )
    train, test = (_split(table, name) for name in ("train", "test"))
    layer = table.column("layer")[0].as_py()
    pixels = [_pixels(job, split.sources) for split in (train, test)]
    rows = (
        _row(job, f"layer {layer}, {job.request.grid}x{job.request.grid} cells", train, test),
        _row(
            job,
            "raw pixels",
            _Split(embeddings=pixels[0], labels=train.labels, sources=train.sources),
            _Split(embeddings=pixels[1], labels=test.labels, sources=test.sources),
        ),
    )
    target = storage.join(job.request.destination, f"probes/run={job.run.run}.parquet")
    data = tables.to_parquet(rows, PROBES)
    persistently(lambda: storage.write(target, data))
    return rows


def _split(table: pa.Table, name: str) -> _Split:
    own = [
        n
        for n, (split, label) in enumerate(
            zip(table.column("split").to_pylist(), table.column("label").to_pylist(), strict=True)
        )
        if split == name and label is not None
    ]
    if not own:
        raise RequestError(f"a probe needs pictures with labels in the split {name}, got none")
    chosen = table.take(pa.array(own, pa.int64()))
    values: Any = chosen.column("embedding").combine_chunks()
    flat = values.flatten().to_numpy(zero_copy_only=False)
    if len(flat) % len(own):
        raise RequestError("a probe needs embeddings of one length, got several")
    return _Split(
        embeddings=torch.from_numpy(np.array(flat, np.float32)).view(len(own), -1),
        labels=torch.tensor(chosen.column("label").to_pylist()),
        sources=tuple(str(source) for source in chosen.column("source").to_pylist()),
    )


def _pixels(job: FeaturesJob, sources: tuple[str, ...]) -> Tensor:
    """Levels of pictures, one row each."""
    found = [torch.from_numpy(levels).flatten() for levels in _levels(job, sources)]
    if len({len(levels) for levels in found}) != 1:
        raise RequestError("a probe needs pictures of one size; --size cuts them")
    return torch.stack(found).float()


def _levels(job: FeaturesJob, sources: tuple[str, ...]) -> Iterator[np.ndarray]:
    plain = tuple(
        Source(uri=uri, relative="", size=0, etag="", output="", format="png") for uri in sources
    )
    facts = job.facts
    to_levels = partial(near_levels, wanted=format_of(facts), size=job.request.size)
    shard = Shard(number=0, sources=plain)
    for picture in read_shard(shard, to_levels, dataset=True, label=None, classes=0):
        if picture.error is not None:
            raise RequestError(f"{picture.source.uri} has changed: {picture.error}")
        yield picture.pixels


def _row(job: FeaturesJob, of: str, train: _Split, test: _Split) -> ProbeRow:
    score = linear_probe((train.embeddings, train.labels), (test.embeddings, test.labels))
    return ProbeRow(
        of=of,
        features=score.features,
        classes=score.classes,
        train_pictures=len(train.labels),
        test_pictures=len(test.labels),
        train_accuracy=score.train,
        test_accuracy=score.test,
        model=job.run.model,
        model_digest=job.run.model_digest,
        config_digest=job.run.config_digest,
        run=job.run.run,
        finished_at=datetime.now(UTC),
    )
