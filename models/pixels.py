"""What a picture's pixels are, everywhere in pixelmill."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[np.uint8 | np.uint16]
"""(H, W, C) or (N, H, W, C); C is 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA, alpha straight."""
