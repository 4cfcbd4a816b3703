"""Meshes of users, by trimesh."""

import numpy as np
import pytest
import trimesh

from models.chair_shapes import chair_mesh, chair_parameters
from models.rendering import render
from tasks.meshes import mesh_of


def exported(kind: str, **options: object) -> bytes:
    """A chair of ours with its colors, y up, far away and large."""
    chair = chair_mesh(chair_parameters(3, 0))
    points = chair.vertices[:, [0, 2, 1]] * [1, 1, -1] * 40 + [1000, 0, 5]
    colors = np.concatenate([chair.colors, np.ones((len(chair.colors), 1))], 1) * 255
    whole = trimesh.Trimesh(points, chair.faces, face_colors=colors.astype(np.uint8), process=False)
    data = whole.export(file_type=kind)
    return data.encode() if isinstance(data, str) else bytes(data)


@pytest.mark.parametrize("kind", ["ply", "glb", "obj", "stl"])
def test_a_chair_that_was_exported_is_drawn_as_it_was(kind: str) -> None:
    chair = chair_mesh(chair_parameters(3, 0))
    loaded = mesh_of(exported(kind), kind)
    for azimuth in (30.0, 200.0):
        rgb, mask = render(chair, azimuth=azimuth, elevation=20, size=64)
        got_rgb, got_mask = render(loaded, azimuth=azimuth, elevation=20, size=64)
        assert np.abs(mask.astype(int) - got_mask).mean() < 2
        if kind == "ply":
            assert np.abs(rgb.astype(int) - got_rgb).mean() < 1


def test_the_axis_that_points_up_can_be_told() -> None:
    tall = trimesh.creation.box((0.2, 0.2, 2.0))
    for up, axis in (("y", 1), ("z", 2)):
        mesh = mesh_of(tall.export(file_type="stl"), ".STL", up=up)  # type: ignore[arg-type]
        extent = mesh.vertices.max(0) - mesh.vertices.min(0)
        assert extent.argmax() == axis


def test_what_is_no_mesh_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="not a readable glb mesh"):
        mesh_of(b"no glTF at all", "glb")
    with pytest.raises(ValueError, match="nonsense mesh"):
        mesh_of(b"", "nonsense")
    with pytest.raises(ValueError, match="ply mesh"):
        mesh_of(trimesh.PointCloud(np.eye(3)).export(file_type="ply"), "ply")
