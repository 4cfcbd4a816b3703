"""How good pictures of chairs are: errors of color, overlap of masks; what to compare with."""

import torch
import torch.nn.functional as F
from torch import Tensor

from models.chair_morphs import Scenes, draw
from models.chair_networks import ChairGenerator, over_white
from models.chair_pictures import ChairPictures
from models.chair_views import identity

_THRESHOLD = 0.5
_AT_ONCE = 64

SCORES = ("rgb_mse", "masked_rgb_mse", "mask_iou")


def picture_scores(rgb: Tensor, mask: Tensor, true_rgb: Tensor, true_mask: Tensor) -> Tensor:
    """(N, 3), the columns of `SCORES`.

    rgb_mse: mean of (rgb - true)^2 over all pixels and channels; masked_rgb_mse: the same, each
    pixel weighted by the true mask; mask_iou: pixels of more than half coverage in both masks over
    those in either, 1 where there are none.

    Args:
        rgb, true_rgb: (N, 3, H, W) on white, 0..1. mask, true_mask: (N, 1, H, W), 0..1.
    """
    error = (rgb - true_rgb).square().mean(1, keepdim=True)
    weight = true_mask.sum((1, 2, 3)).clamp_min(1e-6)
    masked = (error * true_mask).sum((1, 2, 3)) / weight
    own, true = mask > _THRESHOLD, true_mask > _THRESHOLD
    both, either = (own & true).sum((1, 2, 3)), (own | true).sum((1, 2, 3))
    iou = torch.where(either > 0, both / either.clamp_min(1), torch.ones_like(masked))
    return torch.stack([error.mean((1, 2, 3)), masked, iou], 1)


def generator_scores(network: ChairGenerator, views: ChairPictures) -> Tensor:
    """(V, 3): the generator's pictures of these views against them; see `picture_scores`.

    The pictures are compared as they would be stored, in 256 levels.

    Raises:
        ValueError: a view is of a chair that the generator does not know.
    """
    parts = []
    for first in range(0, len(views), _AT_ONCE):
        own = views.take(range(first, min(first + _AT_ONCE, len(views))))
        parts.append(picture_scores(*generated(network, own), *own.floats()))
    return torch.cat(parts)


def generated(network: ChairGenerator, views: ChairPictures) -> tuple[Tensor, Tensor]:
    """The generator's pictures of views, on white, and their masks, 0..1 in 256 levels.

    Raises:
        ValueError: a view is of a chair that the generator does not know.
    """
    classes = network.config.classes
    if len(views) and int(views.chair.max()) >= classes:
        raise ValueError(
            f"the generator knows {classes} chairs, got a view of chair {int(views.chair.max())}"
        )
    scenes = Scenes(
        chair=F.one_hot(views.chair, classes).float(),
        azimuth=views.azimuth,
        elevation=views.elevation,
        transformation=identity(len(views)),
    )
    return stored(*draw(network, scenes))


def nearest_views(views: ChairPictures, known: ChairPictures) -> Tensor:
    """(V,): for each view the number of the known view of its chair that is fewest degrees away.

    Degrees are between the directions that the cameras look from; of equals the first.

    Raises:
        ValueError: a chair has no known view.
    """
    nearest = torch.empty(len(views), dtype=torch.int64)
    directions, known_directions = _directions(views), _directions(known)
    for chair in torch.unique(views.chair):
        own = (views.chair == chair).nonzero()[:, 0]
        there = (known.chair == chair).nonzero()[:, 0]
        if not len(there):
            raise ValueError(f"chair {int(chair)} has no known view to compare with")
        cosine = directions[own] @ known_directions[there].T
        nearest[own] = there[cosine.mul(1e6).round().argmax(1)]
    return nearest


def nearest_scores(views: ChairPictures, known: ChairPictures) -> Tensor:
    """(V, 3): the nearest known views against these; what memory without a generator scores."""
    found = known.take(nearest_views(views, known))
    return picture_scores(*found.floats(), *views.floats())


def _directions(views: ChairPictures) -> Tensor:
    """(V, 3) float64 unit vectors towards the camera."""
    a, e = (torch.deg2rad(x.double()) for x in (views.azimuth, views.elevation))
    return torch.stack([a.sin() * e.cos(), -a.cos() * e.cos(), e.sin()], 1)


def stored(color: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Color and coverage -> the picture on white and its mask, 0..1 in 256 levels."""
    return _levels(over_white(color, mask)), _levels(mask)


def _levels(values: Tensor) -> Tensor:
    return (values * 255).round() / 255
