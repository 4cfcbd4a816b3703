"""A program run site by site over a batch of pictures: compiled loops, nothing computed twice.

Every number is the same whatever the batch is: a picture's sums are taken in one order, which the
coder needs (`models.pixel_coding`). float32 throughout.
"""

from typing import TypeAlias

import numba as nb
import numpy as np
import numpy.typing as npt
from torch import nn

from models.pixel_program import (
    ADD,
    CONCAT,
    CONCAT_ELU,
    CONV,
    ELU,
    RELU,
    ROW,
    SITE,
    TANH_GATE,
    Floats,
    Program,
    Table,
    program_of,
)

Bits: TypeAlias = npt.NDArray[np.int32]
State: TypeAlias = tuple[Table, Table, Floats, Table, Floats, Bits, int]
"""operations, taps, weights, buffers, memory, room for bits, batch."""


class Stepper:
    """A network's activations over a batch, up to some site.

    Args:
        height, width: of the grid of sites.
        labels: (B,) classes, if the network has any.
    Raises:
        ValueError: the network cannot be run site by site, or labels are missing or superfluous.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        batch: int,
        height: int,
        width: int,
        labels: Table | None = None,
        program: Program | None = None,
    ) -> None:
        program = program or program_of(network)
        classes: int = network.classes  # type: ignore[assignment]
        if bool(classes) != (labels is not None):
            raise ValueError(f"labels for {classes} classes wanted, got {labels}")
        self.batch, self.height, self.width = batch, height, width
        self.operations = np.array(program.operations, dtype=np.int64).reshape(-1, 9)
        self.taps = np.array(program.taps, dtype=np.int64).reshape(-1, 6)
        self.weights: Floats = np.concatenate(program.weights).astype(np.float32)
        self.buffers, size = _placed(program, batch, width)
        self.memory: Floats = np.zeros(size, dtype=np.float32)
        widest = max(b.channels for b in program.buffers) * max(1, width) * batch
        self.powers = np.zeros(widest, dtype=np.int32)
        self.output = program.output
        self.parameters = program.buffers[program.output].channels
        if labels is not None:
            start, channels = int(self.buffers[1, 0]), int(self.buffers[1, 1])
            place = start + np.arange(batch) * channels + np.asarray(labels)
            self.memory[place] = 1

    def state(self) -> State:
        """What the compiled functions take."""
        return (
            self.operations,
            self.taps,
            self.weights,
            self.buffers,
            self.memory,
            self.powers,
            self.batch,
        )

    def begin_row(self, y: int) -> None:
        """Do a row's operations; all rows above are written."""
        run_operations(self.state(), ROW, y, 0)

    def site(self, y: int, x: int) -> Floats:
        """Do a site's operations and return its parameters, (B, parameters)."""
        run_operations(self.state(), SITE, y, x)
        start = _address(self.buffers, self.output, self.batch, y, x)
        return self.memory[start : start + self.batch * self.parameters].reshape(self.batch, -1)

    def write(self, y: int, x: int, symbols: Floats) -> None:
        """Tell a site's symbols, (B, symbols), scaled to -1..1."""
        start = _address(self.buffers, 0, self.batch, y, x)
        self.memory[start : start + symbols.size] = symbols.ravel()


