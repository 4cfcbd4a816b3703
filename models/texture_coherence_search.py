"""One pass of the k-coherence search: every pixel takes the best of its neighbours' proposals.

Pixels are taken in 16 classes, 4 apart each way, and a class proposes and compares with what was
there before it: the result does not depend on how many threads share the work.
"""

from concurrent.futures import Executor
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.texture_atlas import Atlas
from models.texture_pixels import Indices, Levels, Mask, compiled

CLASS_STEP = 4


class Canvas(NamedTuple):
    """The output at one level; its edges are joined, so that it tiles.

    pixels: (H, W, C). sources: (H, W) pixel numbers in the atlas, -1 where a pixel is given.
    given: (H, W) pixels that stay. labels: (H, W), 0 without a guide.
    """

    pixels: Levels
    sources: Indices
    given: Mask
    labels: Indices


class Rules(NamedTuple):
    """window: odd side. kappa: what a source that continues no neighbour's must be better by.
    label_cost: of a neighbour whose label differs, in squared levels; 0 without a guide.
    """

    window: int
    kappa: float
    label_cost: int


@compiled
def _squared_distance(lines: Levels, patch: Levels, top: int, left: int, limit: float) -> int:
    """Sum of squared differences of a window and one of the atlas; any above the limit.

    Args:
        lines: (H, W * C). patch: (window, window * C). top, left: in lines.
    """
    rows, columns = patch.shape
    total = np.int32(0)
    for i in range(rows):
        line = lines[top + i, left : left + columns]
        mine = patch[i]
        for j in range(columns):
            difference = np.int32(np.int32(line[j]) - np.int32(mine[j]))
            total = np.int32(total + np.int32(difference * difference))
        if total > limit:
            break
    return int(total)


@compiled
def _mismatches(labels: Indices, wanted: Indices, top: int, left: int) -> int:
    """How many of a window's labels differ from the atlas's."""
    count = 0
    for i in range(wanted.shape[0]):
        for j in range(wanted.shape[1]):
            count += labels[top + i, left + j] != wanted[i, j]
    return count


