"""A causal network as a list of steps that can be taken site by site: the plan of fast sampling.

A network of `models.pixelcnn` or `models.pixelcnn_pp` becomes buffers and operations on them. An
operation of a row is done once a row, before its first site, for all columns (the vertical
streams: they see rows above alone); one of a site is done when the site's turn comes. Each is
done once: what a later site needs of an earlier one is still in a buffer. `models.pixel_stepping`
runs the list. Idea: Ramachandran et al. 2017 (arXiv:1704.06001).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from models.masked_convolution import MaskedConv2d, RowsAboveConv2d
from models.pixelcnn import GatedLayer, GatedPixelCnn, PixelCnn
from models.pixelcnn_pp import (
    DownConv2d,
    GatedBlock,
    LeftAboveConv2d,
    LeftOnlyConv2d,
    PixelCnnPp,
)

Floats: TypeAlias = npt.NDArray[np.float32]
Table: TypeAlias = npt.NDArray[np.int64]

CONV, RELU, ELU, CONCAT_ELU, TANH_GATE, SIGMOID_GATE, ADD, CONCAT = range(8)
ROW, SITE = 0, 1


@dataclass(frozen=True)
class Buffer:
    """Where activations lie: one per `stride` sites each way; stride 0 is one for the picture."""

    index: int
    channels: int
    stride: int
    when: int


@dataclass
class Program:
    """Buffers, operations and weights; the input is buffer 0, the class (one-hot) buffer 1.

    operations: kind, when, target, source, second source, bias offset or -1, first tap, last
        tap + 1, whether to add to what the target holds.
    taps: phase y, phase x, phases, dy, dx, weight offset; a weight is (source, target) channels.
    """

    buffers: list[Buffer] = field(default_factory=list)
    reach: list[int] = field(default_factory=list)
    operations: list[tuple[int, ...]] = field(default_factory=list)
    taps: list[tuple[int, ...]] = field(default_factory=list)
    weights: list[Floats] = field(default_factory=list)
    size: int = 0
    output: int = -1

    def buffer(self, channels: int, stride: int, when: int) -> Buffer:
        made = Buffer(len(self.buffers), channels, stride, when)
        self.buffers.append(made)
        self.reach.append(1)
        return made

    def _store(self, values: Floats) -> int:
        start = self.size
        self.weights.append(np.ascontiguousarray(values, dtype=np.float32).ravel())
        self.size += values.size
        return start

    def convolve(
        self,
        module: nn.Module,
        source: Buffer,
        *,
        when: int | None = None,
        onto: Buffer | None = None,
    ) -> Buffer:
        """A convolution's taps; `onto` adds its result to a buffer that has one."""
        taps, bias, step = _taps_of(module)
        channels = int(module.out_channels)  # type: ignore[arg-type]
        stride = source.stride * step[0] // step[1]
        when = source.when if when is None else when
        target = onto or self.buffer(channels, stride, when)
        first = len(self.taps)
        for py, px, phases, dy, dx, weight in taps:
            self.taps.append((py, px, phases, dy, dx, self._store(weight)))
            self.reach[source.index] = max(self.reach[source.index], 1 - dy)
        place = -1 if bias is None else self._store(bias)
        self.operations.append(
            (CONV, target.when, target.index, source.index, -1, place, first, len(self.taps),
             int(onto is not None))
        )  # fmt: skip
        return target

    def label(self, module: nn.Embedding, part: slice, onto: Buffer) -> None:
        """Add a part of the class's embedding."""
        weight = _numbers(module.weight)[:, part]
        first = len(self.taps)
        self.taps.append((0, 0, 1, 0, 0, self._store(weight)))
        self.operations.append((CONV, onto.when, onto.index, 1, -1, -1, first, first + 1, 1))

    def apply(
        self, kind: int, source: Buffer, second: Buffer | None = None, when: int | None = None
    ) -> Buffer:
        """An operation without weights."""
        channels = source.channels
        if kind == CONCAT_ELU:
            channels *= 2
        elif kind in (TANH_GATE, SIGMOID_GATE):
            channels //= 2
        elif kind == CONCAT and second is not None:
            channels += second.channels
        target = self.buffer(channels, source.stride, source.when if when is None else when)
        other = -1 if second is None else second.index
        self.operations.append((kind, target.when, target.index, source.index, other, -1, 0, 0, 0))
        return target

    def add(self, a: Buffer, b: Buffer, when: int | None = None) -> Buffer:
        return self.apply(ADD, a, b, when)


def program_of(network: nn.Module) -> Program:
    """The program that computes what `network(levels)` does, site by site.

    Raises:
        ValueError: the network has no program (recurrent ones have none).
    """
    known: dict[type[nn.Module], Callable[..., Buffer]] = {
        PixelCnn: _pixelcnn,
        GatedPixelCnn: _gated,
        PixelCnnPp: _plus_plus,
    }
    if type(network) not in known:
        names = ", ".join(kind.__name__ for kind in known)
        raise ValueError(f"only {names} can be run site by site, got a {type(network).__name__}")
    program = Program()
    program.buffer(network.sites.symbols, 1, SITE)  # type: ignore[union-attr,arg-type]
    program.buffer(max(1, network.classes), 0, SITE)  # type: ignore[type-var,arg-type]
    program.output = known[type(network)](network, program).index
    return program


