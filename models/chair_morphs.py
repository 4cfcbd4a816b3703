"""What a generator is told to draw: views, turntables, morphs of chairs and of views, blends.

A blend of class vectors is how the paper makes chairs that are not in the dataset: morphs of two,
and a designer's mixture of several.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.chair_networks import ChairGenerator
from models.chair_views import identity, transformation_vector, view_vector

_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class Scenes:
    """N pictures to be drawn.

    chair: (N, classes), rows of weights that sum to 1. azimuth, elevation: (N,), degrees.
    transformation: (N, 8), the columns of `chair_views.Transformation`.

    Raises:
        ValueError: other shapes.
    """

    chair: Tensor
    azimuth: Tensor
    elevation: Tensor
    transformation: Tensor

    def __post_init__(self) -> None:
        count = len(self.chair)
        shapes = [tuple(t.shape) for t in (self.azimuth, self.elevation, self.transformation)]
        if self.chair.ndim != 2 or shapes != [(count,), (count,), (count, 8)]:
            raise ValueError(f"chairs {tuple(self.chair.shape)} do not go with {shapes}")

    def __len__(self) -> int:
        return len(self.chair)


def mixture(weights: Mapping[int, float], classes: int) -> Tensor:
    """(classes,): the class vector of a blend; the weights are divided by their sum.

    Raises:
        ValueError: no such class, a negative weight, or none above 0.
    """
    vector = torch.zeros(classes)
    for number, weight in weights.items():
        if not 0 <= number < classes:
            raise ValueError(f"a chair must be 0 to {classes - 1}, got {number}")
        if not 0 <= weight < float("inf"):
            raise ValueError(f"a weight must be at least 0, got {weight} for chair {number}")
        vector[number] = weight
    if not vector.sum() > 0:
        raise ValueError(f"one weight at least must be above 0, got {dict(weights)}")
    return vector / vector.sum()


def views(
    chairs: Sequence[Tensor],
    azimuths: Sequence[float],
    elevations: Sequence[float],
    transformation: Tensor | None = None,
) -> Scenes:
    """Every chair from every side: by chair, then by elevation, then by azimuth."""
    told = [(c, a, e) for c in chairs for e in elevations for a in azimuths]
    return _scenes(
        torch.stack([c for c, _, _ in told]),
        torch.tensor([a for _, a, _ in told]),
        torch.tensor([e for _, _, e in told]),
        transformation,
    )


def turntable(
    chair: Tensor,
    count: int,
    azimuth: float,
    elevation: float,
    transformation: Tensor | None = None,
) -> Scenes:
    """A chair that turns once: azimuth + k 360 / count, k from 0.

    Raises:
        ValueError: count is below 2.
    """
    if count < 2:
        raise ValueError(f"a turntable must have at least 2 pictures, got {count}")
    azimuths = [(azimuth + k * 360 / count) % 360 for k in range(count)]
    return views([chair], azimuths, [elevation], transformation)


def morph(
    ends: tuple[Tensor, Tensor],
    azimuths: tuple[float, float],
    elevations: tuple[float, float],
    steps: int,
    transformation: Tensor | None = None,
) -> Scenes:
    """From one chair and view to another: (1 - t) first + t last, t = k / (steps - 1).

    ends: two (classes,) class vectors, which may be the same. azimuths, elevations: of the first
    picture and of the last, in degrees; 350 to 370 is the short way past the front.

    Raises:
        ValueError: steps is below 2.
    """
    if steps < 2:
        raise ValueError(f"a morph must have at least 2 steps, got {steps}")
    t = torch.linspace(0, 1, steps, dtype=torch.float64)
    chair = (1 - t)[:, None] * ends[0].double() + t[:, None] * ends[1].double()
    azimuth, elevation = (a + t * (b - a) for a, b in (azimuths, elevations))
    return _scenes(chair.float(), azimuth, elevation, transformation)


def _scenes(
    chair: Tensor, azimuth: Tensor, elevation: Tensor, transformation: Tensor | None
) -> Scenes:
    count = len(chair)
    one = identity(1) if transformation is None else transformation
    return Scenes(
        chair=chair,
        azimuth=azimuth.float(),
        elevation=elevation.float(),
        transformation=one.expand(count, -1).clone(),
    )


def draw(network: ChairGenerator, scenes: Scenes) -> tuple[Tensor, Tensor]:
    """Color (N, 3, S, S) and coverage (N, 1, S, S), 0..1, on the CPU; see `over_white`.

    Raises:
        ValueError: the generator knows another number of chairs.
    """
    if scenes.chair.shape[1] != network.config.classes:
        raise ValueError(
            f"the generator knows {network.config.classes} chairs, got {scenes.chair.shape[1]}"
        )
    device = next(network.parameters()).device
    told = (
        scenes.chair,
        view_vector(scenes.azimuth, scenes.elevation),
        transformation_vector(scenes.transformation),
    )
    colors, masks = [], []
    with torch.no_grad():
        for first in range(0, len(scenes), _AT_ONCE):
            parts = [t[first : first + _AT_ONCE].to(device) for t in told]
            color, mask = network.draw(*parts)
            colors.append(color.cpu())
            masks.append(mask.cpu())
    return torch.cat(colors), torch.cat(masks)
