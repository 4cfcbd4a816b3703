"""Small exemplars for the tests of the texture methods."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from models.texture_pixels import Texture

U8 = NDArray[np.uint8]


def blobs(height: int, width: int, channels: int = 1, seed: int = 7) -> U8:
    """Soft spots with sharp edges over fine grain: structure at more than one scale."""
    rng = np.random.default_rng(seed)
    soft = gaussian_filter(rng.normal(size=(height, width, channels)), (2, 2, 0), mode="wrap")
    grain = rng.normal(size=soft.shape)
    levels = 128 + 70 * np.sign(soft) + 200 * soft / np.abs(soft).max() * 0.2 + 4 * grain
    return levels.clip(0, 255).astype(np.uint8)


def copies(texture: Texture, *exemplars: U8) -> bool:
    """Whether every pixel with a source is that exemplar's pixel."""
    numbers, rows, columns = np.moveaxis(texture.sources, 2, 0)
    same = [
        (texture.pixels[numbers == n] == exemplar[rows[numbers == n], columns[numbers == n]]).all()
        for n, exemplar in enumerate(exemplars)
    ]
    return all(same) and bool((numbers < len(exemplars)).all())


def seam_is_hidden(outputs: list[U8]) -> bool:
    """Whether gradients across the joined edges are no larger than the 95th percentile inside.

    Both are means over several outputs: of one, 5 lines in 100 are beyond it anyhow.
    """
    for axis in (0, 1):
        steps = [
            np.abs(pixels.astype(float) - np.roll(pixels, 1, axis)).mean(axis=(1 - axis, 2))
            for pixels in outputs
        ]
        seam = np.mean([step[0] for step in steps])
        if seam > np.mean([np.percentile(step[1:], 95) for step in steps]):
            return False
    return True
