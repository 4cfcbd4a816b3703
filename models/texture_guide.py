"""Labels that say which pixels of the exemplars go where in the output."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.texture_atlas import Atlas
from models.texture_pixels import Indices, Mask, no_window

_FEWEST = 32  # windows that a level must offer to each label, unless it is the finest


@dataclass(frozen=True, kw_only=True, eq=False)
class Guide:
    """Texture by numbers (Hertzmann 2001): which pixels of the exemplars go where.

    exemplars: (H, W) labels of each exemplar, whole numbers. output: (H, W) labels of the output.
    """

    exemplars: Sequence[NDArray[np.integer]]
    output: NDArray[np.integer]


def numbered_labels(
    usable: Sequence[Mask], size: tuple[int, int], guide: Guide | None
) -> tuple[list[int], Indices, list[Indices]]:
    """The output's distinct labels, and all labels as places among them; one past them is none."""
    if guide is None:
        blank = [np.zeros(mask.shape, np.int32) for mask in usable]
        return [0], np.zeros(size, np.int32), blank
    shapes = [labels.shape for labels in (*guide.exemplars, guide.output)]
    wanted = [*(mask.shape for mask in usable), size]
    if shapes != wanted:
        raise ValueError(f"guide must have the shapes {wanted}, got {shapes}")
    names = np.unique(guide.output)
    owned = []
    for labels in guide.exemplars:
        place = np.searchsorted(names, labels).clip(0, len(names) - 1)
        owned.append(np.where(names[place] == labels, place, len(names)).astype(np.int32))
    return names.tolist(), np.searchsorted(names, guide.output).astype(np.int32), owned


def fitting_levels(
    atlases: list[Atlas], labels: list[int], usable: Sequence[Mask], window: int
) -> list[Atlas]:
    """The levels that offer windows enough of every label; the finest needs one of each.

    Raises:
        ValueError: it has none.
    """
    fewest = [
        min(int((atlas.usable & (atlas.labels == label)).sum()) for label in range(len(labels)))
        for atlas in atlases
    ]
    if fewest[0] == 0:
        if not atlases[0].usable.any():
            raise no_window(window, max(usable, key=np.size))
        held = set(np.unique(atlases[0].labels[atlases[0].usable]).tolist())
        missing = next(name for n, name in enumerate(labels) if n not in held)
        raise ValueError(
            f"no whole {window}x{window} window of usable pixels has the guide's label {missing}"
        )
    enough = [n for n, count in enumerate(fewest) if n == 0 or count >= _FEWEST]
    return atlases[: len(enough)]
