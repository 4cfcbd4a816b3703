"""Where points of a picture go in the pictures that follow: Lucas and Kanade's tracker.

Lucas and Kanade 1981, "An iterative image registration technique"; over a pyramid as Bouguet 2000.
Differs in that all channels count, and that a point on a flat place stays where it is.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

_RADIUS, _LEVELS, _ROUNDS = 6, 2, 12
_DAMPING = 1e-3


def track(frames: Tensor, points: Tensor) -> Tensor:
    """(T, n, 2): the places of (n, 2) points of the first frame in all frames, column and row.

    Each frame is compared with the next one: in a window of 13 x 13 pixels about a point, the shift
    d minimises sum w |frame(p) - next(p + d)|^2 + damping |d|^2, first at half the size.

    Args:
        frames: (T, C, H, W), 0..1; motions of a few pixels from one to the next.
        points: of the first frame; 0.5, 0.5 is the middle of its first pixel.
    Raises:
        ValueError: other shapes.
    """
    if frames.ndim != 4 or points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(
            f"frames and points must be (T, C, H, W) and (n, 2),"
            f" got {tuple(frames.shape)} and {tuple(points.shape)}"
        )
    pyramids = [_pyramid(frame[None]) for frame in frames]
    places = [points.float()]
    for before, after in pairwise(pyramids):
        shift = torch.zeros_like(places[-1])
        for level in reversed(range(_LEVELS)):
            shift = _aligned(before[level], after[level], places[-1] / 2**level, shift / 2**level)
            shift = shift * 2**level
        places.append(places[-1] + shift)
    return torch.stack(places)


def _pyramid(frame: Tensor) -> list[Tensor]:
    """The frame, smoothed a little, and smaller and smaller versions of it."""
    kernel = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    channels = frame.shape[1]
    found = []
    for _ in range(_LEVELS):
        padded = F.pad(frame, [2, 2, 2, 2], mode="replicate")
        across = F.conv2d(padded, kernel.expand(channels, 1, 1, 5), groups=channels)
        frame = F.conv2d(across, kernel[:, None].expand(channels, 1, 5, 1), groups=channels)
        found.append(frame)
        frame = F.avg_pool2d(frame, 2)
    return found


def _aligned(before: Tensor, after: Tensor, points: Tensor, shift: Tensor) -> Tensor:
    """The shifts (n, 2) of points from one (1, C, H, W) frame to another, from a first guess."""
    steps = torch.arange(-_RADIUS, _RADIUS + 1.0)
    window = torch.cartesian_prod(steps, steps).flip(1)
    weight = torch.exp(-window.square().sum(1) / (2 * (_RADIUS / 2) ** 2))
    weight = weight / weight.sum()
    places = points[:, None] + window
    template = _sampled(before, places)
    right, down = torch.tensor([0.5, 0.0]), torch.tensor([0.0, 0.5])
    slope = torch.stack(
        [_sampled(before, places + s) - _sampled(before, places - s) for s in (right, down)], -1
    )
    matrix = torch.einsum("cnka,cnkb,k->nab", slope, slope, weight) + _DAMPING * torch.eye(2)
    for _ in range(_ROUNDS):
        error = template - _sampled(after, places + shift[:, None])
        pull = torch.einsum("cnka,cnk,k->na", slope, error, weight) - _DAMPING * shift
        shift = shift + torch.linalg.solve(matrix, pull)
    return shift


def _sampled(frame: Tensor, places: Tensor) -> Tensor:
    """(C, n, k): the frame at (n, k, 2) places, bilinear; beyond the border as on it."""
    height, width = frame.shape[2:]
    grid = places / torch.tensor([width, height]) * 2 - 1
    found = F.grid_sample(frame, grid[None], padding_mode="border", align_corners=False)
    return found[0]
