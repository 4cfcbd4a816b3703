"""A 64-bit hash that re-encoding and resizing a picture hardly change, and the search for pairs.

The difference hash of image search: N. Krawetz 2013, "Kind of Like That". Shrunk to 9x8 gray
levels, each bit says whether a level is higher than its left neighbour's.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from models.pixels import Pixels

_LUMA = (0.299, 0.587, 0.114)
_BLOCK = 2**22
_BITS_OF_A_PICTURE = (8, 56)


def difference_hash(pixels: Pixels) -> int:
    """The hash of (H, W, 1 or 3) uint8 pixels, as a signed 64-bit integer.

    Raises:
        ValueError: pixels of another shape.
    """
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or not pixels.size:
        raise ValueError(f"pixels must be (H, W, 1 or 3), got {pixels.shape}")
    planes = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None]
    small = F.adaptive_avg_pool2d(planes.double(), (8, 9))[0].numpy()
    gray = np.tensordot(_LUMA, small, 1) if len(small) == 3 else small[0]
    # a thousandth of a level: what is flat has no bits, whatever the sums' last digits are
    rises = np.diff(np.rint(gray * 1000), axis=1) > 0
    return int.from_bytes(np.packbits(rises).tobytes(), "big", signed=True)


def telling(hashes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which hashes say something: 8 to 56 of their bits are set. Those of flat pictures do not."""
    low, high = _BITS_OF_A_PICTURE
    bits = np.bitwise_count(hashes.view(np.uint64))
    return (bits >= low) & (bits <= high)


def near_pairs(
    first: NDArray[np.int64], second: NDArray[np.int64], most: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
    """Pairs of hashes that differ in at most `most` bits, in blocks of bounded memory.

    Returns:
        Indices into first, into second, and distances; ordered by the first, then the second.
    """
    here, there, distances = [], [], []
    others = second.view(np.uint64)
    rows = max(1, _BLOCK // max(1, len(others)))
    for start in range(0, len(first), rows):
        block = first[start : start + rows].view(np.uint64)
        apart = np.bitwise_count(block[:, None] ^ others[None, :])
        i, j = np.nonzero(apart <= most)
        here.append(i + start)
        there.append(j)
        distances.append(apart[i, j])
    nothing = np.empty(0, np.int64)
    return (
        np.concatenate([nothing, *here]),
        np.concatenate([nothing, *there]),
        np.concatenate([nothing.astype(np.uint8), *distances]),
    )
