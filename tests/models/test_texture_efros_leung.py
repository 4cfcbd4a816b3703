"""Growing a texture is a brute-force search, pixel by pixel."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from models.texture_efros_leung import EfrosLeungConfig, efros_leung
from tests.models.texture_samples import U8, blobs, copies


def brute_force(
    exemplar: U8, size: tuple[int, int], config: EfrosLeungConfig, seed: int
) -> NDArray[np.int64]:
    """The paper's search in plain loops: (H, W, 2) sources."""
    generator = np.random.default_rng(seed)
    rows, columns = exemplar.shape[:2]
    radius = config.window // 2
    inner = [(y, x) for y in range(1, rows - 1) for x in range(1, columns - 1)]
    top, left = inner[int(generator.integers(len(inner)))]
    order, draws = generator.permutation(size[0] * size[1]).reshape(size), generator.random(size)
    start = size[0] // 2 - 1 if size[0] % 2 else (size[0] - 3) // 2, (size[1] - 3) // 2
    found = {
        (start[0] + i, start[1] + j): (top - 1 + i, left - 1 + j)
        for i in range(3)
        for j in range(3)
    }
    middles = [
        (y, x) for y in range(radius, rows - radius) for x in range(radius, columns - radius)
    ]
    around = [
        (i, j)
        for i in range(-radius, radius + 1)
        for j in range(-radius, radius + 1)
        if (i, j) != (0, 0)
    ]
    sigma = config.window / 6.4

    def neighbors(y: int, x: int) -> list[tuple[int, int, tuple[int, int]]]:
        places = [(i, j, (y + i, x + j)) for i, j in around]
        if config.tileable:
            places = [(i, j, (p[0] % size[0], p[1] % size[1])) for i, j, p in places]
        return [(i, j, found[p]) for i, j, p in places if p in found]

    while len(found) < size[0] * size[1]:
        empty = [(y, x) for y in range(size[0]) for x in range(size[1]) if (y, x) not in found]
        y, x = max(empty, key=lambda p: (len(neighbors(*p)), order[p]))
        distances = []
        for row, column in middles:
            total = 0
            for i, j, source in neighbors(y, x):
                row_weight = math.exp(-0.5 * (i / sigma) ** 2)
                weight = round(65536 * row_weight * math.exp(-0.5 * (j / sigma) ** 2))
                gap = exemplar[row + i, column + j].astype(int) - exemplar[source]
                total += weight * int((gap * gap).sum())
            distances.append(total)
        limit = min(distances) * (1 + config.tolerance)
        close = [middle for middle, d in zip(middles, distances, strict=True) if d <= limit]
        found[y, x] = close[int(draws[y, x] * len(close))]
    return np.array([[found[y, x] for x in range(size[1])] for y in range(size[0])])


@pytest.mark.parametrize("tileable", [False, True])
@pytest.mark.parametrize(
    ("shape", "size", "window", "tolerance"),
    [((11, 13, 1), (8, 9), 5, 0.1), ((10, 9, 3), (7, 6), 3, 0.5), ((9, 9, 1), (5, 8), 7, 0.0)],
)
def test_growing_equals_brute_force(
    shape: tuple[int, int, int],
    size: tuple[int, int],
    window: int,
    tolerance: float,
    tileable: bool,
) -> None:
    exemplar = blobs(*shape)
    config = EfrosLeungConfig(window=window, tolerance=tolerance, tileable=tileable)
    for seed in range(3):
        texture = efros_leung(exemplar, size, config, generator=np.random.default_rng(seed))
        expected = brute_force(exemplar, size, config, seed)
        assert (texture.sources[..., 1:] == expected).all()


def test_the_seed_patch_is_a_piece_of_the_exemplar() -> None:
    exemplar = blobs(20, 20, 3)
    texture = efros_leung(
        exemplar, (11, 11), EfrosLeungConfig(), generator=np.random.default_rng(0)
    )
    patch = texture.sources[4:7, 4:7, 1:]
    assert (patch - patch[0, 0] == np.moveaxis(np.mgrid[:3, :3], 0, 2)).all()
    assert copies(texture, exemplar)


def test_a_negative_tolerance_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"tolerance must be at least 0, got -0\.1"):
        EfrosLeungConfig(tolerance=-0.1)
