"""What a morph of two chairs truly is: our renderer's, of chairs on the way, and where points go.

Real data have no such truth; our chairs share their triangles, see `chair_shapes`.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.chair_shapes import ChairParameters, blend, chair_mesh
from models.rendering import Mesh, projected, render, visible_faces


def true_morph(
    ends: tuple[ChairParameters, ChairParameters],
    *,
    azimuth: float,
    elevation: float,
    size: int,
    steps: int,
) -> tuple[Tensor, Tensor]:
    """Pictures (steps, 3, size, size) on white and masks (steps, 1, size, size), 0..1.

    Chair k has (1 - t) a + t b of every parameter, t = k / (steps - 1).

    Raises:
        ValueError: steps is below 2.
    """
    pictures, masks = [], []
    for mesh in _on_the_way(ends, steps):
        rgb, mask = render(mesh, azimuth=azimuth, elevation=elevation, size=size)
        pictures.append(torch.from_numpy(rgb).permute(2, 0, 1).float() / 255)
        masks.append(torch.from_numpy(mask)[None].float() / 255)
    return torch.stack(pictures), torch.stack(masks)


@dataclass(frozen=True, kw_only=True, eq=False)
class Paths:
    """Where n points of a surface are in each of the pictures: (steps, n, 2) column and row."""

    places: NDArray[np.float64]


def true_paths(
    ends: tuple[ChairParameters, ChairParameters],
    *,
    azimuth: float,
    elevation: float,
    size: int,
    steps: int,
    stride: int = 2,
) -> Paths:
    """The paths of the points in the middle of every `stride`-th pixel of the first picture.

    Only of points that are seen in the first picture and in the last one.

    Raises:
        ValueError: steps is below 2.
    """
    meshes = _on_the_way(ends, steps)
    view = {"azimuth": azimuth, "elevation": elevation}
    seen = visible_faces(meshes[0], size=size, **view)
    rows, columns = np.nonzero(seen[::stride, ::stride] >= 0)
    rows, columns = rows * stride, columns * stride
    faces = seen[rows, columns]
    shares = _shares(meshes[0], faces, np.stack([columns + 0.5, rows + 0.5], 1), size, view)
    places = []
    for mesh in meshes:
        corners = mesh.vertices[mesh.faces[faces]].astype(np.float64)
        points = np.einsum("nk,nkd->nd", shares, corners).astype(np.float32)
        places.append(projected(points, size=size, **view)[:, :2])
    kept = _still_seen(visible_faces(meshes[-1], size=size, **view), faces, places[-1])
    return Paths(places=np.stack(places)[:, kept])


def _on_the_way(ends: tuple[ChairParameters, ChairParameters], steps: int) -> list[Mesh]:
    if steps < 2:
        raise ValueError(f"a morph must have at least 2 steps, got {steps}")
    return [chair_mesh(blend(*ends, k / (steps - 1))) for k in range(steps)]


def _shares(
    mesh: Mesh,
    faces: NDArray[np.int32],
    places: NDArray[np.float64],
    size: int,
    view: dict[str, float],
) -> NDArray[np.float64]:
    """(n, 3): how much of each of its face's corners a point is that is seen at a place."""
    corners = projected(mesh.vertices[mesh.faces[faces]].reshape(-1, 3), size=size, **view).reshape(
        -1, 3, 3
    )
    a, b, c = (corners[:, k, :2] for k in range(3))
    area = _cross(b - a, c - a)
    flat = np.stack([_cross(b - places, c - places), _cross(c - places, a - places)], 1)
    flat = flat / area[:, None]
    shares = np.concatenate([flat, 1 - flat.sum(1, keepdims=True)], 1) * corners[:, :, 2]
    result: NDArray[np.float64] = shares / shares.sum(1, keepdims=True)
    return result


def _cross(p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]
    return result


def _still_seen(
    seen: NDArray[np.int32], faces: NDArray[np.int32], places: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Whether each face is seen within a pixel of a place."""
    size = len(seen)
    padded = np.pad(seen, 1, constant_values=-1)
    column, row = (np.floor(places[:, k]).astype(int).clip(0, size - 1) for k in (0, 1))
    found = np.zeros(len(faces), np.bool_)
    for down in range(3):
        for right in range(3):
            found |= padded[row + down, column + right] == faces
    return found
