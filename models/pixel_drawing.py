"""The compiled loops of drawing: one symbol, a picture site by site, all sites at once.

Arrays of symbols, noise and flags are (N, symbols, H, W/run); see `models.pixel_sampling`.
"""

from typing import TypeAlias

import numba as nb
import numpy as np
import numpy.typing as npt

from models.pixel_probabilities import Counts, Numbers, draw_one
from models.pixel_program import ROW, SITE
from models.pixel_stepping import State, run_operations

Flags: TypeAlias = npt.NDArray[np.bool_]


@nb.njit(cache=True, nogil=True)
def draw_symbol(
    code: tuple[int, int, int, int],
    parameters: Numbers,
    symbols: Counts,
    known: Flags,
    noise: Counts,
    power: float,
    s: int,
    y: int,
    x: int,
    near: Flags,
) -> bool:
    """Draw symbol s of site (y, x) in every picture; near <- which are not sure; any of them?"""
    counts = np.empty(code[2] + 1, dtype=np.int64)
    unsure = False
    for n in range(len(symbols)):
        near[n] = False
        if not known[n, s, y, x]:
            symbols[n, s, y, x], near[n] = draw_one(
                code, parameters[n], symbols[n, :, y, x], s, power, noise[n, s, y, x], counts
            )
            unsure = unsure or near[n]
    return unsure


@nb.njit(cache=True, nogil=True)
def advance(
    state: State,
    output: int,
    sequential: bool,
    code: tuple[int, int, int, int],
    symbols: Counts,
    known: Flags,
    noise: Counts,
    power: float,
    place: int,
    near: Flags,
) -> int:
    """Draw from a place (site x symbols + symbol) on, to the end or the first unsure draw."""
    buffers, memory = state[3], state[4]
    batch, count, height, width = symbols.shape
    channels = buffers[output, 1]
    scale = 2.0 / (code[2] - 1)
    begin = place
    while place < height * width * count:
        site, s = place // count, place % count
        y, x = site // width, site % width
        if x == 0 and s == 0:
            run_operations(state, ROW, y, 0)
        if s == 0 or sequential or place == begin:
            run_operations(state, SITE, y, x)
        start = buffers[output, 0] + ((y % buffers[output, 3]) * width + x) * batch * channels
        parameters = memory[start : start + batch * channels].reshape(batch, channels)
        if draw_symbol(code, parameters, symbols, known, noise, power, s, y, x, near):
            return place
        goal = buffers[0, 0] + ((y % buffers[0, 3]) * width + x) * batch * count
        for n in range(batch):
            memory[goal + n * count + s] = symbols[n, s, y, x] * scale - 1
        place += 1
    return place


@nb.njit(cache=True, nogil=True)
def draw_all(
    code: tuple[int, int, int, int],
    parameters: Numbers,
    before: Counts,
    symbols: Counts,
    known: Flags,
    noise: Counts,
    power: float,
    near: Flags,
) -> None:
    """Draw every symbol that is not known as if `before` were what comes before it."""
    counts = np.empty(code[2] + 1, dtype=np.int64)
    for n in range(symbols.shape[0]):
        for y in range(symbols.shape[2]):
            for x in range(symbols.shape[3]):
                for s in range(symbols.shape[1]):
                    if not known[n, s, y, x]:
                        symbols[n, s, y, x], near[n, s, y, x] = draw_one(
                            code,
                            parameters[n, y, x],
                            before[n, :, y, x],
                            s,
                            power,
                            noise[n, s, y, x],
                            counts,
                        )
