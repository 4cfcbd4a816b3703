"""Whether super-resolution helps a classifier: small pictures enlarged, classified, counted."""

import itertools
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from models.pixels import Pixels
from tasks import collection, storage, tables
from tasks.classifiers import LoadedClassifier, check_classifier, load_classifier
from tasks.failures import RequestError, explain, persistently
from tasks.labelled import LabelledSource, read_labelled
from tasks.picture_pairs import decode_colour, degrade
from tasks.registry import LoadedModel, PrecisionChoice, check_model, load_model
from tasks.runs import new_run_id
from tasks.sr_judging import BASELINE, OF_ONE_PICTURE
from tasks.tables import ClassificationRow, MetricRow

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

ORIGINAL = "original"
"""The variant that was never made small."""

_BATCH, _BATCH_PIXELS = 256, 2**24


@dataclass(frozen=True, kw_only=True)
class ClassificationRequest:
    """What a user asks for; see the command line."""

    labelled: str
    classifier: str
    models: tuple[str, ...] = ()
    scale: int = 2
    output: str | None = None
    registry: str | None = None
    precision: PrecisionChoice = "fp32"
    limit: int | None = None


@dataclass(frozen=True, kw_only=True)
class VariantAccuracy:
    """Shares of pictures: classified as labelled, with its 95 % interval; as the original is."""

    variant: str
    accuracy: float
    low: float
    high: float
    agreement: float


@dataclass(frozen=True, kw_only=True)
class ClassificationReport:
    """What an evaluation found, the original first."""

    run: str
    labelled: str
    classifier: str
    scale: int
    pictures: int
    failed: dict[str, str]
    variants: tuple[VariantAccuracy, ...]
    rows: tuple[ClassificationRow, ...]
    output: str | None
    seconds: float

    def closing_line(self) -> str:
        """What was classified, and where it is, in one line."""
        count = f"{self.pictures} image{'' if self.pictures == 1 else 's'}"
        parts = [f"{count} classified, made {self.scale} times smaller and enlarged"]
        if self.failed:
            parts.append(f"{len(self.failed)} failed")
        parts += [f"{v.variant} {v.accuracy:.1%}" for v in self.variants]
        return f"{', '.join(parts)}; {self.seconds:.1f} s: {self.output or self.labelled}"


def check_request(request: ClassificationRequest) -> ClassificationRequest:
    """The request with whole URIs, after every check that needs no torch.

    Raises:
        RequestError: a value out of range, or results that would become part of the collection.
        ModelError: no such model or classifier.
        StorageError: there is no such collection, or a store cannot be asked.
    """
    if request.limit is not None and request.limit < 1:
        raise RequestError(f"limit must be at least 1, got {request.limit}")
    if not 2 <= request.scale <= 8:
        raise RequestError(f"scale must be 2, 3 or 4 (2 to 8 for bicubic), got {request.scale}")
    labelled = storage.normalise(request.labelled)
    output = storage.normalise(request.output) if request.output else None
    if output is not None and storage.is_within(output, labelled):
        raise RequestError(f"the output must not lie inside the collection, got {output}")
    collection.check_exists(labelled)
    check_classifier(request.classifier)
    for ref in request.models:
        check_model(ref, request.scale, registry=request.registry)
    return replace(request, labelled=labelled, output=output)


