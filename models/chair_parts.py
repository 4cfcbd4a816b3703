"""What chairs are made of: swept bars, cushions and curved panels, as vertices and triangles.

The triangles of a part depend on its counts alone (sides, points along a path), never on its
sizes, so that the vertices of two parts with equal counts correspond. A part of size 0 has only
triangles without an area, which are not drawn.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Vertices = NDArray[np.float64]
Triangles = NDArray[np.int32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Vertices (V, 3) float64 and faces (F, 3) int32 of one part."""

    vertices: Vertices
    faces: Triangles


def superellipse(sides: int, exponent: float) -> Vertices:
    """(sides, 2) points of |x|^e + |y|^e = 1: a circle for 2, nearly a square for 10."""
    angles = (np.arange(sides) + 0.5) * (2 * math.pi / sides)
    x, y = np.cos(angles), np.sin(angles)
    power = 2 / exponent
    return np.stack([np.sign(x) * np.abs(x) ** power, np.sign(y) * np.abs(y) ** power], 1)


@cache
def _stacked_rings(rings: int, sides: int) -> Triangles:
    """Faces between neighboring rings of vertices, and a cap to one vertex at either end."""
    here = np.arange(rings - 1)[:, None] * sides + np.arange(sides)
    after = np.arange(rings - 1)[:, None] * sides + (np.arange(sides) + 1) % sides
    walls = [
        np.stack([here, after, after + sides], -1),
        np.stack([here, after + sides, here + sides], -1),
    ]
    around, following = np.arange(sides), (np.arange(sides) + 1) % sides
    bottom, top = rings * sides, rings * sides + 1
    end = (rings - 1) * sides
    caps = [
        np.stack([following, around, np.full(sides, bottom)], -1),
        np.stack([around + end, following + end, np.full(sides, top)], -1),
    ]
    return np.concatenate([f.reshape(-1, 3) for f in walls + caps]).astype(np.int32)


def bar(
    path: Vertices,
    across: Vertices,
    *,
    width: float | Vertices,
    height: float | Vertices,
    exponent: float = 2.0,
    sides: int = 8,
) -> Part:
    """A bar swept along a path that lies in one plane, mitred at its bends.

    Args:
        path: (P, 3), no two neighbors equal.
        across: (3,) roughly the normal of the path's plane.
        width, height: half extents of the cross-section along `across` and in the plane; one, or
            (P,) one a point.
        exponent: of the cross-section, see `superellipse`.
    """
    steps = path[1:] - path[:-1]
    steps = steps / np.linalg.norm(steps, axis=1, keepdims=True)
    before, after = np.concatenate([steps[:1], steps]), np.concatenate([steps, steps[-1:]])
    tangents = before + after
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
    normal = across - (across @ steps[0]) * steps[0]
    normal /= np.linalg.norm(normal)
    inward = np.cross(normal, tangents)
    inward /= np.linalg.norm(inward, axis=1, keepdims=True)
    mitre = np.maximum((tangents * before).sum(1), 0.5)
    shape = superellipse(sides, exponent)
    wide = np.broadcast_to(np.asarray(width, np.float64), len(path))
    high = np.broadcast_to(np.asarray(height, np.float64), len(path)) / mitre
    rings = (
        path[:, None]
        + (wide[:, None] * shape[None, :, 0])[..., None] * normal
        + (high[:, None] * shape[None, :, 1])[..., None] * inward[:, None]
    )
    vertices = np.concatenate([rings.reshape(-1, 3), path[:1], path[-1:]])
    return Part(vertices=vertices, faces=_stacked_rings(len(path), sides))


def cushion(
    outline: Vertices, *, bottom: float, top: float, bevel: float, puff: float, inset: float = 0.9
) -> Part:
    """A plate over an outline, its edges beveled and its top raised towards the middle.

    Args:
        outline: (sides, 2) x and y, about the origin.
        bottom, top: heights of the plate; the bevels take the share `bevel` (0..0.5) of it each.
        puff: how much higher the middle of the top is.
        inset: the outline's scale at the outer end of a bevel.
    """
    step = (top - bottom) * bevel
    middle = (1 + inset) / 2
    levels = (
        (inset, bottom),
        (1.0, bottom + step),
        (1.0, top - step),
        (middle, top - step * 0.3),
        (inset, top + puff * 0.1),
        (inset * 0.6, top + puff * 0.7),
    )
    rings = [np.column_stack([outline * s, np.full(len(outline), z)]) for s, z in levels]
    ends = np.array([[0, 0, bottom], [0, 0, top + puff]])
    return Part(
        vertices=np.concatenate([*rings, ends]), faces=_stacked_rings(len(levels), len(outline))
    )


@cache
def _two_sheets(rows: int, columns: int) -> Triangles:
    """Faces of two grids of vertices and of the rim between them."""
    i, j = np.meshgrid(np.arange(rows - 1), np.arange(columns - 1), indexing="ij")
    a = (i * columns + j).ravel()
    quads = [np.stack([a, a + 1, a + columns + 1, a + columns], -1)]
    back = rows * columns
    quads.append(quads[0][:, ::-1] + back)
    grid = np.arange(rows * columns).reshape(rows, columns)
    rim = np.concatenate([grid[0], grid[1:, -1], grid[-1, -2::-1], grid[-2:0:-1, 0]])
    following = np.roll(rim, -1)
    quads.append(np.stack([following, rim, rim + back, following + back], -1))
    four = np.concatenate(quads)
    return np.concatenate([four[:, [0, 1, 2]], four[:, [0, 2, 3]]]).astype(np.int32)


def panel(middle: Vertices, outward: Vertices, *, thickness: float) -> Part:
    """A curved board: a sheet of points and its thickness.

    Args:
        middle: (rows, columns, 3) the points halfway through the board.
        outward: (3,) of length 1, the direction of its thickness.
    """
    half = outward * (thickness / 2)
    vertices = np.concatenate([(middle - half).reshape(-1, 3), (middle + half).reshape(-1, 3)])
    return Part(vertices=vertices, faces=_two_sheets(middle.shape[0], middle.shape[1]))
