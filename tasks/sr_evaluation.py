"""The evaluation job: models on a dataset or collection, their scores, and where those are kept."""

import itertools
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from tasks import collection, sr_pairs, storage, tables
from tasks.failures import RequestError, persistently
from tasks.features import VARIABLE, load_features, locate_features
from tasks.picture_pairs import PicturePair, picture_pairs
from tasks.registry import LoadedModel, PrecisionChoice, check_model, load_model
from tasks.runs import new_run_id
from tasks.sr_judging import BASELINE, judge, mean_scores
from tasks.tables import MetricRow, SrScore

if TYPE_CHECKING:
    from torch import nn

    from models.picture_grid import GridRow
    from models.pixels import Pixels

log = logging.getLogger(__name__)

DEFAULT_SCALE = 4
WHOLE_COLLECTION = "all"
"""What stands as the split of a collection that has none."""

_GRID_ROWS, _GRID_SIDE = 6, 128
_HD_PIXELS = 1280 * 720
_COUNTED_SIDE = 64
_UNMEASURED = "perceptual distance: not measured, no features given (--features URI|torchvision)"


@dataclass(frozen=True, kw_only=True)
class EvaluateRequest:
    """What a user asks for; see the command line."""

    model: str
    dataset: str
    compare: tuple[str, ...] = ()
    scale: int | None = None
    split: str = "test"
    output: str | None = None
    features: str | None = None
    registry: str | None = None
    precision: PrecisionChoice = "fp32"
    limit: int | None = None


@dataclass(frozen=True, kw_only=True)
class SrReport:
    """What an evaluation found: a row a model and picture, and the means.

    means: model -> metric -> value: psnr (dB), psnr_gain (over bicubic), ssim, perceptual,
        infer_s, parameters, macs (to make 1280x720); what was not measured is not there.
    """

    run: str
    dataset: str
    split: str
    scale: int
    models: tuple[str, ...]
    pictures: int
    failed: dict[str, str]
    scores: tuple[SrScore, ...]
    means: dict[str, dict[str, float]]
    notes: tuple[str, ...]
    output: str | None
    seconds: float

    def closing_line(self) -> str:
        """What was judged, and where it is, in one line."""
        count = f"{self.pictures} image{'' if self.pictures == 1 else 's'}"
        parts = [f"{count} judged at x{self.scale}"]
        if self.failed:
            parts.append(f"{len(self.failed)} failed")
        for model in self.models:
            mean = self.means[model]
            if "psnr" in mean:
                gain = "" if model == BASELINE else f" ({mean['psnr_gain']:+.2f})"
                parts.append(f"{model} {mean['psnr']:.2f} dB{gain}")
        return f"{', '.join(parts)}; {self.seconds:.1f} s: {self.output or self.dataset}"


def check_request(request: EvaluateRequest) -> EvaluateRequest:
    """The request with whole URIs, after every check that needs no torch.

    Raises:
        RequestError: a value out of range, another scale than the dataset's, a split without
            pictures, or results that would become part of what is judged.
        ModelError, DatasetError, FeaturesError: no such model, damaged, no such weights.
        StorageError: there is no such dataset, or a store cannot be asked.
    """
    if request.limit is not None and request.limit < 1:
        raise RequestError(f"limit must be at least 1, got {request.limit}")
    if request.scale is not None and not 2 <= request.scale <= 8:
        raise RequestError(f"scale must be 2, 3 or 4 (2 to 8 for bicubic), got {request.scale}")
    dataset = storage.normalise(request.dataset)
    output = storage.normalise(request.output) if request.output else None
    if output is not None and storage.is_within(output, dataset):
        raise RequestError(f"the output must not lie inside the dataset, got {output}")
    collection.check_exists(dataset)
    scale = _scale_of_dataset(dataset, request)
    for ref in (request.model, *request.compare):
        check_model(ref, scale, registry=request.registry)
    if features := _features_ref(request):
        locate_features(features, "vgg16")
    return replace(request, dataset=dataset, output=output, scale=scale)


def _scale_of_dataset(dataset: str, request: EvaluateRequest) -> int | None:
    """The scale that a dataset was made for; of a plain collection, what was asked for."""
    if not sr_pairs.is_dataset(dataset):
        return request.scale
    made, where = sr_pairs.open_sr_dataset(dataset), storage.redact(dataset)
    if request.scale not in (None, made.scale):
        raise RequestError(
            f"{where} was made {made.scale} times smaller, got scale {request.scale}"
        )
    if not made.counts.get(request.split):
        has = ", ".join(f"{split} {count}" for split, count in made.counts.items() if count)
        raise RequestError(f"{where} has no pictures of the split {request.split!r}; it has {has}")
    return made.scale