def evaluate_classification(
    request: ClassificationRequest, *, on_classified: Callable[[int], None] | None = None
) -> ClassificationReport:
    """Classify each picture as it is, and made small and enlarged by bicubic and each model.

    Args:
        on_classified: told how many pictures have been classified.
    Raises:
        RequestError, ModelError, StorageError: as in `check_request` and the loaders; a label that
            the classifier does not know is a ModelError.
        ValueError: not one picture could be classified.
    """
    began, request = time.monotonic(), check_request(request)
    load = partial(load_model, precision=request.precision, registry=request.registry)
    refs = dict.fromkeys((BASELINE, *request.models))
    run = Classification(
        run=new_run_id(),
        classifier=load_classifier(request.classifier),
        models=tuple(load(ref, request.scale) for ref in refs),
        failed={},
    )
    rows: list[ClassificationRow] = []
    sources = itertools.islice(read_labelled(request.labelled), request.limit)
    for done in run.rows(sources):
        rows += done
        if on_classified is not None:
            on_classified(len(rows) // (1 + len(run.models)))
    if not rows:
        first = next(iter(run.failed.values()), "there is no labelled picture in it")
        raise ValueError(f"nothing of {storage.redact(request.labelled)} was classified: {first}")
    report = _report(request, run, rows, seconds=time.monotonic() - began)
    if request.output:
        _write(request.output, report)
    return report


def _report(
    request: ClassificationRequest,
    run: "Classification",
    rows: Sequence[ClassificationRow],
    *,
    seconds: float,
) -> ClassificationReport:
    return ClassificationReport(
        run=run.run,
        labelled=storage.redact(request.labelled),
        classifier=run.classifier.name,
        scale=request.scale,
        pictures=len(rows) // (1 + len(run.models)),
        failed=run.failed,
        variants=tuple(accuracies(rows)),
        rows=tuple(rows),
        output=request.output,
        seconds=seconds,
    )


@dataclass(frozen=True, kw_only=True)
class Classification:
    """One run: what classifies, what enlarges, and a sentence on each picture that failed."""

    run: str
    classifier: LoadedClassifier
    models: tuple[LoadedModel, ...]
    failed: dict[str, str]

    @property
    def scale(self) -> int:
        return self.models[0].upscaler.scale

    def rows(self, sources: Iterator[LabelledSource]) -> Iterator[list[ClassificationRow]]:
        """Rows in batches: for every picture that can be read, one a variant.

        A picture that cannot be read costs a line in the log, not the run.
        """
        batch: list[tuple[LabelledSource, Pixels, Pixels]] = []
        pixels = 0
        for source in sources:
            self.classifier.index(source.label)
            try:
                truth, low = degrade(decode_colour(source.load()), self.scale)
            except OF_ONE_PICTURE as error:
                log.warning("%s: not classified: %s", storage.redact(source.source), explain(error))
                self.failed[source.source] = explain(error)
                continue
            batch.append((source, truth, low))
            pixels += truth.size
            if len(batch) >= _BATCH or pixels >= _BATCH_PIXELS:
                yield self._classified(batch)
                batch, pixels = [], 0
        if batch:
            yield self._classified(batch)

    def _classified(
        self, batch: Sequence[tuple[LabelledSource, Pixels, Pixels]]
    ) -> list[ClassificationRow]:
        by_shape = defaultdict(list)
        for item in batch:
            by_shape[item[1].shape].append(item)
        return [row for alike in by_shape.values() for row in self._rows_of(alike)]

    def _rows_of(
        self, alike: Sequence[tuple[LabelledSource, Pixels, Pixels]]
    ) -> Iterator[ClassificationRow]:
        """The rows of pictures of one shape."""
        from models.picture_upscaling import upscale_pictures

        low = np.stack([item[2] for item in alike])
        seen = {ORIGINAL: self._seen(np.stack([item[1] for item in alike]))}
        for model in self.models:
            seen[model.name] = self._seen(upscale_pictures(model.upscaler, low))
        digests: dict[str, str | None] = {m.name: m.digest for m in self.models}
        classes, at = self.classifier.classes, datetime.now(UTC)
        for number, (source, _, _) in enumerate(alike):
            label = self.classifier.index(source.label)
            for variant, found in seen.items():
                yield ClassificationRow(
                    source=source.source,
                    label=classes[label],
                    variant=storage.redact(variant),
                    model_digest=digests.get(variant),
                    predicted=classes[found[number]],
                    correct=bool(found[number] == label),
                    as_original=bool(found[number] == seen[ORIGINAL][number]),
                    scale=self.scale,
                    classifier=self.classifier.name,
                    run=self.run,
                    at=at,
                )

    def _seen(self, pictures: Pixels) -> "NDArray[np.int64]":
        """The class of each picture; gray is shown as equal R, G and B."""
        colour = pictures.repeat(3, axis=-1) if pictures.shape[-1] == 1 else pictures
        return self.classifier.predict(np.ascontiguousarray(colour))


def accuracies(rows: Sequence[ClassificationRow]) -> Iterator[VariantAccuracy]:
    """Accuracy with its 95 % Wilson interval, and agreement with the original, per variant."""
    from models.classifiers import wilson_interval

    for variant in dict.fromkeys(row.variant for row in rows):
        own = [row for row in rows if row.variant == variant]
        hits = sum(row.correct for row in own)
        low, high = wilson_interval(hits, len(own))
        yield VariantAccuracy(
            variant=variant,
            accuracy=hits / len(own),
            low=low,
            high=high,
            agreement=sum(row.as_original for row in own) / len(own),
        )


def _write(output: str, report: ClassificationReport) -> None:
    """results.parquet and metrics.parquet below `output`."""
    at = datetime.now(UTC)
    metrics = [
        MetricRow(run=report.run, step=0, split="all", metric=f"{v.variant}/{name}", value=value,
                  at=at)
        for v in report.variants
        for name, value in (("accuracy", v.accuracy), ("agreement", v.agreement))
    ]  # fmt: skip
    files = {
        "metrics.parquet": tables.to_parquet(metrics, tables.METRICS),
        "results.parquet": tables.to_parquet(report.rows, tables.CLASSIFICATIONS),
    }
    for name, data in files.items():
        persistently(partial(storage.write, storage.join(output, name), data))