@compiled
def _wrap(middle: int, side: int, places: Indices) -> None:
    """Write the places about a middle, round the edges."""
    for i in range(len(places)):
        places[i] = (middle + i - len(places) // 2) % side


@compiled
def _look_around(
    canvas: Canvas, rows: Indices, columns: Indices, patch: Levels, wanted: Indices
) -> None:
    """Copy a window of the canvas, and its labels."""
    channels = canvas.pixels.shape[2]
    for i in range(len(rows)):
        for j in range(len(columns)):
            wanted[i, j] = canvas.labels[rows[i], columns[j]]
            for c in range(channels):
                patch[i, j * channels + c] = canvas.pixels[rows[i], columns[j], c]


@compiled
def _list(atlas: Atlas, row: int, column: int, label: int, proposals: Indices, count: int) -> int:
    """Add a pixel of the atlas to the proposals if it is one, and new; how many there are now."""
    rows, columns = atlas.usable.shape
    if not (0 <= row < rows and 0 <= column < columns):
        return count
    if not atlas.usable[row, column] or atlas.labels[row, column] != label:
        return count
    number = row * columns + column
    for n in range(count):
        if proposals[n] == number:
            return count
    proposals[count] = number
    return count + 1


@compiled
def _propose(
    atlas: Atlas,
    similar: Indices,
    canvas: Canvas,
    y: int,
    x: int,
    tries: Indices,
    proposals: Indices,
) -> tuple[int, int]:
    """List sources for a pixel, those that continue a neighbour's first, each once.

    Returns: how many continue a neighbour's, and how many there are.
    """
    height, width = canvas.sources.shape
    columns = atlas.usable.shape[1]
    label = canvas.labels[y, x]
    own = canvas.sources[y, x]
    proposals[0] = own
    count = 1  # first: its own wins against its equals
    for dy in range(-1, 2):
        i = y + dy
        i = i + height if i < 0 else i - height if i >= height else i
        for dx in range(-1, 2):
            j = x + dx
            j = j + width if j < 0 else j - width if j >= width else j
            source = canvas.sources[i, j]
            if source >= 0 and source - dy * columns - dx != own:  # most are: no division then
                row, column = source // columns - dy, source % columns - dx
                count = _list(atlas, row, column, label, proposals, count)
    continued = count
    for n in range(continued):
        row, column = proposals[n] // columns, proposals[n] % columns
        for k in range(1, similar.shape[2]):
            other = similar[row, column, k]
            if other >= 0:
                count = _list(atlas, other // columns, other % columns, label, proposals, count)
    for n in range(len(tries)):
        other = tries[n]
        count = _list(atlas, other // columns, other % columns, label, proposals, count)
    return continued, count


@compiled
def _best(
    atlas: Atlas,
    lines: Levels,
    rules: Rules,
    patch: Levels,
    wanted: Indices,
    proposals: Indices,
    continued: int,
) -> int:
    """The proposal whose window is most like the patch, the first of equals."""
    across, radius = atlas.usable.shape[1], rules.window // 2
    channels = patch.shape[1] // patch.shape[0]
    best, found = np.inf, -1
    for n in range(len(proposals)):
        factor = 1.0 if n < continued else rules.kappa
        top, left = proposals[n] // across - radius, proposals[n] % across - radius
        distance = _squared_distance(lines, patch, top, left * channels, best / factor)
        if rules.label_cost > 0:
            distance += rules.label_cost * _mismatches(atlas.labels, wanted, top, left)
        if distance * factor < best:
            best, found = distance * factor, proposals[n]
    return found


@compiled
def _search_rows(
    atlas: Atlas,
    similar: Indices,
    canvas: Canvas,
    rules: Rules,
    tries: Indices,
    columns: Indices,
    rows: Indices,
    fresh: Indices,
) -> None:
    """Write the best source of every pixel at these rows and columns, -1 for a given pixel.

    Args:
        similar: (H, W, k) of the atlas. tries: (h, w, n) more proposals for each pixel.
        fresh: (rows, columns), written.
    """
    height, width = canvas.sources.shape
    channels, side = canvas.pixels.shape[2], rules.window
    lines = atlas.pixels.reshape(atlas.usable.shape[0], -1)
    patch = np.empty((side, side * channels), np.int16)
    wanted = np.empty((side, side), np.int32)
    proposals = np.empty(9 * similar.shape[2] + tries.shape[2], np.int32)
    window_rows, window_columns = np.empty(side, np.int32), np.empty(side, np.int32)
    for i in range(len(rows)):
        y = rows[i]
        _wrap(y, height, window_rows)
        for j in range(len(columns)):
            x = columns[j]
            fresh[i, j] = canvas.sources[y, x]
            if canvas.given[y, x]:
                continue
            continued, count = _propose(atlas, similar, canvas, y, x, tries[y, x], proposals)
            if count == 1:  # its own: well inside a copied piece
                continue
            _wrap(x, width, window_columns)
            _look_around(canvas, window_rows, window_columns, patch, wanted)
            fresh[i, j] = _best(atlas, lines, rules, patch, wanted, proposals[:count], continued)


def search_pass(
    atlas: Atlas,
    similar: Indices,
    canvas: Canvas,
    rules: Rules,
    tries: Indices,
    order: NDArray[np.int64],
    pool: Executor | None,
    threads: int,
) -> None:
    """Give every pixel of the canvas that is not given the best of its proposals, class by class.

    Args:
        canvas: its pixels and sources are updated. order: of the 16 classes.
    """
    height, width = canvas.sources.shape
    every = atlas.pixels.reshape(-1, atlas.pixels.shape[2])
    for number in order:
        first_row, first_column = divmod(int(number), CLASS_STEP)
        rows = np.arange(first_row, height, CLASS_STEP, dtype=np.int32)
        columns = np.arange(first_column, width, CLASS_STEP, dtype=np.int32)
        fresh = np.empty((len(rows), len(columns)), np.int32)
        bands = [np.array_split(of_rows, threads) for of_rows in (rows, fresh)]
        search = partial(_search_rows, atlas, similar, canvas, rules, tries, columns)
        list(pool.map(search, *bands) if pool else map(search, *bands))
        place = slice(first_row, None, CLASS_STEP), slice(first_column, None, CLASS_STEP)
        canvas.sources[place] = fresh
        free = ~canvas.given[place]
        canvas.pixels[place][free] = every[fresh[free]]
