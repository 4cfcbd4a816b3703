"""Parametric chairs as triangle meshes: a base, a seat, a back, and arms.

All chairs have the same triangles, those of a style that a chair lacks without an area: vertex v of
one chair corresponds to vertex v of every other. So a blend of two chairs' parameters is a true
three-dimensional morph, and gives the correspondences along it.
"""

import math
from collections.abc import Iterator

import numpy as np

from models.chair_parts import Part, Vertices, bar, cushion, panel, superellipse
from models.chair_styles import ChairParameters, Color, blend, chair_parameters
from models.rendering import Mesh, Points

__all__ = ["ChairParameters", "blend", "chair_mesh", "chair_parameters"]

_MOST_SLATS, _MOST_SPINDLES, _SPOKES = 6, 9, 5
_SEAT_SIDES = 28
_ALONG = 0.78
"""Where legs and arms stand, as a share of the seat's half depth."""
_X, _Y, _Z = np.eye(3)

_Colored = Iterator[tuple[Part, Color]]


def chair_mesh(parameters: ChairParameters) -> Mesh:
    """The mesh of a chair, standing upright, its front towards -y, inside the unit sphere."""
    c = parameters
    colored = [
        (_seat(c), c.seat_color),
        (_solid_back(c), c.back_color),
        *_barred_back(c),
        *_legs(c),
        *_pedestal(c),
        *_sled(c),
        *_arms(c),
    ]
    starts = np.cumsum([0] + [len(part.vertices) for part, _ in colored])
    faces = np.concatenate(
        [p.faces + start for (p, _), start in zip(colored, starts[:-1], strict=True)]
    )
    colors = np.concatenate([np.full((len(p.faces), 3), k, np.float32) for p, k in colored])
    points = np.concatenate([part.vertices for part, _ in colored])
    return Mesh(vertices=_fitted(points), faces=faces.astype(np.int32), colors=colors)


def _fitted(points: Vertices) -> Points:
    """In the unit sphere about the bounding box's middle, a hair inside for float32's sake."""
    points = points - (points.min(0) + points.max(0)) / 2
    radius = float(np.linalg.norm(points, axis=1).max())
    return (points / (radius * 1.00001)).astype(np.float32)


def _seat_half_width(c: ChairParameters, along: float) -> float:
    """Of the seat at `along` (-1 front, 1 back) of its half depth."""
    share: float = (1 - abs(along) ** c.seat_exponent) ** (1 / c.seat_exponent)
    return c.seat_width / 2 * share * (1 - (1 - c.seat_taper) * (along + 1) / 2)


def _seat(c: ChairParameters) -> Part:
    outline = superellipse(_SEAT_SIDES, c.seat_exponent)
    taper = 1 - (1 - c.seat_taper) * (outline[:, 1] + 1) / 2
    outline = outline * np.stack(
        [c.seat_width / 2 * taper, np.full(len(outline), c.seat_depth / 2)], 1
    )
    bottom = c.seat_height - c.seat_thickness
    return cushion(outline, bottom=bottom, top=c.seat_height, bevel=c.seat_bevel, puff=c.seat_puff)


def _back_point(c: ChairParameters, across: Vertices, up: Vertices) -> Vertices:
    """(..., 3) points of the back's surface: across -1..1 left to right, up 0..1 seat to top."""
    tilt = math.radians(c.back_tilt)
    half = _seat_half_width(c, _ALONG) * (1 + (c.back_spread - 1) * up)
    rise = c.back_height * up
    y = c.seat_depth / 2 * 0.9 + rise * math.sin(tilt) - c.back_curve * across**2 * up
    z = c.seat_height - c.seat_thickness * 0.4 + rise * math.cos(tilt)
    return np.stack([half * across, y, z], -1)


