"""Triangle meshes to pictures on white: a z-buffer, supersampling, flat Lambert shading.

World: x to the right of what is drawn, y away from its front, z up, all inside the unit sphere.
The camera looks at the origin through 24 degrees from where the sphere just touches the picture's
edges, so that every view of every mesh fits.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.texture_pixels import compiled

Points = NDArray[np.float32]
Triangles = NDArray[np.int32]
Pixels = NDArray[np.uint8]

FIELD_OF_VIEW = 24.0
"""Degrees, of the whole picture's side."""

DISTANCE = 1 / math.sin(math.radians(FIELD_OF_VIEW / 2))
"""From the camera to the origin."""

_SPHERE_SLACK = 1e-4
_AMBIENT, _HEADLIGHT, _KEY = 0.42, 0.24, 0.40
_KEY_LIGHT = np.array([-0.40, 0.70, 0.59])
"""Where the key light is, of length 1: over the camera's left shoulder (right, up, backwards)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Mesh:
    """Triangles: vertices (V, 3) float32; faces (F, 3) int32; colors (F, 3) float32, RGB of 0..1.

    Which way round a face is wound does not matter: both of its sides are drawn.

    Raises:
        ValueError: another shape or type, a face of a vertex that is not there, or no number.
    """

    vertices: Points
    faces: Triangles
    colors: Points

    def __post_init__(self) -> None:
        wanted = {"vertices": np.float32, "faces": np.int32, "colors": np.float32}
        for name, kind in wanted.items():
            values = getattr(self, name)
            if values.ndim != 2 or values.shape[1] != 3 or values.dtype != kind:
                raise ValueError(
                    f"{name} must be (n, 3) {np.dtype(kind)}, got {values.shape} {values.dtype}"
                )
        if len(self.colors) != len(self.faces):
            raise ValueError(f"got {len(self.colors)} colors for {len(self.faces)} faces")
        if len(self.faces) and not 0 <= self.faces.min() <= self.faces.max() < len(self.vertices):
            raise ValueError(
                f"faces must name vertices 0 to {len(self.vertices) - 1},"
                f" got {self.faces.min()} to {self.faces.max()}"
            )
        if not (np.isfinite(self.vertices).all() and np.isfinite(self.colors).all()):
            raise ValueError("vertices and colors must be finite")


def in_unit_sphere(mesh: Mesh) -> Mesh:
    """The mesh moved and scaled so that the sphere about its bounding box's middle has radius 1.

    Raises:
        ValueError: it has no extent.
    """
    if not len(mesh.vertices):
        raise ValueError("a mesh must have vertices, got none")
    points = mesh.vertices.astype(np.float64)
    points -= (points.min(0) + points.max(0)) / 2
    radius = float(np.sqrt((points * points).sum(1)).max())
    if radius == 0:
        raise ValueError("a mesh must have an extent, got one point")
    scaled = (points / radius).astype(np.float32)
    return Mesh(vertices=scaled, faces=mesh.faces, colors=mesh.colors)


def camera(azimuth: float, elevation: float) -> NDArray[np.float64]:
    """(3, 3) float64: the world's directions right, up and backwards of a camera.

    Args:
        azimuth: degrees; 0 sees the front, 90 stands at +x.
        elevation: degrees above the horizon; at 90 the picture's up is the world's +y at azimuth 0.
    """
    a, e = math.radians(azimuth), math.radians(elevation)
    right = (math.cos(a), math.sin(a), 0.0)
    up = (-math.sin(e) * math.sin(a), math.sin(e) * math.cos(a), math.cos(e))
    back = (math.cos(e) * math.sin(a), -math.cos(e) * math.cos(a), math.sin(e))
    return np.array([right, up, back])


def render(
    mesh: Mesh, *, azimuth: float, elevation: float, size: int = 128, samples: int = 3
) -> tuple[Pixels, Pixels]:
    """A picture of a mesh on white, and its mask.

    A face of color c is lit as c * (ambient + headlight + key light), both Lambert, with the side
    that faces the camera. The same input gives the same bytes.

    Args:
        azimuth, elevation: degrees, see `camera`.
        size: pixels on a side.
        samples: samples x samples rays through each pixel, on a regular grid.
    Returns:
        (size, size, 3) uint8, and (size, size) uint8: the share of a pixel's samples that hit the
        mesh, 0..255; the picture is the mesh's color over white by that share.
    Raises:
        ValueError: size or samples out of range, or a vertex outside the unit sphere.
    """
    if not 1 <= size <= 4096:
        raise ValueError(f"size must be 1 to 4096, got {size}")
    if not 1 <= samples <= 8:
        raise ValueError(f"samples must be 1 to 8, got {samples}")
    vertices = mesh.vertices
    farthest = float(np.einsum("ij,ij->i", vertices, vertices).max(initial=0.0)) ** 0.5
    if farthest > 1 + _SPHERE_SLACK:
        raise ValueError(
            f"vertices must lie in the unit sphere, got one at {farthest:.4g}: see in_unit_sphere"
        )
    axes = camera(azimuth, elevation)
    focal = size * samples / 2 / math.tan(math.radians(FIELD_OF_VIEW / 2))
    projected = _project(vertices, axes, DISTANCE, focal, size * samples / 2)
    lit = _shade(vertices, mesh.faces, mesh.colors, axes, DISTANCE, _KEY_LIGHT)
    nearest, box = _nearest_faces(projected, mesh.faces, size * samples)
    return _average(nearest, box, lit, size, samples)


def projected(
    points: Points, *, azimuth: float, elevation: float, size: int
) -> NDArray[np.float64]:
    """(n, 3) points of the world -> (n, 3): column, row, and 1 over the distance in front of it.

    Of a picture of `size` pixels; its upper left corner is 0, 0, its first pixel's middle 0.5, 0.5.
    """
    focal = size / 2 / math.tan(math.radians(FIELD_OF_VIEW / 2))
    return _project(points, camera(azimuth, elevation), DISTANCE, focal, size / 2)


def visible_faces(mesh: Mesh, *, azimuth: float, elevation: float, size: int) -> Triangles:
    """(size, size) int32: the face that each pixel's middle sees, -1 for the background."""
    focal = size / 2 / math.tan(math.radians(FIELD_OF_VIEW / 2))
    seen = _project(mesh.vertices, camera(azimuth, elevation), DISTANCE, focal, size / 2)
    return _nearest_faces(seen, mesh.faces, size)[0]


