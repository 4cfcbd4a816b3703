"""The renderer: what it draws where, and that a ray tracer sees the same."""

import math

import numpy as np
import pytest

from models.chair_shapes import chair_mesh, chair_parameters
from models.rendering import (
    DISTANCE,
    FIELD_OF_VIEW,
    Mesh,
    Pixels,
    camera,
    in_unit_sphere,
    render,
)

RED, GREEN, BLUE = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
Color = tuple[float, float, float]


def mesh(points: list[list[float]], faces: list[list[int]], colors: list[Color]) -> Mesh:
    return Mesh(
        vertices=np.array(points, np.float32).reshape(-1, 3),
        faces=np.array(faces, np.int32).reshape(-1, 3),
        colors=np.array(colors, np.float32).reshape(-1, 3),
    )


def square(y: float, half: float, color: Color) -> Mesh:
    """Two triangles that face the camera at azimuth and elevation 0."""
    corners = [[-half, y, -half], [half, y, -half], [half, y, half], [-half, y, half]]
    return mesh(corners, [[0, 1, 2], [0, 3, 2]], [color, color])


def joined(*parts: Mesh) -> Mesh:
    starts = np.cumsum([0] + [len(p.vertices) for p in parts[:-1]])
    return Mesh(
        vertices=np.concatenate([p.vertices for p in parts]),
        faces=np.concatenate([p.faces + np.int32(s) for p, s in zip(parts, starts, strict=True)]),
        colors=np.concatenate([p.colors for p in parts]),
    )


def dominant(pixel: Pixels) -> int:
    return int(pixel.argmax())


