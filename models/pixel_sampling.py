"""Drawing pictures from a pixel model: naive, with cached activations, and by prediction.

All three take the noise in advance, one uniform integer a value, and give the same pictures for
the same noise, bit for bit (`models.pixel_probabilities`):

- naive: the whole network once a site, or once a symbol for a sequential head: the oracle;
- cached: every activation once (Ramachandran et al. 2017, arXiv:1704.06001);
- predictive: all sites at once, again and again until nothing changes; the pictures before the
  first change are right, so that it ends after as many rounds as sites at the latest, mostly far
  sooner (Wiggers & Hoogeboom 2020, arXiv:2002.09928; inverse distribution functions, no forecast).
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast, get_args

import numpy as np
import torch
from torch import Tensor, nn

from models.pixel_drawing import Flags, advance, draw_all, draw_symbol
from models.pixel_likelihood import PixelNetwork, check_levels
from models.pixel_probabilities import (
    TOTAL,
    Counts,
    Numbers,
    check_temperature,
    draw_one,
    head_code,
)
from models.pixel_stepping import Stepper

Sampler = Literal["cached", "naive", "predictive"]


def draw_noise(shape: tuple[int, int, int, int], generator: torch.Generator) -> Tensor:
    """Uniform integers 0..2^24 - 1, (N, C, H, W): all that is random about a sample."""
    return torch.randint(TOTAL, shape, generator=generator)


@dataclass(frozen=True, kw_only=True)
class Given:
    """Values that are not drawn: levels (N, C, H, W), and where they hold, of the same shape."""

    levels: Tensor
    known: Tensor

    def __post_init__(self) -> None:
        if self.levels.shape != self.known.shape or self.known.dtype != torch.bool:
            raise ValueError(
                "known must be booleans of the levels' shape"
                f" {tuple(self.levels.shape)}, got {self.known.dtype} {tuple(self.known.shape)}"
            )


@dataclass(eq=False)
class _Canvas:
    """A batch while it is drawn; all arrays (N, symbols, H, W/run)."""

    network: PixelNetwork
    labels: Tensor | None
    symbols: Counts
    known: Flags
    noise: Counts
    power: float
    exact_draws: int = 0
    _exact: nn.Module | None = None

    def parameters(self) -> Numbers:
        """The whole network in float32: (N, H, W/run, parameters)."""
        levels = self.network.sites.images(torch.from_numpy(self.symbols))
        return _run(self.network, levels, self.labels)

    def decide(self, ambiguous: Flags, symbol: int, y: int, x: int) -> None:
        """Draw one symbol of the flagged pictures with the network in float64."""
        which = np.flatnonzero(ambiguous)
        # rows below do not matter; a multiple of 8 suits three scales
        rows = min(self.symbols.shape[2], -(-(y + 1) // 8) * 8)
        parameters = self.in_double(which, self.symbols[:, :, :rows])[:, y, x]
        code = head_code(self.network.head)
        counts = np.empty(code[2] + 1, dtype=np.int64)
        for n, values in zip(which, parameters, strict=True):
            earlier = self.symbols[n, :, y, x]
            uniform = self.noise[n, symbol, y, x]
            self.symbols[n, symbol, y, x] = draw_one(
                code, values, earlier, symbol, self.power, uniform, counts
            )[0]
            self.known[n, symbol, y, x] = True
            self.exact_draws += 1

    def in_double(self, which: Counts, symbols: Counts) -> Numbers:
        """The whole network in float64 for some pictures: (n, H, W/run, parameters)."""
        if self._exact is None:
            self._exact = copy.deepcopy(cast(nn.Module, self.network)).double()
        labels = None if self.labels is None else self.labels[torch.from_numpy(which)]
        levels = self.network.sites.images(torch.from_numpy(symbols[which]))
        return _run(cast(PixelNetwork, self._exact), levels, labels)


def _run(network: PixelNetwork, levels: Tensor, labels: Tensor | None) -> Numbers:
    with torch.inference_mode():
        made = network(levels, labels).permute(0, 2, 3, 1).contiguous()
    return cast(Numbers, made.cpu().numpy())


def sample(
    network: PixelNetwork,
    noise: Tensor,
    *,
    labels: Tensor | None = None,
    temperature: float = 1.0,
    given: Given | None = None,
    sampler: Sampler = "cached",
) -> Tensor:
    """Pictures for the noise.

    Args:
        network: in evaluation mode, on the CPU.
        noise: (N, C, H, W) of `draw_noise`.
        labels: (N,) classes for a network that has some.
        temperature: below 1 sharpens every symbol's distribution, above 1 flattens it.
        given: values to keep; what is drawn depends on those before it in raster order alone.
        sampler: cached runs PixelCNN, Gated PixelCNN and PixelCNN++; naive runs every network.
    Returns:
        Levels (N, C, H, W), uint8.
    Raises:
        ValueError: shapes, levels, labels or a temperature that do not fit; a sampler that is
            unknown or cannot run this network.
    """
    check_temperature(temperature)
    if sampler not in get_args(Sampler):
        raise ValueError(f"sampler must be cached, naive or predictive, got {sampler!r}")
    canvas = _canvas(network, noise, labels, temperature, given)
    draw: dict[str, Callable[[_Canvas], None]] = {
        "cached": _draw_cached,
        "naive": _draw_naive,
        "predictive": _draw_predictive,
    }
    if len(noise):
        draw[sampler](canvas)
    return network.sites.images(torch.from_numpy(canvas.symbols)).to(torch.uint8)


def _canvas(
    network: PixelNetwork,
    noise: Tensor,
    labels: Tensor | None,
    temperature: float,
    given: Given | None,
) -> _Canvas:
    if cast(nn.Module, network).training:
        raise ValueError("the network must be in evaluation mode, got one in training mode")
    sites = network.sites
    grid = sites.of(noise).long()
    symbols = torch.zeros_like(grid)
    known = torch.zeros_like(grid, dtype=torch.bool)
    if given is not None:
        if given.levels.shape != noise.shape:
            raise ValueError(
                f"given values must be {tuple(noise.shape)}, got {tuple(given.levels.shape)}"
            )
        check_levels(given.levels, sites)
        known = sites.of(given.known)
        symbols = torch.where(known, sites.of(given.levels).long(), 0)
    return _Canvas(
        network=network,
        labels=labels,
        symbols=symbols.contiguous().numpy().copy(),
        known=known.contiguous().numpy().copy(),
        noise=grid.contiguous().numpy().copy(),
        power=1 / temperature,
    )


def _draw_naive(canvas: _Canvas) -> None:
    """Site by site, the whole network every time."""
    _, count, height, width = canvas.symbols.shape
    sequential = canvas.network.head.sequential
    code = head_code(canvas.network.head)
    for y in range(height):
        for x in range(width):
            for s in range(count):
                if s == 0 or sequential:
                    parameters = np.ascontiguousarray(canvas.parameters()[:, y, x])
                near = np.zeros(len(canvas.symbols), dtype=np.bool_)
                draw_symbol(
                    code,
                    parameters,
                    canvas.symbols,
                    canvas.known,
                    canvas.noise,
                    canvas.power,
                    s,
                    y,
                    x,
                    near,
                )
                if near.any():
                    canvas.decide(near, s, y, x)


def _draw_cached(canvas: _Canvas) -> None:
    """Site by site, every activation once."""
    batch, count, height, width = canvas.symbols.shape
    labels = None if canvas.labels is None else canvas.labels.numpy()
    stepper = Stepper(
        cast(nn.Module, canvas.network), batch=batch, height=height, width=width, labels=labels
    )
    place, end = 0, height * width * count
    near = np.zeros(batch, dtype=np.bool_)
    while True:
        place = advance(
            stepper.state(),
            stepper.output,
            canvas.network.head.sequential,
            head_code(canvas.network.head),
            canvas.symbols,
            canvas.known,
            canvas.noise,
            canvas.power,
            place,
            near,
        )
        if place == end:
            return
        site, s = divmod(place, count)
        canvas.decide(near, s, *divmod(site, width))


def _draw_predictive(canvas: _Canvas) -> None:
    """All sites at once until nothing changes any more."""
    free, code = canvas.known.copy(), head_code(canvas.network.head)
    while True:
        before = canvas.symbols.copy()
        near = np.zeros(before.shape, dtype=np.bool_)
        draw_all(
            code,
            canvas.parameters(),
            before,
            canvas.symbols,
            free,
            canvas.noise,
            canvas.power,
            near,
        )
        if near.any():
            which = np.flatnonzero(near.any(axis=(1, 2, 3)))
            settled, exact = canvas.symbols[which], canvas.in_double(which, before)
            ignored = np.zeros(settled.shape, dtype=np.bool_)
            draw_all(
                code,
                exact,
                before[which],
                settled,
                ~near[which],
                canvas.noise[which],
                canvas.power,
                ignored,
            )
            canvas.symbols[which] = settled
        if np.array_equal(before, canvas.symbols):
            return