def _solid_back(c: ChairParameters) -> Part:
    rows, columns = 9, 11
    turn = np.linspace(0, math.pi / 2, rows)
    up = np.sin(turn) ** (2 / c.back_exponent)
    narrow = np.maximum(np.cos(turn), 0) ** (2 / c.back_exponent)
    across = np.linspace(-1, 1, columns) * narrow[:, None]
    heights = np.broadcast_to((c.back_gap + (1 - c.back_gap) * up)[:, None], across.shape)
    middle = _back_point(c, across, heights)
    center = middle.reshape(-1, 3).mean(0)
    tilt = math.radians(c.back_tilt)
    return panel(
        center + c.solid * (middle - center),
        np.array([0, math.cos(tilt), -math.sin(tilt)]),
        thickness=c.solid * c.back_thickness,
    )


def _barred_back(c: ChairParameters) -> _Colored:
    """Posts, a spine, top rail, slats and spindles."""
    post = c.posts * c.post_radius
    for side in (-1.0, 1.0):
        path = _back_point(c, np.full(2, side), _UPRIGHT)
        yield bar(path, _X, width=post, height=post), c.frame_color
    spine = _back_point(c, np.zeros(2), np.array([0.0, c.back_gap + 0.2]))
    wide, high = c.spine * c.post_radius * 2.2, c.spine * c.post_radius * 0.5
    behind = _Y * (c.back_thickness / 2 + c.post_radius * 0.4)
    yield bar(spine + behind, _X, width=wide, height=high, exponent=6.0), c.frame_color
    across = np.linspace(-1, 1, 7)
    rail = _back_point(c, across, np.full(7, 1.0))
    wide, high = c.rail * c.rail_height, c.rail * c.post_radius * 0.9
    yield bar(rail, _Z, width=wide, height=high, exponent=5.0), c.back_color
    half = c.back_height * 0.8 / c.slat_count * c.slat_height / 2
    for number in range(_MOST_SLATS):
        there = c.slats * _share_there(c.slat_count, number)
        up = 0.12 + 0.78 * min((number + 0.5) / c.slat_count, 1.0)
        path = _back_point(c, across, np.full(7, up))
        wide, high = there * half, there * c.post_radius * 0.6
        yield bar(path, _Z, width=wide, height=high, exponent=7.0), c.back_color
    for number in range(_MOST_SPINDLES):
        radius = c.spindles * _share_there(c.spindle_count, number) * c.spindle_radius
        place = 2 * min((number + 0.5) / c.spindle_count, 1.0) - 1
        path = _back_point(c, np.full(2, place), _UPRIGHT)
        yield bar(path, _X, width=radius, height=radius), c.back_color


_UPRIGHT = np.array([0.0, 1.0])


def _share_there(count: float, number: int) -> float:
    """Of the bar of that number: with 2.3 of them the third is 0.3 there."""
    return min(max(count - number, 0.0), 1.0)


def _corners(c: ChairParameters) -> Iterator[tuple[float, float]]:
    """x and y of where the legs stand under the seat, front left first, back right last."""
    for along in (-_ALONG, _ALONG):
        half = _seat_half_width(c, along) * 0.94
        for side in (-1.0, 1.0):
            yield side * half, along * c.seat_depth / 2


def _legs(c: ChairParameters) -> _Colored:
    top = c.seat_height - c.seat_thickness * 0.6
    radius = c.legs * c.leg_radius
    crossings = []
    for x, y in _corners(c):
        start = np.array([x, y, top])
        foot = np.array([x + math.copysign(c.leg_splay, x), y + math.copysign(c.leg_splay, y), 0])
        radii = np.array([radius, radius * c.leg_taper])
        yield (
            bar(np.stack([start, foot]), _X, width=radii, height=radii, exponent=c.leg_exponent),
            c.frame_color,
        )
        crossings.append(foot + (start - foot) * c.stretcher_height)
    thin = c.stretchers * radius * 0.55
    ends = [(crossings[0], crossings[2]), (crossings[1], crossings[3])]
    ends.append(((ends[0][0] + ends[0][1]) / 2, (ends[1][0] + ends[1][1]) / 2))
    for a, b in ends:
        yield (
            bar(np.stack([a, b]), _Z, width=thin, height=thin, exponent=c.leg_exponent),
            c.frame_color,
        )