def test_a_square_covers_what_the_pinhole_camera_says_and_its_diagonal_leaves_no_gap() -> None:
    half, size = 0.5, 90
    rgb, mask = render(square(0.0, half, RED), azimuth=0, elevation=0, size=size)
    assert (rgb.shape, mask.shape, rgb.dtype, mask.dtype) == ((90, 90, 3), (90, 90), "u1", "u1")
    focal = size / 2 / math.tan(math.radians(FIELD_OF_VIEW / 2))
    side = 2 * half * focal / DISTANCE
    assert mask.sum() / 255 == pytest.approx(side**2, rel=0.02)
    inner = int(side / 2) - 1
    middle = slice(size // 2 - inner, size // 2 + inner)
    assert (mask[middle, middle] == 255).all()
    assert len(np.unique(rgb[middle, middle].reshape(-1, 3), axis=0)) == 1
    assert (rgb[mask == 0] == 255).all()


def test_a_pixel_is_the_color_over_white_by_its_mask() -> None:
    rgb, mask = render(square(0.0, 0.31, BLUE), azimuth=20, elevation=10, size=64)
    full = rgb[mask == 255][0].astype(float)
    partly = (mask > 0) & (mask < 255)
    assert partly.sum() > 20
    share = mask[partly][:, None] / 255
    assert np.abs(rgb[partly] - (share * full + (1 - share) * 255)).max() <= 1


@pytest.mark.parametrize("near_first", [True, False])
def test_what_is_nearer_hides_what_is_behind_in_whatever_order(near_first: bool) -> None:
    near, far = square(-0.4, 0.2, RED), square(0.4, 0.4, GREEN)
    both = joined(near, far) if near_first else joined(far, near)
    front, _ = render(both, azimuth=0, elevation=0, size=60)
    behind, _ = render(both, azimuth=180, elevation=0, size=60)
    assert dominant(front[30, 30]) == 0
    assert dominant(front[30, 21]) == 1
    assert dominant(behind[30, 30]) == 1


def test_azimuth_turns_the_camera_to_plus_x_and_elevation_lifts_it() -> None:
    corners = [[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]]
    right = mesh([[0.5, a, b] for a, b in corners], [[0, 1, 2], [0, 2, 3]], [GREEN, GREEN])
    top = mesh([[a, b, 0.5] for a, b in corners], [[0, 1, 2], [0, 2, 3]], [BLUE, BLUE])
    box = joined(square(-0.5, 0.5, RED), right, top)
    seen = {
        view: dominant(render(box, azimuth=view[0], elevation=view[1], size=32)[0][16, 16])
        for view in ((0, 0), (90, 0), (0, 90), (77, 90))
    }
    assert seen == {(0, 0): 0, (90, 0): 1, (0, 90): 2, (77, 90): 2}
    assert np.allclose(camera(33, 21) @ camera(33, 21).T, np.eye(3))


def test_every_view_of_the_unit_sphere_fits_and_touches_the_edges() -> None:
    turn = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    rings = [
        np.stack([np.cos(turn) * math.cos(t), np.sin(turn) * math.cos(t), 0 * turn + math.sin(t)])
        for t in np.linspace(-1.57, 1.57, 60)
    ]
    points = np.concatenate(rings, 1).T
    cross = np.arange(len(points) - 201)
    faces = np.stack([cross, cross + 1, cross + 200], 1)
    ball = mesh(points.tolist(), faces.tolist(), [RED] * len(faces))
    for azimuth, elevation in ((0, 0), (50, 30)):
        _, mask = render(ball, azimuth=azimuth, elevation=elevation, size=64)
        rows, columns = mask.any(1), mask.any(0)
        assert rows[[1, -2]].all()
        assert columns[[1, -2]].all()


def test_the_same_view_has_the_same_bytes_and_a_whole_turn_changes_nothing() -> None:
    chair = chair_mesh(chair_parameters(4, 0))
    first, again = (render(chair, azimuth=40, elevation=20, size=48) for _ in range(2))
    turned = render(chair, azimuth=400, elevation=20, size=48)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert np.mean(first[0] != turned[0]) < 0.001
    assert (np.abs(first[1].astype(int) - turned[1]) > 0).mean() < 0.001


def test_a_face_without_an_area_is_not_drawn() -> None:
    line = mesh([[0, 0, 0], [0.5, 0, 0.5], [0.5, 0, 0.5]], [[0, 1, 2], [1, 1, 1]], [RED, RED])
    assert not render(line, azimuth=0, elevation=0, size=32)[1].any()
    empty = mesh([], [], [])
    rgb, mask = render(empty, azimuth=0, elevation=0, size=16)
    assert (rgb == 255).all()
    assert not mask.any()


def test_a_mesh_is_fitted_into_the_unit_sphere() -> None:
    away = mesh([[10, 10, 10], [14, 10, 10], [10, 13, 10]], [[0, 1, 2]], [RED])
    with pytest.raises(ValueError, match="in the unit sphere, got one at"):
        render(away, azimuth=0, elevation=0)
    fitted = in_unit_sphere(away)
    assert np.linalg.norm(fitted.vertices, axis=1).max() == pytest.approx(1)
    assert np.allclose(fitted.vertices.min(0), -fitted.vertices.max(0), atol=1e-6)
    with pytest.raises(ValueError, match="must have an extent"):
        in_unit_sphere(mesh([[1, 1, 1]], [], []))
    with pytest.raises(ValueError, match="must have vertices"):
        in_unit_sphere(mesh([], [], []))


def test_what_is_no_mesh_and_no_view_is_refused() -> None:
    with pytest.raises(ValueError, match="faces must name vertices 0 to 2, got 0 to 3"):
        mesh([[0, 0, 0]] * 3, [[0, 1, 3]], [RED])
    with pytest.raises(ValueError, match="got 2 colors for 1 faces"):
        mesh([[0, 0, 0]] * 3, [[0, 1, 2]], [RED, RED])
    with pytest.raises(ValueError, match="must be finite"):
        mesh([[0, 0, math.nan]] * 3, [[0, 1, 2]], [RED])
    with pytest.raises(ValueError, match=r"vertices must be \(n, 3\) float32"):
        Mesh(
            vertices=np.zeros((3, 3)),  # type: ignore[arg-type]
            faces=np.zeros((0, 3), np.int32),
            colors=np.zeros((0, 3), np.float32),
        )
    for options, sentence in (({"size": 0}, "size must be"), ({"samples": 9}, "samples must be")):
        with pytest.raises(ValueError, match=sentence):
            render(square(0, 0.1, RED), azimuth=0, elevation=0, **options)  # type: ignore[arg-type]


def traced(chair: Mesh, azimuth: float, elevation: float, size: int) -> tuple[Pixels, Pixels]:
    """The same picture by Embree, a ray a sample; the light by NumPy."""
    import trimesh
    from trimesh.ray.ray_pyembree import RayMeshIntersector

    points = chair.vertices.astype(float)
    a, b, c = (points[chair.faces[:, k]] for k in range(3))
    normals = np.cross(b - a, c - a)
    lengths = np.linalg.norm(normals, axis=1)
    kept = np.flatnonzero(lengths > 0)
    axes = camera(azimuth, elevation)
    eye, side = axes[2] * DISTANCE, size * 3
    steps = ((np.arange(side) + 0.5) / side * 2 - 1) * math.tan(math.radians(FIELD_OF_VIEW / 2))
    across, down = np.meshgrid(steps, steps)
    rays = across[..., None] * axes[0] - down[..., None] * axes[1] - axes[2]
    solid = trimesh.Trimesh(points, chair.faces[kept], process=False)
    hits = RayMeshIntersector(solid).intersects_first(
        np.broadcast_to(eye, (side * side, 3)), rays.reshape(-1, 3)
    )
    unit = normals[kept] / lengths[kept, None]
    unit *= np.sign(((eye - a[kept]) * unit).sum(1))[:, None]
    key = np.array([-0.40, 0.70, 0.59]) @ axes
    light = 0.42 + 0.24 * np.maximum(unit @ axes[2], 0) + 0.40 * np.maximum(unit @ key, 0)
    levels = np.floor(np.clip(chair.colors[kept] * light[:, None], 0, 1) * 255 + 0.5)
    samples = np.where(hits[:, None] >= 0, levels[hits], 255).reshape(size, 3, size, 3, 3)
    covered = (hits >= 0).reshape(size, 3, size, 3).sum((1, 3))
    rgb, mask = np.round(samples.mean((1, 3))), np.round(covered * 255 / 9)
    return rgb.astype(np.uint8), mask.astype(np.uint8)


@pytest.mark.parametrize("number", [0, 1, 5, 13, 100, 107])
def test_a_ray_tracer_sees_the_same(number: int) -> None:
    pytest.importorskip("embreex", reason="embreex, the oracle, is not installed")
    chair = chair_mesh(chair_parameters(number, 0))
    for azimuth, elevation in ((number * 47.3, 20), (number * 47.3 + 151.9, 30)):
        rgb, mask = render(chair, azimuth=azimuth, elevation=elevation)
        true_rgb, true_mask = traced(chair, azimuth, elevation, 128)
        assert np.mean(mask != true_mask) < 0.001
        apart = np.abs(rgb.astype(int) - true_rgb).max(2)
        assert np.mean(apart > 8) < 0.001, apart.max()
