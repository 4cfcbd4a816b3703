"""Judge super-resolution: models against the originals of pictures that were made small."""

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from models.images import ImageError
from models.pixels import Pixels
from tasks import storage
from tasks.failures import explain
from tasks.picture_pairs import PairSource, PicturePair
from tasks.registry import LoadedModel
from tasks.tables import SrScore

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger(__name__)

BASELINE = "bicubic"

OF_ONE_PICTURE = (
    ImageError,
    ValueError,
    MemoryError,
    storage.NotFoundError,
    storage.AccessDeniedError,
)
"""What costs a picture, and not the run."""


@dataclass(kw_only=True)
class Judgement:
    """Every score, and a sentence on each picture that gave none."""

    scores: list[SrScore] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


OnPair = Callable[[PicturePair, Mapping[str, Pixels], Sequence[SrScore]], None]
"""Told of each pair, its enlargements by model name, and their scores."""


def judge(
    pairs: Iterable[PairSource],
    models: Sequence[LoadedModel],
    *,
    run: str,
    features: "nn.Module | None" = None,
    on_pair: OnPair | None = None,
) -> Judgement:
    """Enlarge every small picture by every model and compare with its original.

    A picture that cannot be read or compared costs a line in the log, not the run.

    Args:
        models: of one scale, with distinct names; one must be the baseline, bicubic.
        features: layers for the perceptual distance; without, that score is None.
    Raises:
        ValueError: the models differ in scale, share a name, or lack the baseline.
        StorageError: a store fails in a way that is not one picture's.
    """
    _check(models)
    _warm_up(models)
    judgement = Judgement()
    for waiting in pairs:
        try:
            pair = waiting.load()
            enlarged, scores = _judge_pair(pair, models, run, features)
        except OF_ONE_PICTURE as error:
            log.warning("%s: not judged: %s", storage.redact(waiting.source), explain(error))
            judgement.failed[waiting.source] = explain(error)
            continue
        judgement.scores += scores
        if on_pair is not None:
            on_pair(pair, enlarged, scores)
    return judgement


def _check(models: Sequence[LoadedModel]) -> None:
    names, scales = [m.name for m in models], {m.upscaler.scale for m in models}
    if BASELINE not in names or len(set(names)) != len(names) or len(scales) != 1:
        raise ValueError(
            f"want models of one scale and distinct names, {BASELINE} among them,"
            f" got {names} of scales {sorted(scales)}"
        )


def _warm_up(models: Sequence[LoadedModel]) -> None:
    """Let each model choose its kernels before anything is timed."""
    for model in models:
        model.upscaler(np.zeros((1, 48, 48, 3), np.uint8))


def _judge_pair(
    pair: PicturePair, models: Sequence[LoadedModel], run: str, features: "nn.Module | None"
) -> tuple[dict[str, Pixels], list[SrScore]]:
    from models.metrics import score_against_reference
    from models.picture_upscaling import upscale_pictures

    enlarged, seconds, quality = {}, {}, {}
    for model in models:
        began = time.perf_counter()
        enlarged[model.name] = upscale_pictures(model.upscaler, pair.low[None])[0]
        seconds[model.name] = time.perf_counter() - began
        quality[model.name] = score_against_reference(
            enlarged[model.name], pair.truth, border=model.upscaler.scale
        )
        if math.isnan(quality[model.name][0]):
            raise ValueError(
                f"{pair.truth.shape[1]}x{pair.truth.shape[0]} is too small: nothing is left"
                f" inside a border of {model.upscaler.scale} pixels"
            )
    scores = [
        SrScore(
            model=storage.redact(model.name),
            model_digest=model.digest,
            source=pair.source,
            source_digest=pair.source_digest,
            scale=model.upscaler.scale,
            psnr=quality[model.name][0],
            ssim=quality[model.name][1],
            bicubic_psnr=quality[BASELINE][0],
            perceptual=_perceptual(enlarged[model.name], pair.truth, features),
            infer_s=seconds[model.name],
            width=pair.truth.shape[1],
            height=pair.truth.shape[0],
            run=run,
            at=datetime.now(UTC),
        )
        for model in models
    ]
    return enlarged, scores


def _perceptual(output: Pixels, truth: Pixels, features: "nn.Module | None") -> float | None:
    if features is None:
        return None
    from models.perceptual_distance import relative_perceptual_distance

    return relative_perceptual_distance(features, output, truth)


def mean_gain(scores: Iterable[SrScore], model: str) -> float:
    """Mean of a model's PSNR over bicubic's, picture by picture, in dB; exact pictures left out.

    Raises:
        ValueError: there is no score of this model that has a finite gain.
    """
    gains = [s.psnr - s.bicubic_psnr for s in scores if s.model == model]
    finite = [gain for gain in gains if math.isfinite(gain)]
    if not finite:
        raise ValueError(f"want scores of {model} to take a mean of, got none")
    return math.fsum(finite) / len(finite)


def mean_scores(scores: Sequence[SrScore]) -> dict[str, dict[str, float]]:
    """Model -> psnr, psnr_gain, ssim, perceptual, infer_s -> mean over the pictures.

    A picture that any model restores exactly (a flat one) has an infinite PSNR and is left out of
    both PSNR means of all models. What no picture has, no mean is there for.
    """
    exact = {s.source for s in scores if not math.isfinite(s.psnr)}
    means: dict[str, dict[str, float]] = {}
    for model in dict.fromkeys(s.model for s in scores):
        own = [s for s in scores if s.model == model]
        measured = [s for s in own if s.source not in exact]
        columns: dict[str, list[float | None]] = {
            "psnr": [s.psnr for s in measured],
            "psnr_gain": [s.psnr - s.bicubic_psnr for s in measured],
            "ssim": [s.ssim for s in own],
            "perceptual": [s.perceptual for s in own],
            "infer_s": [s.infer_s for s in own],
        }
        found = {name: [v for v in values if v is not None] for name, values in columns.items()}
        means[model] = {name: math.fsum(v) / len(v) for name, v in found.items() if v}
    return means