def _pixelcnn(network: PixelCnn, p: Program) -> Buffer:
    x = p.convolve(network.first, p.buffers[0])
    for block in network.blocks:
        inner = p.convolve(block.into, p.apply(RELU, x))  # type: ignore[arg-type]
        inner = p.convolve(block.across, p.apply(RELU, inner))  # type: ignore[arg-type]
        x = p.add(x, p.convolve(block.out, p.apply(RELU, inner)))  # type: ignore[arg-type]
    for module in (network.head_in, network.head_mid, network.head_out):
        x = p.convolve(module, p.apply(RELU, x))
    return x


def _gated(network: GatedPixelCnn, p: Program) -> Buffer:
    v = h = p.buffers[0]
    for layer in network.layers:
        v, h = _gated_layer(layer, p, v, h)  # type: ignore[arg-type]
    inner = p.convolve(network.head_in, p.apply(RELU, h))
    return p.convolve(network.head_out, p.apply(RELU, inner))


def _gated_layer(layer: GatedLayer, p: Program, v: Buffer, h: Buffer) -> tuple[Buffer, Buffer]:
    down = p.convolve(layer.vertical, v, when=ROW)
    right = p.convolve(layer.across, down, when=SITE)
    p.convolve(layer.horizontal, h, onto=right)
    if layer.label is not None:
        half = layer.label.embedding_dim // 2
        # `across` reads what has the class's bias already
        operation = p.operations[-2:]
        del p.operations[-2:]
        p.label(layer.label, slice(0, half), down)
        p.operations.extend(operation)
        p.label(layer.label, slice(half, None), right)
    below = p.apply(TANH_GATE, down)
    side = p.convolve(layer.out, p.apply(TANH_GATE, right))
    return (
        p.add(v, below) if layer.residual else below,
        side if layer.first else p.add(h, side),
    )


def _plus_plus(network: PixelCnnPp, p: Program) -> Buffer:
    x = p.buffers[0]
    above = p.convolve(network.first_above, x, when=ROW)
    left = p.convolve(network.first_row_above, x, when=SITE)
    p.convolve(network.first_left, x, onto=left)
    shorts: list[tuple[Buffer, Buffer]] = []
    for n, scale in enumerate(network.down):
        if n:
            above = p.convolve(network.coarser_above[n - 1], above)
            left = p.convolve(network.coarser_left[n - 1], left)
        if network.config.entry_shortcuts:
            shorts.append((above, left))
        for up, side in scale.pairs():  # type: ignore[operator]
            above = _block(up, p, above, None)
            left = _block(side, p, left, above)
            shorts.append((above, left))
    above, left = shorts.pop() if network.config.entry_shortcuts else shorts[-1]
    for n in reversed(range(len(network.up))):
        scale = network.up[n]
        for up, side in scale.pairs():  # type: ignore[operator]
            short_above, short_left = shorts.pop()
            above = _block(up, p, above, short_above)
            left = _block(side, p, left, p.apply(CONCAT, above, short_left, SITE))
        if n:
            above = p.convolve(network.finer_above[n - 1], above)
            left = p.convolve(network.finer_left[n - 1], left)
    return p.convolve(network.head_out, p.apply(ELU, left))


def _block(block: GatedBlock, p: Program, x: Buffer, beside: Buffer | None) -> Buffer:
    kind = CONCAT_ELU if block.activation == "concat_elu" else ELU
    inner = p.convolve(block.first, p.apply(kind, x))
    if beside is not None and block.beside is not None:
        p.convolve(block.beside, p.apply(kind, beside, when=x.when), onto=inner)
    both = p.convolve(block.second, p.apply(kind, inner))
    if block.label is not None:
        p.label(block.label, slice(None), both)
    return p.add(x, p.apply(SIGMOID_GATE, both))


_Taps: TypeAlias = list[tuple[int, int, int, int, int, Floats]]


def _numbers(weight: Tensor) -> Floats:
    return np.asarray(weight.detach().cpu().float().numpy(), dtype=np.float32)


def _taps_of(module: nn.Module) -> tuple[_Taps, Floats | None, tuple[int, int]]:
    """(taps, bias, (stride up, stride down)) of a convolution."""
    if isinstance(module, nn.ConvTranspose2d):
        w = _numbers(module.weight)
        taps = [(i, j, 2, 0, 0, w[:, :, i, j]) for i in range(2) for j in range(2)]
        return taps, None if module.bias is None else _numbers(module.bias), (1, 2)
    if not isinstance(module, nn.Conv2d):
        raise ValueError(f"a {type(module).__name__} is no convolution")  # noqa: TRY004
    dy, dx = _origin(module)
    weight = module.masked_weight if isinstance(module, MaskedConv2d) else module.weight
    w = _numbers(weight)
    taps = [
        (0, 0, 1, dy + i, dx + j, w[:, :, i, j].T)
        for i in range(w.shape[2])
        for j in range(w.shape[3])
        if w[:, :, i, j].any()
    ]
    return taps, None if module.bias is None else _numbers(module.bias), (module.stride[0], 1)


def _origin(module: nn.Conv2d) -> tuple[int, int]:
    """(dy, dx) of a kernel's first element."""
    rows, columns = module.kernel_size
    if isinstance(module, RowsAboveConv2d):
        return 1 - rows - int(module.exclusive), -(columns // 2)
    if isinstance(module, MaskedConv2d):
        return -int(module.padding[0]), -int(module.padding[1])
    if isinstance(module, LeftAboveConv2d | DownConv2d | LeftOnlyConv2d):
        return -1, -1
    if rows == columns == 1:
        return 0, 0
    raise ValueError(f"a {rows} x {columns} {type(module).__name__} has no place in a program")
