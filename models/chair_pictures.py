"""Many views of many chairs in memory: what a generator is trained on and judged by."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from models.rendering import Pixels


class View(Protocol):
    """One view of a chair; angles in degrees."""

    @property
    def chair(self) -> int: ...
    @property
    def azimuth(self) -> float: ...
    @property
    def elevation(self) -> float: ...
    def pixels(self) -> tuple[Pixels, Pixels]:
        """(H, W, 3) uint8 on white, and the mask, (H, W) uint8."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class ChairPictures:
    """V views. rgb: (V, 3, S, S) uint8 on white; mask: (V, 1, S, S) uint8, coverage as 0..255.

    chair: (V,) int64, the class. azimuth, elevation: (V,) float32, degrees. They take 4 S^2 bytes
    a view: 2.8 GB for the published set's 42,877 training views of 128 pixels.

    Raises:
        ValueError: other shapes.
    """

    rgb: Tensor
    mask: Tensor
    chair: Tensor
    azimuth: Tensor
    elevation: Tensor

    def __post_init__(self) -> None:
        count, side = len(self.chair), self.rgb.shape[-1]
        shapes = tuple(tuple(t.shape) for t in (self.rgb, self.mask, self.azimuth, self.elevation))
        if shapes != ((count, 3, side, side), (count, 1, side, side), (count,), (count,)):
            raise ValueError(f"{count} chairs do not go with views of the shapes {shapes}")

    def __len__(self) -> int:
        return len(self.chair)

    def take(self, rows: Tensor | Sequence[int]) -> "ChairPictures":
        """Some of the views, by number, or by a mask of booleans."""
        rows = torch.as_tensor(rows)
        return ChairPictures(
            rgb=self.rgb[rows],
            mask=self.mask[rows],
            chair=self.chair[rows],
            azimuth=self.azimuth[rows],
            elevation=self.elevation[rows],
        )

    def floats(self) -> tuple[Tensor, Tensor]:
        """rgb and mask as float32, 0..1."""
        return self.rgb.float() / 255, self.mask.float() / 255


def gathered(views: Iterable[View], size: int) -> ChairPictures:
    """Views, decoded and reduced to `size` pixels by the mean of whole cells of theirs.

    Raises:
        ValueError: no view, or one whose side is no multiple of size.
    """
    rgb, mask, told = [], [], []
    for view in views:
        image, coverage = view.pixels()
        rgb.append(torch.from_numpy(reduced(image, size)).permute(2, 0, 1))
        mask.append(torch.from_numpy(reduced(coverage[..., None], size)).permute(2, 0, 1))
        told.append((view.chair, view.azimuth, view.elevation))
    if not told:
        raise ValueError("there is no view, wanted at least one")
    chair, azimuth, elevation = zip(*told, strict=True)
    return ChairPictures(
        rgb=torch.stack(rgb).contiguous(),
        mask=torch.stack(mask).contiguous(),
        chair=torch.tensor(chair, dtype=torch.int64),
        azimuth=torch.tensor(azimuth, dtype=torch.float32),
        elevation=torch.tensor(elevation, dtype=torch.float32),
    )


def reduced(pixels: Pixels, size: int) -> Pixels:
    """(S, S, C) uint8 -> (size, size, C), each pixel the rounded mean of its cell.

    Raises:
        ValueError: not square, or S is no multiple of size.
    """
    height, width, channels = pixels.shape
    if height != width or height % size:
        raise ValueError(f"a view of {width}x{height} pixels cannot be reduced to {size}")
    cell = height // size
    if cell == 1:
        return np.array(pixels)
    sums = pixels.reshape(size, cell, size, cell, channels).astype(np.int32).sum((1, 3))
    means: Pixels = ((sums + cell * cell // 2) // (cell * cell)).astype(np.uint8)
    return means


def evenly(values: Sequence[float], count: int) -> tuple[float, ...]:
    """So many of the distinct values, spread evenly, the smallest first.

    Raises:
        ValueError: count is below 1, or there are fewer.
    """
    distinct = sorted(set(values))
    if not 1 <= count <= len(distinct):
        raise ValueError(f"count must be 1 to {len(distinct)}, got {count}")
    return tuple(distinct[k * len(distinct) // count] for k in range(count))


def fewer_azimuths(pictures: ChairPictures, count: int, *, of_chairs_from: int = 0) -> Tensor:
    """(V,) bool: views at `count` azimuths, spread evenly; of chairs below a number, all views.

    So a generator can be made to see some chairs from a few sides only, and others from all.

    Raises:
        ValueError: there are not so many azimuths.
    """
    kept = torch.tensor(evenly(pictures.azimuth.tolist(), count))
    return torch.isin(pictures.azimuth, kept) | (pictures.chair < of_chairs_from)
