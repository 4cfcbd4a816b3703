"""Raster synthesis takes the exact nearest neighbour of every neighbourhood."""

import numpy as np
import pytest
from numpy.typing import NDArray

from models.texture_pixels import halved
from models.texture_wei_levoy import WeiLevoyConfig, wei_levoy
from tests.models.texture_samples import U8, blobs

Image = NDArray[np.int16]


def neighborhood(
    image: Image, parent: Image | None, y: int, x: int, window: int, *, whole: bool
) -> Image:
    """Levels above and left of a pixel, or all about it, and about its parent, round the edges."""
    radius = window // 2
    height, width = image.shape[:2]
    seen = [
        image[(y + i) % height, (x + j) % width]
        for i in range(-radius, radius + 1)
        for j in range(-radius, radius + 1)
        if (i, j) < (0, 0) or (whole and (i, j) > (0, 0))
    ]
    if parent is not None:
        half = window // 4
        height, width = parent.shape[:2]
        seen += [
            parent[(y // 2 + i) % height, (x // 2 + j) % width]
            for i in range(-half, half + 1)
            for j in range(-half, half + 1)
        ]
    return np.concatenate(seen).astype(np.int64)


def candidates(image: Image, parent: Image | None, window: int) -> list[tuple[int, int]]:
    """Middles of windows inside the image, and inside its parent."""

    def inside(shape: tuple[int, ...], y: int, x: int, radius: int) -> bool:
        return radius <= y < shape[0] - radius and radius <= x < shape[1] - radius

    return [
        (y, x)
        for y in range(image.shape[0])
        for x in range(image.shape[1])
        if inside(image.shape, y, x, window // 2)
        and (parent is None or inside(parent.shape, y // 2, x // 2, window // 4))
    ]


def brute_force(
    exemplar: U8, size: tuple[int, int], window: int, levels: int, seed: int
) -> NDArray[np.int64]:
    """All distances of every pixel, level by level: (H, W, 2) sources."""
    images, sizes = [exemplar.astype(np.int16)], [size]
    for _ in range(levels - 1):
        images.append(halved(images[-1], np.ones(images[-1].shape[:2], np.bool_))[0])
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    sources, output = np.empty(0), None
    for n in reversed(range(levels)):
        image, above = images[n], images[n + 1] if n + 1 < levels else None
        middles = np.array(candidates(image, above, window))
        parent = output
        if parent is None:
            generator = np.random.default_rng(seed)
            sources = middles[generator.integers(len(middles), size=sizes[n])]
        else:
            rows, columns = np.mgrid[: sizes[n][0], : sizes[n][1]]
            parity = np.stack([rows % 2, columns % 2], axis=2)
            sources = 2 * sources[rows // 2, columns // 2] + parity
        output = image[sources[..., 0], sources[..., 1]]
        radius, (height, width) = window // 2, sizes[n]
        for turn in range(3):  # the raster order, and twice over the edges
            whole = turn > 0
            features = np.array(
                [neighborhood(image, above, y, x, window, whole=whole) for y, x in middles]
            )
            for y in range(height):
                for x in range(width):
                    inside = radius <= y < height - radius and radius <= x < width - radius
                    if whole and inside:
                        continue
                    wanted = neighborhood(output, parent, y, x, window, whole=whole)
                    nearest = int(((features - wanted) ** 2).sum(axis=1).argmin())
                    sources[y, x] = middles[nearest]
                    output[y, x] = image[tuple(middles[nearest])]
    return sources


@pytest.mark.parametrize(
    ("shape", "size", "window", "levels"),
    [
        ((16, 19, 1), (9, 13), 5, 1),
        ((25, 22, 1), (12, 9), 5, 2),
        ((21, 20, 3), (11, 10), 3, 3),
        ((40, 41, 1), (8, 8), 9, 2),
    ],
)
def test_raster_synthesis_equals_brute_force(
    shape: tuple[int, int, int], size: tuple[int, int], window: int, levels: int
) -> None:
    exemplar = blobs(*shape)
    for seed in range(2):
        texture = wei_levoy(
            exemplar,
            size,
            WeiLevoyConfig(window=window, levels=levels),
            generator=np.random.default_rng(seed),
        )
        assert (texture.sources[..., 1:] == brute_force(exemplar, size, window, levels, seed)).all()


def test_a_small_exemplar_has_fewer_levels() -> None:
    exemplar = blobs(12, 12)
    few, many = (
        wei_levoy(
            exemplar,
            (10, 10),
            WeiLevoyConfig(window=7, levels=levels),
            generator=np.random.default_rng(0),
        )
        for levels in (1, 9)
    )
    assert (few.sources == many.sources).all()


def test_no_levels_are_an_error() -> None:
    with pytest.raises(ValueError, match="levels must be at least 1, got 0"):
        WeiLevoyConfig(levels=0)