def evaluate_sr(
    request: EvaluateRequest, *, on_judged: Callable[[int], None] | None = None
) -> SrReport:
    """Judge a model, bicubic and whatever it is compared with; write the results if asked to.

    Args:
        on_judged: told how many pictures have been judged.
    Raises:
        RequestError, ModelError, StorageError: as in `check_request` and `load_model`.
        ValueError: not one image could be judged.
    """
    began, request = time.monotonic(), check_request(request)
    models = _models(request)
    scale = models[0].upscaler.scale
    features = _features(request, models)
    grid = _GridRows(names=[m.name for m in models], on_judged=on_judged)
    run = new_run_id()
    pairs = itertools.islice(picture_pairs(request.dataset, request.split, scale), request.limit)
    judgement = judge(pairs, models, run=run, features=features, on_pair=grid)
    if not judgement.scores:
        raise ValueError(_why_nothing(request, judgement.failed))
    means = mean_scores(judgement.scores)
    for model in models:
        means[storage.redact(model.name)] |= _size(model)
    report = SrReport(
        run=run,
        dataset=storage.redact(request.dataset),
        split=request.split if sr_pairs.is_dataset(request.dataset) else WHOLE_COLLECTION,
        scale=scale,
        models=tuple(means),
        pictures=grid.judged,
        failed=judgement.failed,
        scores=tuple(judgement.scores),
        means=means,
        notes=() if features is not None else (_UNMEASURED,),
        output=request.output,
        seconds=time.monotonic() - began,
    )
    if request.output:
        _write(request.output, report, grid.rows)
    return report


def _models(request: EvaluateRequest) -> list[LoadedModel]:
    """Bicubic and the models asked for, each once, all of one scale."""
    refs = [ref for ref in dict.fromkeys((request.model, *request.compare)) if ref != BASELINE]
    load = partial(load_model, precision=request.precision, registry=request.registry)
    scale = request.scale
    if scale is None:
        scale = load(refs[0], None).upscaler.scale if refs else DEFAULT_SCALE
    loaded = [load(ref, scale) for ref in (BASELINE, *refs)]
    return list({model.name: model for model in loaded}.values())


def _features_ref(request: EvaluateRequest) -> str | None:
    """Which features were asked for, here or in the environment: nothing is downloaded unasked."""
    return request.features or os.environ.get(VARIABLE)


def _features(request: EvaluateRequest, models: Sequence[LoadedModel]) -> "nn.Module | None":
    """The network behind the perceptual distance, where the models are that are networks."""
    ref = _features_ref(request)
    if not ref:
        return None
    from models.perceptual_distance import LAYERS

    device = models[-1].upscaler.device  # bicubic, the first, stays on the CPU
    return load_features(ref, kind="vgg16", layers=LAYERS, device=device)


def _size(model: LoadedModel) -> dict[str, float]:
    """A network's parameters, and its multiplications and additions to make 1280x720 pixels."""
    network = model.upscaler.network
    if network is None:
        return {}
    from models.complexity import macs, parameters

    # convolutions cost by the pixel: a small picture of a shape that the network takes will do
    upscaler = model.upscaler
    side = -(-max(_COUNTED_SIDE, upscaler.minimum) // upscaler.multiple) * upscaler.multiple
    counted = macs(network, side, side, channels=3 if upscaler.inputs == "rgb" else 1)
    pixels = _HD_PIXELS / upscaler.scale**2
    return {"parameters": parameters(network), "macs": counted * pixels / side**2}


def _why_nothing(request: EvaluateRequest, failed: Mapping[str, str]) -> str:
    where = storage.redact(request.dataset)
    if not failed:
        return f"there is no image to judge in {where}"
    source, reason = next(iter(failed.items()))
    return (
        f"none of the {len(failed)} images of {where} could be judged;"
        f" the first, {storage.redact(source)}: {reason}"
    )


@dataclass(kw_only=True)
class _GridRows:
    """The crops of the first pictures, as they are judged."""

    names: Sequence[str]
    on_judged: Callable[[int], None] | None
    judged: int = 0
    rows: "list[GridRow]" = field(default_factory=list)

    def __call__(
        self, pair: PicturePair, enlarged: "Mapping[str, Pixels]", scores: Sequence[SrScore]
    ) -> None:
        from models.picture_grid import GridRow, crop, most_detailed_window

        self.judged += 1
        if self.on_judged is not None:
            self.on_judged(self.judged)
        if len(self.rows) >= _GRID_ROWS:
            return
        corner = most_detailed_window(pair.truth, _GRID_SIDE)
        pictures = [pair.truth, *(enlarged[name] for name in self.names)]
        words = [
            f"{name.rpartition('/')[2]}  {s.psnr:.2f} dB"
            for name, s in zip(self.names, scores, strict=True)
        ]
        self.rows.append(
            GridRow(
                crops=tuple(crop(p, corner, _GRID_SIDE).copy() for p in pictures),
                words=("ground truth", *words),
            )
        )


def _write(output: str, report: SrReport, rows: "Sequence[GridRow]") -> None:
    """results.parquet, metrics.parquet and grid.png below `output`."""
    from models.images import encode
    from models.picture_grid import picture_grid

    at = datetime.now(UTC)
    metrics = [
        MetricRow(run=report.run, step=0, split=report.split, metric=f"{model}/{name}",
                  value=value, at=at)
        for model, mean in report.means.items()
        for name, value in mean.items()
    ]  # fmt: skip
    files = {
        "grid.png": encode(picture_grid(rows), "png"),
        "metrics.parquet": tables.to_parquet(metrics, tables.METRICS),
        "results.parquet": tables.to_parquet(report.scores, tables.SR_SCORES),
    }
    for name, data in files.items():
        target = storage.join(output, name)
        persistently(partial(storage.write, target, data))
