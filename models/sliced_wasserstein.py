"""How far the distributions of two pictures' features are apart, seen along random directions.

Source: Heitz et al. 2021, "A sliced Wasserstein loss for neural texture synthesis",
arXiv:2006.07229. Differs: relative to the target's mean square, so that layers count alike; the
directions are orthonormal, as many as the layer has channels, which covers its space evenly.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

_MOST_POSITIONS = 2**18  # kept of a target: a distribution needs no more


def random_directions(channels: int, generator: torch.Generator) -> Tensor:
    """Rows of a random rotation, (C, C): unit vectors, each uniform on the sphere."""
    normal = torch.randn(channels, channels, generator=generator, device=generator.device)
    q, r = torch.linalg.qr(normal)
    directions: Tensor = (q * r.diagonal().sign()).T.contiguous()
    return directions


def sorted_projections(features: Tensor, directions: Tensor) -> Tensor:
    """Each direction's projections in ascending order: (K, n).

    Args:
        features: (C, n), one column a position. directions: (K, C).
    Raises:
        ValueError: no positions, or another number of channels.
    """
    if features.ndim != 2 or features.shape[1] == 0 or features.shape[0] != directions.shape[1]:
        raise ValueError(
            f"features must be ({directions.shape[1]}, n), n at least 1, got {features.shape}"
        )
    return (directions @ features).sort(dim=1).values


def quantiles(ordered: Tensor, count: int) -> Tensor:
    """So many values, evenly spread over ascending ones: (K, m) -> (K, count), interpolated."""
    m = ordered.shape[1]
    if count == m:
        return ordered
    places = (torch.arange(count, device=ordered.device, dtype=torch.float64) + 0.5) / count
    places = (places * m - 0.5).clamp(0, m - 1)
    low = places.floor().long()
    share = (places - low).to(ordered.dtype)
    return torch.lerp(ordered[:, low], ordered[:, (low + 1).clamp_max(m - 1)], share)


def sliced_distance(features: Tensor, target: Tensor, directions: Tensor) -> Tensor:
    """Mean over directions and ranks of (projection - target's)^2 / mean of the target's squares.

    Args:
        features: (C, n). target: (K, m), `sorted_projections` of the target.
    Returns:
        A scalar; 0 for equal distributions along these directions.
    """
    own = sorted_projections(features, directions)
    wanted = quantiles(target, own.shape[1])
    size = target.square().mean().clamp_min(torch.finfo(target.dtype).tiny)
    return (own - wanted).square().mean() / size


class SlicedTargets:
    """A target's features and, for the directions of now, its sorted projections.

    Args:
        features: layer -> (C, n); above 2^18 positions every n-th is kept.
    """

    def __init__(self, features: Mapping[str, Tensor]) -> None:
        self._features = {
            name: layer[:, :: -(-layer.shape[1] // _MOST_POSITIONS)].contiguous()
            for name, layer in features.items()
        }
        self._directions: dict[str, Tensor] = {}
        self._ordered: dict[str, Tensor] = {}

    def turn(self, generator: torch.Generator) -> None:
        """Draw new directions for every layer."""
        for name, layer in self._features.items():
            drawn = random_directions(layer.shape[0], generator).to(layer.device)
            self._directions[name] = drawn
            self._ordered[name] = sorted_projections(layer, drawn)

    def distance(self, name: str, layer: Tensor) -> Tensor:
        """`sliced_distance` of a layer, (1, C, h, w), along the directions of now."""
        return sliced_distance(layer.flatten(2)[0], self._ordered[name], self._directions[name])
