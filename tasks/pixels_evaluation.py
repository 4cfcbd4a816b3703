"""The evaluation of a pixel model: the exact likelihood of held-out pictures."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from tasks import storage, tables, versions
from tasks.bulk_job import check_range
from tasks.dataset_parts import SPLITS
from tasks.failures import RequestError, persistently
from tasks.pixel_models import (
    LoadedPixelModel,
    PixelFacts,
    check_pixel_model,
    load_pixel_model,
)
from tasks.pixels_dataset_reading import (
    PixelsDataset,
    PixelsSplit,
    open_pixels_dataset,
    read_pixels,
)
from tasks.pixels_dataset_tables import PIXEL_SCORES, PixelScore
from tasks.runs import new_run_id
from tasks.tables import MetricRow

if TYPE_CHECKING:  # torch takes five seconds to import
    import numpy as np
    from numpy.typing import NDArray

_KNOWN = 10_000
"""Training pictures, at most, that the histograms are of."""


@dataclass(frozen=True, kw_only=True)
class EvaluatePixelsRequest:
    """What a user asks for. limit: so many pictures, evenly spread over the split."""

    model: str
    dataset: str
    split: str = "test"
    output: str | None = None
    registry: str | None = None
    limit: int | None = None


@dataclass(frozen=True, kw_only=True)
class PixelsReport:
    """What an evaluation found.

    nats: mean -log p of a picture by predictor, the model's first; bits: of a value, the same.
    """

    run: str
    model: str
    dataset: str
    split: str
    pictures: int
    nats: dict[str, float]
    bits: dict[str, float]
    scores: tuple[PixelScore, ...]
    notes: tuple[str, ...]
    output: str | None
    seconds: float

    def closing_line(self) -> str:
        """What was judged, and where it is, in one line."""
        return (
            f"{self.pictures} {self.split} pictures by {self.model}:"
            f" {self.nats[self.model]:.3f} nats a picture, {self.bits[self.model]:.4f} bits/dim;"
            f" {self.seconds:.1f} s: {self.output or self.dataset}"
        )


def check_request(request: EvaluatePixelsRequest) -> EvaluatePixelsRequest:
    """The request with whole URIs, after every check that needs no torch.

    Raises:
        RequestError: a value out of range, a split without pictures, pictures that the model does
            not know, or results that would become part of what is judged.
        ModelError, DatasetError: no such model or dataset, or a damaged one.
        StorageError: a store cannot be asked.
    """
    check_range("limit", request.limit, 1, 10**9)
    place = storage.normalise(request.dataset)
    output = storage.normalise(request.output) if request.output else None
    if output is not None and storage.is_within(output, place):
        raise RequestError(f"the output must not lie inside the dataset, got {output}")
    facts = check_pixel_model(request.model, request.registry)
    dataset = open_pixels_dataset(place)
    if request.split not in SPLITS or not dataset.counts.get(request.split):
        has = ", ".join(f"{split} {count}" for split, count in dataset.counts.items() if count)
        raise RequestError(
            f"{storage.redact(place)} has no pictures of the split {request.split!r}; it has {has}"
        )
    _check_fit(facts, dataset)
    return replace(request, dataset=place, output=output)


def _check_fit(facts: PixelFacts, dataset: PixelsDataset) -> None:
    """Raises RequestError: the pictures are none of the model's."""
    wanted = (facts.channels, facts.levels)
    if wanted != (dataset.channels, dataset.levels):
        raise RequestError(
            f"{facts.name} knows pictures of {facts.channels} channels and {facts.levels} levels,"
            f" the dataset's have {dataset.channels} and {dataset.levels}"
        )
    down, across = facts.multiple, facts.multiple * facts.run
    if dataset.height % down or dataset.width % across:
        raise RequestError(
            f"{facts.name} wants heights that are multiples of {down} and widths of {across},"
            f" the dataset has {dataset.height} and {dataset.width}"
        )
    if facts.classes and facts.classes != len(dataset.names):
        raise RequestError(
            f"{facts.name} is conditioned by {facts.classes} classes, the dataset has"
            f" {len(dataset.names)}"
        )


