"""How true a generator's morphs are: against our renderer's, and where points go along them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.chair_morphs import draw, mixture, morph
from models.chair_networks import ChairGenerator
from models.chair_scores import SCORES, picture_scores, stored
from models.chair_shapes import ChairParameters, chair_parameters
from models.chair_truth import true_morph, true_paths
from models.picture_grid import GridRow
from models.pixels import Pixels
from models.point_tracking import track

_AZIMUTH = 35.0
_SHOWN, _SHOWN_STEPS = 4, 9


@dataclass(frozen=True, kw_only=True)
class MorphScores:
    """The means over all morphs and their pictures, the two ends apart; errors of levels 0..1.

    means: morph_rgb_mse, morph_masked_rgb_mse, morph_mask_iou, of the generator against the true
        morph; fade_..., of the two true ends faded into each other; ends_..., of the generator at
        the two ends: what of the error is no matter of the morph.
        Of points seen in both ends, in pixels: tracked_error, how far from their true end the
        tracker ends along the generator's morph; tracked_truth_error, along the true morph;
        still_error, where points stay. tracked_share: the share within 2 pixels along the
        generator's morph.
    sheet: the first morphs, true above generated.
    """

    means: dict[str, float]
    sheet: list[GridRow]


def judge_morphs(
    network: ChairGenerator,
    pairs: Sequence[tuple[int, int]],
    *,
    seed: int,
    elevation: float,
    steps: int,
) -> MorphScores:
    """Morph pairs of chairs, whose parameters are those of the dataset's seed.

    A true morph is one of many: it blends the parameters that chairs are made of.
    """
    found: list[dict[str, float]] = []
    sheet: list[GridRow] = []
    for pair in pairs:
        ends = (chair_parameters(pair[0], seed), chair_parameters(pair[1], seed))
        size, classes = network.config.size, network.config.classes
        scenes = morph(
            (mixture({pair[0]: 1.0}, classes), mixture({pair[1]: 1.0}, classes)),
            (_AZIMUTH, _AZIMUTH),
            (elevation, elevation),
            steps,
        )
        own = stored(*draw(network, scenes))
        true = true_morph(ends, azimuth=_AZIMUTH, elevation=elevation, size=size, steps=steps)
        found.append(_scores(own, true) | _tracking(own, true, ends, elevation))
        if len(sheet) < 2 * _SHOWN:
            sheet += _rows(own[0], true[0], pair)
    means = {name: float(np.nanmean([f[name] for f in found])) for name in found[0]}
    return MorphScores(means=means, sheet=sheet)


def _scores(own: tuple[Tensor, Tensor], true: tuple[Tensor, Tensor]) -> dict[str, float]:
    """Of the pictures between the ends, and of the ends."""
    steps = len(own[0])
    t = torch.linspace(0, 1, steps)[:, None, None, None]
    rgb, mask = ((1 - t) * x[:1] + t * x[-1:] for x in true)
    every = {"morph": picture_scores(*own, *true), "fade": picture_scores(rgb, mask, *true)}
    told: dict[str, float] = {}
    for name, scores in every.items():
        between = scores[1:-1] if steps > 2 else scores
        told |= {f"{name}_{s}": float(v) for s, v in zip(SCORES, between.mean(0), strict=True)}
    ends = every["morph"][[0, -1]].mean(0)
    return told | {f"ends_{s}": float(v) for s, v in zip(SCORES, ends, strict=True)}


def _tracking(
    own: tuple[Tensor, Tensor],
    true: tuple[Tensor, Tensor],
    ends: tuple[ChairParameters, ChairParameters],
    elevation: float,
) -> dict[str, float]:
    steps, _, size, _ = own[0].shape
    paths = true_paths(ends, azimuth=_AZIMUTH, elevation=elevation, size=size, steps=steps)
    places = torch.from_numpy(paths.places).float()
    if not places.shape[1]:  # no point is seen in both
        names = ("tracked_error", "tracked_truth_error", "still_error", "tracked_share")
        return dict.fromkeys(names, float("nan"))
    goal = places[-1]
    along = [(track(torch.cat(p, 1), places[0])[-1] - goal).norm(dim=1) for p in (own, true)]
    return {
        "tracked_error": float(along[0].mean()),
        "tracked_truth_error": float(along[1].mean()),
        "still_error": float((places[0] - goal).norm(dim=1).mean()),
        "tracked_share": float((along[0] < 2).float().mean()),
    }


def _rows(own: Tensor, true: Tensor, pair: tuple[int, int]) -> list[GridRow]:
    """Pictures along both morphs."""
    count = min(_SHOWN_STEPS, len(own))
    chosen = np.linspace(0, len(own) - 1, count).round().astype(int).tolist()
    words = [f"{k / (len(own) - 1):.2f}" for k in chosen]
    rows = []
    for what, pictures in (("true", true), ("generated", own)):
        crops = tuple(_pixels(pictures[k]) for k in chosen)
        first = f"{pair[0]} to {pair[1]}, {what}"
        rows.append(GridRow(crops=crops, words=(first, *words[1:])))
    return rows


def _pixels(rgb: Tensor) -> Pixels:
    levels: Pixels = (rgb * 255).round().byte().permute(1, 2, 0).numpy()
    return levels