def _pedestal(c: ChairParameters) -> _Colored:
    """A column on a star of spokes with casters, or on a disc."""
    radius = c.pedestal * c.column_radius
    heights = (c.seat_height - c.seat_thickness * 0.6, c.seat_height * 0.45, 0.02)
    column = np.array([[0, 0, z] for z in heights])
    radii = radius * np.array([0.75, 0.75, 1.0])
    yield bar(column, _X, width=radii, height=radii, sides=12), c.frame_color
    there = c.pedestal * c.star
    for spoke in range(_SPOKES):
        angle = 2 * math.pi * (spoke + 0.25) / _SPOKES
        out = np.array([math.cos(angle), math.sin(angle), 0])
        path = np.stack([_Z * 0.10, out * c.star_radius + _Z * 0.055])
        sizes = there * np.array([0.026, 0.016])
        across = np.cross(_Z, out)
        yield bar(path, across, width=sizes, height=sizes, exponent=4.0), c.frame_color
        wheel = there * (0.012 + 0.016 * c.casters)
        axle = np.stack([across * -0.012, across * 0.012]) * (0.4 + 0.6 * c.casters)
        path = axle + out * c.star_radius * 0.97 + _Z * 0.028
        yield bar(path, _Z, width=wheel, height=wheel, sides=10), (0.12, 0.12, 0.13)
    radii = c.pedestal * c.disc * c.disc_radius * np.array([1.0, 0.98, 0.5, 0.14])
    path = np.array([[0, 0, z] for z in (0.0, 0.018, 0.032, 0.055)])
    yield bar(path, _X, width=radii, height=radii, sides=24), c.frame_color


def _sled(c: ChairParameters) -> _Colored:
    """Two runners bent from a tube, and a crossbar; a cantilever has nothing under its back."""
    radius = c.sled * c.sled_radius
    top, low = c.seat_height - c.seat_thickness * 0.6, c.sled_radius
    feet = []
    for side in (-1.0, 1.0):
        x = side * _seat_half_width(c, _ALONG) * 0.95
        front, rear = -_ALONG * c.seat_depth / 2, _ALONG * c.seat_depth / 2
        rise = low + (top - low) * max(1 - c.cantilever, 0.01)
        path = np.array([[x, front, top], [x, front, low], [x, rear, low], [x, rear, rise]])
        yield bar(path, _X, width=radius, height=radius), c.frame_color
        feet.append((path[2], path[0]))
    for k in range(2):
        ends = np.stack([feet[0][k], feet[1][k]])
        yield bar(ends, _Z, width=radius, height=radius), c.frame_color


def _arms(c: ChairParameters) -> _Colored:
    """On either side a loop from the seat up, forward and down, or a panel, or both."""
    bottom, top = c.seat_height - c.seat_thickness * 0.6, c.seat_height + c.arm_height
    for side in (-1.0, 1.0):
        rear, front = _ALONG, -_ALONG * c.arm_reach
        feet = [
            np.array([side * (_seat_half_width(c, a) + 0.008), a * c.seat_depth / 2, 0.0])
            for a in (rear, front)
        ]
        across = np.cross(_Z, feet[1] - feet[0])
        path = np.stack(
            [feet[0] + _Z * bottom, feet[0] + _Z * top, feet[1] + _Z * top, feet[1] + _Z * bottom]
        )
        wide = c.arms * c.arm_width * np.array([0.4, 1.0, 1.0, 0.4])
        high = c.arms * c.arm_thickness
        yield (
            bar(path, across, width=wide, height=high, exponent=c.arm_exponent),
            c.arm_color,
        )
        middle = (bottom + top) / 2
        board = np.stack([feet[0] + _Z * middle, feet[1] + _Z * middle])
        thick = c.arm_panels * max(c.arm_width, c.seat_thickness * 0.3)
        high = c.arm_panels * (top - bottom) / 2
        yield bar(board, across, width=thick, height=high, exponent=9.0), c.arm_color