@compiled
def _project(
    vertices: Points, axes: NDArray[np.float64], distance: float, focal: float, middle: float
) -> NDArray[np.float64]:
    """(V, 3): column and row of each vertex in samples, and 1 / its depth."""
    seen = np.empty((len(vertices), 3))
    for i in range(len(vertices)):
        x, y, z = float(vertices[i, 0]), float(vertices[i, 1]), float(vertices[i, 2])
        nearness = 1.0 / (distance - (axes[2, 0] * x + axes[2, 1] * y + axes[2, 2] * z))
        across = axes[0, 0] * x + axes[0, 1] * y + axes[0, 2] * z
        upward = axes[1, 0] * x + axes[1, 1] * y + axes[1, 2] * z
        seen[i, 0] = middle + focal * across * nearness
        seen[i, 1] = middle - focal * upward * nearness
        seen[i, 2] = nearness
    return seen


@compiled
def _shade(
    vertices: Points,
    faces: Triangles,
    colors: Points,
    axes: NDArray[np.float64],
    distance: float,
    key: NDArray[np.float64],
) -> Triangles:
    """(F, 3): the levels 0..255 of each face as it is seen."""
    lit = np.empty((len(faces), 3), np.int32)
    eye, normal = axes[2] * distance, np.empty(3)
    for f in range(len(faces)):
        a, b, c = vertices[faces[f, 0]], vertices[faces[f, 1]], vertices[faces[f, 2]]
        for k in range(3):
            i, j = (k + 1) % 3, (k + 2) % 3
            normal[k] = (float(b[i]) - float(a[i])) * (float(c[j]) - float(a[j])) - (
                float(b[j]) - float(a[j])
            ) * (float(c[i]) - float(a[i]))
        length = math.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2)
        if length == 0:
            lit[f] = 0  # without an area: never seen
            continue
        towards = 0.0
        for k in range(3):
            towards += normal[k] * (eye[k] - float(a[k]))
        length = -length if towards < 0 else length
        head, side = 0.0, 0.0
        for k in range(3):
            head += normal[k] / length * axes[2, k]
            for m in range(3):
                side += normal[k] / length * axes[m, k] * key[m]
        light = _AMBIENT + _HEADLIGHT * max(head, 0.0) + _KEY * max(side, 0.0)
        for k in range(3):
            lit[f, k] = int(min(max(colors[f, k] * light, 0.0), 1.0) * 255 + 0.5)
    return lit