def _placed(program: Program, batch: int, width: int) -> tuple[Table, int]:
    """(offset, channels, stride, rows kept, columns) of every buffer, and numbers in all."""
    rows, offset = [], 0
    for buffer, reach in zip(program.buffers, program.reach, strict=True):
        columns = -(-width // buffer.stride) if buffer.stride else 1
        kept = reach if buffer.stride else 1
        rows.append((offset, buffer.channels, buffer.stride, kept, columns))
        offset += kept * columns * batch * buffer.channels
    return np.array(rows, dtype=np.int64), offset


@nb.njit(cache=True, nogil=True)
def _address(buffers: Table, index: int, batch: int, y: int, x: int) -> int:
    """Where the numbers of a buffer's place (y, x), in its own grid, begin."""
    row = (y % buffers[index, 3]) * buffers[index, 4] + x
    return int(buffers[index, 0] + row * batch * buffers[index, 1])


@nb.njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
def _exponential(x: Floats, bits: Bits) -> None:
    """x <- exp(x), relative error about 1e-7, for whole vectors at once.

    exp(x) = 2^n exp(r), n = round(x/ln 2); exp(r) by its series to r^7, 2^n by its bits.
    """
    power = bits.view(np.float32)
    for i in range(len(x)):
        clipped = min(max(x[i], np.float32(-87.0)), np.float32(87.0))
        n = np.floor(clipped * np.float32(1.44269504) + np.float32(0.5))
        r = clipped - n * np.float32(0.693359375) + n * np.float32(2.12194440e-4)
        p = np.float32(1 / 5040)
        p = p * r + np.float32(1 / 720)
        p = p * r + np.float32(1 / 120)
        p = p * r + np.float32(1 / 24)
        p = p * r + np.float32(1 / 6)
        p = p * r + np.float32(0.5)
        p = p * r + np.float32(1.0)
        x[i] = p * r + np.float32(1.0)
        bits[i] = (np.int32(n) + np.int32(127)) << np.int32(23)
    for i in range(len(x)):
        x[i] = x[i] * power[i]


@nb.njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
def _convolve(
    operation: Table,
    taps: Table,
    weights: Floats,
    buffers: Table,
    memory: Floats,
    batch: int,
    y: int,
    first: int,
    last: int,
) -> None:
    """Target columns first..last-1 of row y: bias plus every tap's product."""
    target, source = operation[2], operation[3]
    out, into = buffers[target, 1], buffers[source, 1]
    start = _address(buffers, target, batch, y, first)
    adding, bias = operation[8], operation[5]
    for n in range((last - first) * batch):
        for o in range(out):
            begin = weights[bias + o] if bias >= 0 else np.float32(0)
            place = start + n * out + o
            memory[place] = memory[place] + begin if adding else begin
    ratio, of = buffers[target, 2], buffers[source, 2]
    columns = buffers[source, 4]
    for t in range(operation[6], operation[7]):
        phases = taps[t, 2]
        if y % phases != taps[t, 0]:
            continue
        row = y * ratio // of + taps[t, 3] if of else 0
        if row < 0:
            continue
        w = weights[taps[t, 5] : taps[t, 5] + into * out].reshape(into, out)
        for x in range(first, last):
            if x % phases != taps[t, 1]:
                continue
            column = x * ratio // of + taps[t, 4] if of else 0
            if column < 0 or column >= columns:
                continue
            a = _address(buffers, source, batch, row, column)
            d = start + (x - first) * batch * out
            goal = memory[d : d + batch * out].reshape(batch, out)
            _add_product(goal, memory[a : a + batch * into].reshape(batch, into), w)


@nb.njit(cache=True, nogil=True, fastmath={"contract"})
def _add_product(goal: Floats, x: Floats, w: Floats) -> None:
    """goal (batch, out) += x (batch, into) @ w (into, out).

    Four pictures at a time share what is read of w. Every sum goes through the inputs one after the
    other, so that it is the same, fused operations included, whoever stands beside it.
    """
    batch, (into, out) = len(goal), w.shape
    whole = into // 4 * 4
    for n in range(0, batch - 3, 4):
        g, y = goal[n : n + 4], x[n : n + 4]
        for k in range(0, whole, 4):
            p0, p1, p2, p3 = y[0, k], y[0, k + 1], y[0, k + 2], y[0, k + 3]
            q0, q1, q2, q3 = y[1, k], y[1, k + 1], y[1, k + 2], y[1, k + 3]
            r0, r1, r2, r3 = y[2, k], y[2, k + 1], y[2, k + 2], y[2, k + 3]
            s0, s1, s2, s3 = y[3, k], y[3, k + 1], y[3, k + 2], y[3, k + 3]
            for o in range(out):
                w0, w1, w2, w3 = w[k, o], w[k + 1, o], w[k + 2, o], w[k + 3, o]
                g[0, o] = (((g[0, o] + p0 * w0) + p1 * w1) + p2 * w2) + p3 * w3
                g[1, o] = (((g[1, o] + q0 * w0) + q1 * w1) + q2 * w2) + q3 * w3
                g[2, o] = (((g[2, o] + r0 * w0) + r1 * w1) + r2 * w2) + r3 * w3
                g[3, o] = (((g[3, o] + s0 * w0) + s1 * w1) + s2 * w2) + s3 * w3
    for n in range(batch // 4 * 4, batch):
        for k in range(0, whole, 4):
            p0, p1, p2, p3 = x[n, k], x[n, k + 1], x[n, k + 2], x[n, k + 3]
            for o in range(out):
                goal[n, o] = (
                    ((goal[n, o] + p0 * w[k, o]) + p1 * w[k + 1, o]) + p2 * w[k + 2, o]
                ) + p3 * w[k + 3, o]
    for n in range(batch):
        for k in range(whole, into):
            for o in range(out):
                goal[n, o] += x[n, k] * w[k, o]


@nb.njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
def _pointwise(
    operation: Table,
    buffers: Table,
    memory: Floats,
    powers: Bits,
    batch: int,
    y: int,
    first: int,
    last: int,
) -> None:
    """Operations without weights, on target columns first..last-1 of row y."""
    kind, target, source, second = operation[0], operation[2], operation[3], operation[4]
    out, into = buffers[target, 1], buffers[source, 1]
    places = (last - first) * batch
    d = _address(buffers, target, batch, y, first)
    a = _address(buffers, source, batch, y, first)
    goal, left = memory[d : d + places * out], memory[a : a + places * into]
    if kind == RELU:
        for i in range(len(goal)):
            goal[i] = max(left[i], np.float32(0))
    elif kind in (ELU, CONCAT_ELU):
        for n in range(places):
            for i in range(into):
                goal[n * out + i] = left[n * into + i]
                if kind == CONCAT_ELU:
                    goal[n * out + into + i] = -left[n * into + i]
        _elu(goal, powers)
    elif kind in (ADD, CONCAT):
        b = _address(buffers, second, batch, y, first)
        width = buffers[second, 1]
        right = memory[b : b + places * width]
        if kind == ADD:
            for i in range(len(goal)):
                goal[i] = left[i] + right[i]
        else:
            for n in range(places):
                goal[n * out : n * out + into] = left[n * into : (n + 1) * into]
                goal[n * out + into : (n + 1) * out] = right[n * width : (n + 1) * width]
    else:
        _gate(kind, goal, left, powers, places, out)


@nb.njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
def _elu(goal: Floats, powers: Bits) -> None:
    raw = goal.copy()
    for i in range(len(goal)):
        goal[i] = min(goal[i], np.float32(0))
    _exponential(goal, powers[: len(goal)])
    for i in range(len(goal)):
        goal[i] = raw[i] if raw[i] > 0 else goal[i] - np.float32(1)


@nb.njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
def _gate(kind: int, goal: Floats, left: Floats, powers: Bits, places: int, out: int) -> None:
    """a sigma(b), or tanh(a) sigma(b) with tanh(a) = 2 sigma(2 a) - 1."""
    one = np.float32(1)
    both = np.empty(2 * len(goal), dtype=np.float32)
    half = len(goal)
    for n in range(places):
        for o in range(out):
            both[n * out + o] = -2 * left[n * 2 * out + o]
            both[half + n * out + o] = -left[n * 2 * out + out + o]
    part = both if kind == TANH_GATE else both[half:]
    _exponential(part, powers[: len(part)])
    for n in range(places):
        for o in range(out):
            i = n * out + o
            a = left[n * 2 * out + o]
            if kind == TANH_GATE:
                a = np.float32(2) / (one + both[i]) - one
            goal[i] = a / (one + both[half + i])


@nb.njit(cache=True, nogil=True, error_model="numpy")
def run_operations(state: State, when: int, y: int, x: int) -> None:
    """All operations of a row (x is not looked at) or of a site, in order."""
    operations, taps, weights, buffers, memory, powers, batch = state
    for n in range(len(operations)):
        operation = operations[n]
        if operation[1] != when:
            continue
        stride = buffers[operation[2], 2]
        if y % stride or (when == SITE and x % stride):
            continue
        first = x // stride
        last = first + 1
        if when == ROW:
            first, last = 0, buffers[operation[2], 4]
        if operation[0] == CONV:
            _convolve(operation, taps, weights, buffers, memory, batch, y // stride, first, last)
        else:
            _pointwise(operation, buffers, memory, powers, batch, y // stride, first, last)
