"""Whole pictures through an upscaler, window by window, as the bulk engine cuts them."""

import numpy as np

from models.pixels import Pixels
from models.tiling import place, run_in_parts, tile_grid, window
from models.upscaling import Upscaler

TILE = 256


def upscale_pictures(upscaler: Upscaler, pictures: Pixels, *, tile: int = TILE) -> Pixels:
    """Enlarge pictures of one size; memory on the device grows with the tile, not the picture.

    Args:
        pictures: (N, H, W, C) uint8 or uint16, as `upscaling.upscale_pixels` takes them.
        tile: largest window side in source pixels, without its margins.
    Returns:
        (N, scale*H, scale*W, C), the same dtype: what `upscale` writes for these pictures.
    Raises:
        MemoryError: the device has no room for the smallest window.
    """
    count, height, width, channels = pictures.shape
    radius, scale = upscaler.radius_for(channels), upscaler.scale
    grid = tile_grid(height, width, tile=tile, radius=radius, multiple=upscaler.multiple)
    output: Pixels = np.empty((count, height * scale, width * scale, channels), pictures.dtype)
    for index in range(grid.count):
        enlarged = run_in_parts(
            upscaler,
            np.stack([window(picture, grid, index) for picture in pictures]),
            radius=radius,
            scale=scale,
            multiple=upscaler.multiple,
        )
        for picture, done in zip(output, enlarged, strict=True):
            place(picture, done, grid, index, scale)
    return output
