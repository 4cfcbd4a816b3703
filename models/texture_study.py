"""What depth and weights do to a texture: the classic lecture's study, for one exemplar."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from models.feature_windows import FeatureExtractor
from models.pixel_optimisation import LossProgress
from models.texture_gram import GramConfig, gram_texture
from models.texture_objective import default_weight
from models.texture_pixels import Bytes, Mask

LOW_FACTORS = (0.001, 1.0, 100.0)
"""What the weights of the low layers are multiplied by: blurred, as they are, crisp."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StudyPicture:
    """One picture of the study, (H, W, 3) uint8, what it was made with, and how far it got."""

    words: str
    pixels: Bytes
    layers: tuple[str, ...]
    weights: tuple[float, ...]
    losses: dict[str, float]


def study_plan(layers: Sequence[str], *, low: int = 2) -> list[tuple[str, GramConfig]]:
    """The words and the layers and weights of each picture of a study.

    First the layers up to the first, the second ... the last; then all of them, the first `low`
    weighted by each of `LOW_FACTORS`.

    Raises:
        ValueError: fewer than two layers, or not all of the low ones among them.
    """
    if len(layers) < 2 or not 1 <= low < len(layers):
        raise ValueError(f"a study needs 2 layers and fewer low ones, got {layers} and {low} low")
    own = tuple(default_weight(layer) for layer in layers)
    plan = []
    for depth in range(1, len(layers) + 1):
        config = GramConfig(layers=tuple(layers[:depth]), layer_weights=own[:depth])
        plan.append((f"up to {layers[depth - 1]}", config))
    for factor in LOW_FACTORS:
        weights = tuple(w * factor if n < low else w for n, w in enumerate(own))
        config = GramConfig(layers=tuple(layers), layer_weights=weights)
        plan.append((f"{' '.join(layers[:low])} x {factor:g}", config))
    return plan


def depth_study(
    exemplar: Bytes,
    size: tuple[int, int],
    features: Callable[[tuple[str, ...]], FeatureExtractor],
    config: GramConfig,
    *,
    seed: int,
    valid: Mask | None = None,
    progress: Callable[[str, int, dict[str, float]], None] | None = None,
    device: torch.device | str = "cpu",
) -> list[StudyPicture]:
    """Synthesise the study's pictures, all from the same noise.

    Args:
        exemplar: (H, W, 3) uint8. size: (height, width) of each picture.
        features: the network of these layers, so that nothing deeper than a picture needs is run.
        config: everything but the layers' weights; its layers, all of the study, must be given.
        progress: told the picture's words, the iteration and the losses.
    Raises:
        ValueError: no layers in the config; whatever `gram_texture` refuses.
    """
    if config.layers is None:
        raise ValueError("a study's config must name its layers, got None")
    pictures = []
    for words, own in study_plan(config.layers):
        layers, weights = own.layers or (), own.layer_weights or ()
        last: dict[str, float] = {}
        told = _recorded(words, last, progress)
        pixels = gram_texture(
            exemplar, size, features(layers),
            replace(config, layers=layers, layer_weights=weights),
            generator=torch.Generator().manual_seed(seed), valid=valid, progress=told,
            device=device,
        )  # fmt: skip
        pictures.append(
            StudyPicture(words=words, pixels=pixels, layers=layers, weights=weights, losses=last)
        )
    return pictures


def _recorded(
    words: str,
    last: dict[str, float],
    progress: Callable[[str, int, dict[str, float]], None] | None,
) -> LossProgress:
    def told(iteration: int, losses: dict[str, float]) -> None:
        last.clear()
        last.update(losses)
        if progress:
            progress(words, iteration, losses)

    return told