@compiled
def _nearest_faces(
    seen: NDArray[np.float64], faces: Triangles, side: int
) -> tuple[Triangles, NDArray[np.int64]]:
    """(side, side) the nearest face at each sample, -1 for none; top, bottom, left, right of all.

    A sample on an edge that two faces share is in exactly one of them: every edge is walked from
    its upper end, whichever face it is of.
    """
    nearest = np.full((side, side), -1, np.int32)
    depth = np.zeros((side, side), np.float32)
    box = np.array([side, 0, side, 0])
    for f in range(len(faces)):
        p, q, r = seen[faces[f, 0]], seen[faces[f, 1]], seen[faces[f, 2]]
        if q[1] < p[1]:
            p, q = q, p
        if r[1] < p[1]:
            p, r = r, p
        if r[1] < q[1]:
            q, r = r, q
        first, last = max(math.ceil(p[1] - 0.5), 0), min(math.ceil(r[1] - 0.5), side)
        area = (q[0] - p[0]) * (r[1] - p[1]) - (r[0] - p[0]) * (q[1] - p[1])
        if first >= last or area == 0:
            continue
        across = ((q[2] - p[2]) * (r[1] - p[1]) - (r[2] - p[2]) * (q[1] - p[1])) / area
        down = ((q[0] - p[0]) * (r[2] - p[2]) - (r[0] - p[0]) * (q[2] - p[2])) / area
        drawn = False
        for row in range(first, last):
            y = row + 0.5
            long = p[0] + (y - p[1]) * ((r[0] - p[0]) / (r[1] - p[1]))
            if y < q[1]:
                short = p[0] + (y - p[1]) * ((q[0] - p[0]) / (q[1] - p[1]))
            else:
                short = q[0] + (y - q[1]) * ((r[0] - q[0]) / (r[1] - q[1]))
            left = max(math.ceil(min(long, short) - 0.5), 0)
            right = min(math.ceil(max(long, short) - 0.5), side)
            if left >= right:
                continue
            drawn = True
            box[2], box[3] = min(box[2], left), max(box[3], right)
            start = np.float32(p[2] + (y - p[1]) * down + (left + 0.5 - p[0]) * across)
            slope = np.float32(across)
            depths, owners = depth[row, left:right], nearest[row, left:right]
            for k in range(right - left):
                near = start + slope * np.float32(k)
                closer = near > depths[k]
                depths[k] = near if closer else depths[k]
                owners[k] = f if closer else owners[k]
        if drawn:
            box[0], box[1] = min(box[0], first), max(box[1], last)
    return nearest, box


@compiled
def _average(
    nearest: Triangles, box: NDArray[np.int64], lit: Triangles, size: int, samples: int
) -> tuple[Pixels, Pixels]:
    """Samples to pixels: the mean of what they saw, white where that is nothing, and the share."""
    picture = np.full((size, size, 3), 255, np.uint8)
    mask = np.zeros((size, size), np.uint8)
    count = samples * samples
    for i in range(box[0] // samples, (box[1] + samples - 1) // samples):
        for j in range(box[2] // samples, (box[3] + samples - 1) // samples):
            red, green, blue, hits = 0, 0, 0, 0
            for u in range(samples):
                for v in range(samples):
                    f = nearest[i * samples + u, j * samples + v]
                    if f >= 0:
                        red += lit[f, 0]
                        green += lit[f, 1]
                        blue += lit[f, 2]
                        hits += 1
            if hits:
                white = 255 * (count - hits) + count // 2
                picture[i, j, 0] = (red + white) // count
                picture[i, j, 1] = (green + white) // count
                picture[i, j, 2] = (blue + white) // count
                mask[i, j] = (255 * hits + count // 2) // count
    return picture, mask