def evaluate_pixels(
    request: EvaluatePixelsRequest, *, on_judged: Callable[[int], None] | None = None
) -> PixelsReport:
    """Judge a model on a split's pictures beside histograms of training ones; write the results.

    Args:
        on_judged: told how many pictures have been judged.
    Raises:
        RequestError, ModelError, DatasetError, StorageError: as in `check_request`.
        ValueError: a picture has no label, and the model is conditioned by them.
    """
    began, request = time.monotonic(), check_request(request)
    model = load_pixel_model(request.model, request.registry, device=None)
    dataset = open_pixels_dataset(request.dataset)
    held = read_pixels(dataset, request.split, limit=request.limit)
    run = new_run_id()
    own = _judged(model, held, on_judged)
    scores = _scores(model, dataset, held, own, run)
    nats, bits = _means(model.name, dataset, scores)
    report = PixelsReport(
        run=run,
        model=model.name,
        dataset=storage.redact(request.dataset),
        split=request.split,
        pictures=len(held),
        nats=nats,
        bits=bits,
        scores=scores,
        notes=_notes(model, dataset),
        output=request.output,
        seconds=time.monotonic() - began,
    )
    if request.output:
        _write(request.output, report)
    return report


def _judged(
    model: LoadedPixelModel, held: PixelsSplit, on_judged: Callable[[int], None] | None
) -> "NDArray[np.float64]":
    import numpy as np
    import torch

    from models.pixel_scores import picture_nats

    device, labels = next(model.network.parameters()).device, None  # type: ignore[attr-defined]
    if model.network.classes and held.labels is not None:
        if (held.labels < 0).any():
            raise ValueError(f"{model.name} wants a label of every picture, some have none")
        labels = torch.from_numpy(held.labels).to(device)
    images = torch.from_numpy(held.images).to(device)
    found: list[NDArray[np.float64]] = []
    for batch in picture_nats(model.network, images, labels):
        found.append(batch)
        if on_judged is not None:
            on_judged(sum(map(len, found)))
    return np.concatenate(found)


def _scores(
    model: LoadedPixelModel,
    dataset: PixelsDataset,
    held: PixelsSplit,
    own: "NDArray[np.float64]",
    run: str,
) -> tuple[PixelScore, ...]:
    """A row a picture; without training pictures the histograms are the held-out ones' own."""
    from models.pixel_scores import histogram_nats

    seen = dataset.counts.get("train")
    known = (read_pixels(dataset, "train", limit=_KNOWN) if seen else held).images
    place = histogram_nats(known, held.images, dataset.levels, of="place")
    channel = histogram_nats(known, held.images, dataset.levels, of="channel")
    at = datetime.now(UTC)
    return tuple(
        PixelScore(
            model=model.name,
            model_digest=model.digest,
            source=held.sources[n],
            label=None if held.labels is None or held.labels[n] < 0 else int(held.labels[n]),
            nats=float(own[n]),
            bits_per_dimension=_bits(float(own[n]), dataset),
            place_nats=float(place[n]),
            channel_nats=float(channel[n]),
            run=run,
            at=at,
        )
        for n in range(len(held))
    )


def _bits(nats: float, dataset: PixelsDataset) -> float:
    import math

    return nats / (math.log(2) * dataset.channels * dataset.height * dataset.width)


def _means(
    name: str, dataset: PixelsDataset, scores: tuple[PixelScore, ...]
) -> tuple[dict[str, float], dict[str, float]]:
    """Mean nats and bits by predictor."""
    from models.pixel_scores import uniform_nats

    count = len(scores)
    dimensions = dataset.channels * dataset.height * dataset.width
    nats = {
        name: sum(s.nats for s in scores) / count,
        "histogram of each place": sum(s.place_nats for s in scores) / count,
        "histogram of each channel": sum(s.channel_nats for s in scores) / count,
        "uniform": uniform_nats(dimensions, dataset.levels),
    }
    return nats, {key: _bits(value, dataset) for key, value in nats.items()}


def _notes(model: LoadedPixelModel, dataset: PixelsDataset) -> tuple[str, ...]:
    """A word of warning, where the model was trained on another dataset."""
    if model.version is None:
        return ()
    trained_on = versions.read_record(model.version).dataset_digest
    if trained_on == dataset.digest:
        return ()
    return (f"{model.name} was trained on the dataset {trained_on}, this is {dataset.digest}",)


def _write(output: str, report: PixelsReport) -> None:
    """pictures.parquet, a row a picture, and metrics.parquet, the means."""
    at = datetime.now(UTC)
    means = {"nats": report.nats, "bits_per_dimension": report.bits}
    metrics = [
        MetricRow(
            run=report.run,
            step=0,
            split=report.split,
            metric=measure if predictor == report.model else f"{predictor}: {measure}",
            value=value,
            at=at,
        )
        for measure, by_predictor in means.items()
        for predictor, value in by_predictor.items()
    ]
    files = {
        "metrics.parquet": tables.to_parquet(metrics, tables.METRICS),
        "pictures.parquet": tables.to_parquet(report.scores, PIXEL_SCORES),
    }
    for name, data in files.items():
        persistently(partial(storage.write, storage.join(output, name), data))
