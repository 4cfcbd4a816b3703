"""Meshes of users: any file that trimesh reads, as a mesh that our renderer draws."""

import io
from typing import Any, Literal

import numpy as np
import trimesh

from models.rendering import Mesh, Points, in_unit_sphere

_GRAY = 0.7


def mesh_of(data: bytes, kind: str, *, up: Literal["y", "z"] = "y") -> Mesh:
    """All triangles of a file, colored as it says, fitted into the unit sphere.

    Args:
        data: the whole file; one that refers to others (an OBJ's materials) is drawn gray.
        kind: obj, glb, ply, stl, off or another name that trimesh knows.
        up: which axis of the file points up; with y the front is towards +z, as in glTF.
    Raises:
        ValueError: it is no mesh of that kind, or has no triangle.
    """
    try:
        whole = trimesh.load_scene(io.BytesIO(data), file_type=kind.lower().lstrip(".")).to_mesh()
        faces = np.asarray(whole.faces, np.int32).reshape(-1, 3)
        points = np.asarray(whole.vertices, np.float64).reshape(-1, 3)
        colors = _colors(whole, len(faces))
    except Exception as error:  # its readers are Python over untrusted bytes
        raise ValueError(f"not a readable {kind} mesh: {error or type(error).__name__}") from error
    if not len(faces):
        raise ValueError(f"the {kind} mesh has no triangle")
    if up == "y":
        points = points[:, [0, 2, 1]] * [1, -1, 1]
    points -= points.mean(0)  # far from the origin float32 would lose its shape
    mesh = Mesh(vertices=points.astype(np.float32), faces=faces, colors=colors)
    return in_unit_sphere(mesh)


def _colors(whole: trimesh.Trimesh, faces: int) -> Points:
    """(F, 3) of 0..1; of a texture, what it shows at the face's corners, in the mean."""
    visual: Any = whole.visual
    if visual.kind == "texture":
        visual = visual.to_color()
    if not visual.defined:
        return np.full((faces, 3), _GRAY, np.float32)
    levels = np.asarray(visual.face_colors)[:, :3]
    return np.ascontiguousarray(levels / 255, np.float32).reshape(faces, 3)
