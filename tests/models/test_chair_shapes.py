"""Parametric chairs: always the same, all different, and one mesh that bends from each to each."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from models.chair_parts import bar, cushion, panel, superellipse
from models.chair_shapes import blend, chair_mesh, chair_parameters
from models.rendering import Mesh, render

CHAIRS = [chair_parameters(number, 7) for number in range(24)]


def areas(mesh: Mesh) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    a, b, c = (mesh.vertices[mesh.faces[:, k]].astype(float) for k in range(3))
    return np.linalg.norm(np.cross(b - a, c - a), axis=1)


def test_a_number_and_a_seed_give_one_chair_whatever_came_before() -> None:
    assert chair_parameters(3, 7) == CHAIRS[3]
    assert chair_parameters(3, 8) != CHAIRS[3]
    with pytest.raises(ValueError, match="at least 0, got -1 and 0"):
        chair_parameters(-1, 0)


def test_809_chairs_have_every_base_and_back_and_no_two_look_alike() -> None:
    chairs = [chair_parameters(number, 0) for number in range(809)]
    for style in ("legs", "star", "disc", "sled", "solid", "slats", "spindles", "arms"):
        share = np.mean([getattr(chair, style) for chair in chairs])
        assert 0.05 < share < 0.75, style
    for chair in chairs:
        assert chair.legs + chair.pedestal + chair.sled == 1
        assert chair.solid + chair.slats + chair.spindles == 1
    seen = [
        render(chair_mesh(c), azimuth=30, elevation=20, size=32, samples=2)[0].astype(float)
        for c in chairs[:60]
    ]
    apart = [np.sqrt(((a - b) ** 2).mean()) for k, a in enumerate(seen) for b in seen[:k]]
    assert min(apart) > 8  # of 255, over the whole picture, white as most of it is


def test_all_chairs_have_the_same_triangles_and_fill_the_unit_sphere() -> None:
    meshes = [chair_mesh(chair) for chair in CHAIRS]
    for mesh in meshes:
        assert np.array_equal(mesh.faces, meshes[0].faces)
        assert mesh.vertices.shape == meshes[0].vertices.shape
        assert 0.999 < np.linalg.norm(mesh.vertices, axis=1).max() <= 1


def test_a_style_that_is_absent_has_no_area() -> None:
    bare = replace(
        CHAIRS[0], solid=0.0, slats=0.0, spindles=0.0, posts=0.0, rail=0.0, spine=0.0, legs=0.0,
        pedestal=0.0, sled=0.0, arms=0.0, arm_panels=0.0,
    )  # fmt: skip
    drawn = np.flatnonzero(areas(chair_mesh(bare)))
    assert len(drawn)
    full = replace(bare, legs=1.0, solid=1.0)
    assert np.count_nonzero(areas(chair_mesh(full))) > len(drawn)
    seat = chair_mesh(bare).faces[drawn]
    assert seat.max() < 28 * 6 + 2  # vertices of the seat alone


def test_a_blend_begins_and_ends_with_its_chairs() -> None:
    a, b = CHAIRS[0], CHAIRS[1]
    assert (blend(a, b, 0.0), blend(a, b, 1.0)) == (a, b)
    middle = blend(a, b, 0.5)
    assert middle.seat_width == pytest.approx((a.seat_width + b.seat_width) / 2)
    assert middle.seat_color[1] == pytest.approx((a.seat_color[1] + b.seat_color[1]) / 2)
    with pytest.raises(ValueError, match=r"t must be 0 to 1, got 1\.5"):
        blend(a, b, 1.5)


@pytest.mark.parametrize("pair", [(0, 1), (2, 9), (5, 14)])
def test_a_morph_moves_every_vertex_a_little_at_a_time(pair: tuple[int, int]) -> None:
    a, b = (CHAIRS[number] for number in pair)
    steps = 64
    frames = [chair_mesh(blend(a, b, k / steps)) for k in range(steps + 1)]
    moves = [
        np.linalg.norm(after.vertices - before.vertices, axis=1).max()
        for before, after in pairwise(frames)
    ]
    assert max(moves) < 0.12
    way = np.linalg.norm(frames[-1].vertices - frames[0].vertices, axis=1).max()
    assert way > 0.1


@pytest.mark.parametrize("number", range(6))
def test_a_chair_stands_upright_in_front_of_its_back(number: int) -> None:
    mesh = chair_mesh(CHAIRS[number])
    drawn = mesh.faces[areas(mesh) > 1e-9]
    used = mesh.vertices[np.unique(drawn)]
    top = used[used[:, 2] > np.quantile(used[:, 2], 0.95)]
    assert top[:, 1].mean() > 0  # the back is away from azimuth 0
    assert used[:, 0].mean() == pytest.approx(0, abs=0.02)  # left as right
    assert np.isfinite(mesh.vertices).all()


def test_parts_are_closed_surfaces() -> None:
    path = np.array([[0, 0, 0], [0, 0, 1], [0, 1, 1], [0, 1, 0.2]], float)
    sheet = np.stack(np.meshgrid([0.0, 1.0, 2.0], [0.0, 1.0], [0.0])[:3], -1).reshape(2, 3, 3)
    parts = [
        bar(path, np.array([1.0, 0, 0]), width=0.1, height=0.2),
        cushion(superellipse(12, 4.0), bottom=0, top=1, bevel=0.2, puff=0.1),
        panel(sheet, np.array([0.0, 0, 1]), thickness=0.1),
    ]
    for part in parts:
        edges = np.sort(np.concatenate([part.faces[:, [i, (i + 1) % 3]] for i in range(3)]), 1)
        _, counts = np.unique(edges, axis=0, return_counts=True)
        assert (counts == 2).all()
