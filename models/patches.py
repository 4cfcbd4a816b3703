"""Training batches for super-resolution: patches that depend on the seed and the step alone."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from models.images import decode
from models.metrics import studio_luma
from models.pixels import Pixels
from models.resampling import bicubic_downscale

LumaPair: TypeAlias = tuple[NDArray[np.float32], NDArray[np.float32]]
"""(H, W) and (scale*H, scale*W), in 0..1."""


class EncodedPair(Protocol):
    """A high-resolution picture of that size and its degraded version, as file contents."""

    @property
    def image(self) -> bytes: ...
    @property
    def low(self) -> bytes: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...


@dataclass(frozen=True, kw_only=True)
class PatchConfig:
    """How batches are drawn.

    Args:
        batch_size: patches a step, over all processes.
        patch: side of a patch in low-resolution pixels.
        rescale: pictures are also shown smaller, degraded anew by the bicubic protocol: sharper
            and cleaner pixels than a camera's. Only 1.0 for another degradation.
        cache_bytes: decoded pictures that are kept.
    """

    scale: int
    batch_size: int = 32
    patch: int = 32
    rescale: tuple[float, ...] = (1.0, 0.8, 0.6)
    seed: int = 0
    cache_bytes: int = 2 * 2**30


def luma_of(pixels: Pixels) -> Tensor:
    """(H, W, 1 or 3) in 0..255 -> (1, 1, H, W) in 0..1: studio luma of colour, gray as it is."""
    x = torch.from_numpy(np.array(pixels, dtype=np.float32)).permute(2, 0, 1)[None]
    return (studio_luma(x) if x.shape[1] == 3 else x) / 255


class PatchSampler:
    """Batches of (low, high) luma patches; any number of threads may ask.

    Pictures are drawn by their area, then a size of `rescale`, a place, flips and a transposition.

    Raises:
        ValueError: no picture is large enough for a patch.
    """

    def __init__(self, pairs: Sequence[EncodedPair], config: PatchConfig) -> None:
        self.config = config
        self._pairs = pairs
        need = config.scale * config.patch
        sizes = [(k, f) for k in range(len(pairs)) for f in config.rescale]
        self._sources = [s for s in sizes if self._smaller_side(*s) >= need]
        if not self._sources:
            raise ValueError(
                f"patches of {config.patch} pixels at scale {config.scale} need pictures of at"
                f" least {need} pixels a side; none of the {len(pairs)} training pictures is"
            )
        areas = [pairs[k].width * pairs[k].height * f * f for k, f in self._sources]
        self._cumulated = np.cumsum(np.asarray(areas, np.float64))
        self._decoded: OrderedDict[tuple[int, float], LumaPair] = OrderedDict()
        self._held = 0
        self._lock = threading.Lock()

    def _smaller_side(self, k: int, factor: float) -> int:
        pair = self._pairs[k]
        return int(min(pair.width, pair.height) * factor) // self.config.scale * self.config.scale

    def batch(self, step: int, *, rank: int = 0, processes: int = 1) -> tuple[Tensor, Tensor]:
        """This process's share of the batch of a step, the same however often it is asked.

        Returns:
            (N, 1, P, P) and (N, 1, scale*P, scale*P) in 0..1, N = batch_size / processes.
        Raises:
            ValueError: the batch cannot be shared evenly.
        """
        size = self.config.batch_size
        if size % processes:
            raise ValueError(f"a batch of {size} cannot be shared by {processes} processes")
        draws = np.random.default_rng((self.config.seed, step)).random((size, 6))
        cut = [self._patch(draw) for draw in draws[rank::processes]]
        low, high = (torch.from_numpy(np.stack(side))[:, None] for side in zip(*cut, strict=True))
        return low, high

    def _patch(self, draw: NDArray[np.float64]) -> LumaPair:
        total = self._cumulated[-1]
        at = int(np.searchsorted(self._cumulated, draw[0] * total, side="right"))
        low, high = self._luma(min(at, len(self._sources) - 1))
        side, scale = self.config.patch, self.config.scale
        y, x = (int(d * (n - side + 1)) for d, n in zip(draw[1:3], low.shape, strict=True))
        a = low[y : y + side, x : x + side]
        b = high[y * scale : (y + side) * scale, x * scale : (x + side) * scale]
        if draw[3] < 0.5:
            a, b = a[::-1], b[::-1]
        if draw[4] < 0.5:
            a, b = a[:, ::-1], b[:, ::-1]
        return (a.T, b.T) if draw[5] < 0.5 else (a, b)

    def _luma(self, source: int) -> LumaPair:
        key = self._sources[source]
        with self._lock:
            if key in self._decoded:
                self._decoded.move_to_end(key)
                return self._decoded[key]
        found = self._decode(*key)
        with self._lock:
            if key not in self._decoded:
                self._decoded[key] = found
                self._held += found[0].nbytes + found[1].nbytes
            while self._held > self.config.cache_bytes and len(self._decoded) > 1:
                _, gone = self._decoded.popitem(last=False)
                self._held -= gone[0].nbytes + gone[1].nbytes
        return found

    def _decode(self, k: int, factor: float) -> LumaPair:
        pair = self._pairs[k]
        image = decode(bytes(pair.image)).pixels
        if factor == 1.0:
            return _plane(luma_of(decode(bytes(pair.low)).pixels)), _plane(luma_of(image))
        return _rescaled(image, factor, self.config.scale)


def _plane(luma: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(luma[0, 0].numpy())


def _rescaled(image: Pixels, factor: float, scale: int) -> LumaPair:
    """The picture made smaller, rounded, cut to a multiple of scale and degraded."""
    x = torch.from_numpy(np.array(image, dtype=np.float32)).permute(2, 0, 1)[None]
    height, width = (int(n * factor) for n in x.shape[-2:])
    x = F.interpolate(x, (height, width), mode="bicubic", antialias=True, align_corners=False)
    x = x.round().clamp(0, 255)[..., : height // scale * scale, : width // scale * scale]
    low = bicubic_downscale(x, scale)
    sides = [(studio_luma(v) if v.shape[1] == 3 else v) / 255 for v in (low, x)]
    return _plane(sides[0]), _plane(sides[1])
