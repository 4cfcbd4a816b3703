"""Pictures as the unknowns of an optimisation: L-BFGS over pixels that stay within 0..1.

Source: Liu & Nocedal 1989, "On the limited memory BFGS method", as Gatys et al. 2015 use it for
pictures (arXiv:1505.07376). Differs: pixels are held in 0..1 as in the projected quasi-Newton
method of Bertsekas 1982 (a pixel that is at its bound and would leave is out of the step), and a
step is halved until it lowers the loss, which one evaluation an iteration nearly always settles.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor

Objective: TypeAlias = Callable[[Tensor], dict[str, Tensor]]
"""(1, 3, H, W) in 0..1 -> the parts of the loss, scalars; "total" is minimised."""
LossProgress: TypeAlias = Callable[[int, dict[str, float]], None]
"""Told the iteration, from 0, and the losses before it; what it raises stops the optimisation."""

_Told = TypeVar("_Told")

_SUFFICIENT = 1e-4  # Armijo's share of the decrease that the gradient promises
_FIRST_STEP = 0.02  # root mean square of the first step, in units of 0..1
_MOST_HALVINGS = 12
_MOST_HISTORY_VALUES = 2**28  # 1 GiB of floats


class NoDescentError(ArithmeticError):
    """The loss is not a number where the optimisation begins; the message has its parts."""


@dataclass(frozen=True, kw_only=True)
class PixelOptimisationConfig:
    """How long, and with what memory.

    iterations: of L-BFGS. history: pairs of steps and gradient changes kept; fewer, but at least
    2, where they would take more than 1 GiB. tolerance: stop where the total falls below it.

    Raises:
        ValueError: a value is out of its range.
    """

    iterations: int = 500
    history: int = 20
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        if self.iterations < 0:
            raise ValueError(f"iterations must be at least 0, got {self.iterations}")
        if not 1 <= self.history <= 1000:
            raise ValueError(f"history must be 1 to 1000, got {self.history}")
        if not 0 <= self.tolerance < math.inf:
            raise ValueError(f"tolerance must be at least 0, got {self.tolerance}")


def optimise_pixels(
    start: Tensor,
    objective: Objective,
    config: PixelOptimisationConfig,
    *,
    progress: LossProgress | None = None,
    on_picture: Callable[[int, Tensor], None] | None = None,
) -> Tensor:
    """Lower the objective's total over the pixels.

    Every step lowers it, so the last picture is the best. Ends early where no step does.

    Args:
        start: (1, C, H, W), any range; begins clamped to 0..1.
        progress: called before every iteration and once after the last.
        on_picture: called beside it, with the picture; it must not keep or change the tensor.
    Returns:
        (1, C, H, W) in 0..1, without a gradient.
    Raises:
        ValueError: start is of another shape.
        NoDescentError: the loss at the start is not finite.
    """
    if start.ndim != 4 or start.shape[0] != 1 or start.numel() == 0:
        raise ValueError(f"start must be (1, C, H, W), got {tuple(start.shape)}")
    fits = max(2, _MOST_HISTORY_VALUES // (2 * start.numel()))
    curvature = _Curvature(min(config.history, fits))
    point = _evaluate(start.detach().float().clamp(0, 1), objective)
    if not math.isfinite(point.losses["total"]):
        raise NoDescentError(f"the loss is not finite at the start: {point.losses}")
    for iteration in range(config.iterations + 1):
        if progress:
            progress(iteration, point.losses)
        if on_picture:
            on_picture(iteration, point.pixels)
        if iteration == config.iterations or point.losses["total"] <= config.tolerance:
            break
        reached = _step(point, objective, curvature)
        if reached is None:
            break
        curvature.add(reached.pixels - point.pixels, reached.gradient - point.gradient)
        point = reached
    return point.pixels


@dataclass(frozen=True, kw_only=True, eq=False)
class _Point:
    pixels: Tensor
    losses: dict[str, float]
    gradient: Tensor


def _evaluate(pixels: Tensor, objective: Objective) -> _Point:
    unknown = pixels.clone().requires_grad_()
    with torch.enable_grad():
        parts = objective(unknown)
        (gradient,) = torch.autograd.grad(parts["total"], unknown)
    losses = {name: float(value.detach()) for name, value in parts.items()}
    return _Point(pixels=pixels, losses=losses, gradient=gradient)


def _step(point: _Point, objective: Objective, curvature: "_Curvature") -> _Point | None:
    """The next point, with a lower total; None where there is none along either direction."""
    out = ((point.pixels <= 0) & (point.gradient > 0)) | (
        (point.pixels >= 1) & (point.gradient < 0)
    )
    slope = point.gradient.masked_fill(out, 0)
    if not bool(slope.any()):
        return None
    while True:
        steepest = not curvature.pairs
        direction = curvature.direction(slope).masked_fill_(out, 0)
        if steepest:
            direction *= _FIRST_STEP / direction.square().mean().sqrt()
        if steepest or float((direction * slope).sum()) < 0:
            reached = _search(point, direction, objective)
            if reached is not None or steepest:
                return reached
        curvature.pairs.clear()


def _search(point: _Point, direction: Tensor, objective: Objective) -> _Point | None:
    share, total = 1.0, point.losses["total"]
    for _ in range(_MOST_HALVINGS):
        pixels = (point.pixels + share * direction).clamp_(0, 1)
        promised = float((point.gradient * (pixels - point.pixels)).sum())
        if promised >= 0:
            return None
        reached = _evaluate(pixels, objective)
        # below by itself, too: near the end the promise is lost in the rounding of the total
        if reached.losses["total"] < total and (
            reached.losses["total"] <= total + _SUFFICIENT * promised
        ):
            return reached
        share /= 2
    return None


class _Curvature:
    """The last pairs (s, y) of steps and gradient changes, and 1 / (s y)."""

    def __init__(self, most: int) -> None:
        self.pairs: deque[tuple[Tensor, Tensor, float]] = deque(maxlen=most)

    def add(self, step: Tensor, change: Tensor) -> None:
        """Keep a pair along which the loss curves up; the others would spoil the estimate."""
        product = float((step * change).sum())
        if product > 1e-10 * float(step.norm() * change.norm()):
            self.pairs.append((step, change, 1 / product))

    def direction(self, gradient: Tensor) -> Tensor:
        """-H g by the two-loop recursion; H is s y / y y times one to begin with."""
        q = gradient.neg()
        shares = []
        for step, change, inverse in reversed(self.pairs):
            shares.append(inverse * float((step * q).sum()))
            q.sub_(change, alpha=shares[-1])
        if self.pairs:
            _, change, inverse = self.pairs[-1]
            q.div_(inverse * float(change.square().sum()))
        for (step, change, inverse), share in zip(self.pairs, reversed(shares), strict=True):
            q.add_(step, alpha=share - inverse * float((change * q).sum()))
        return q


def counted_from(
    progress: Callable[[int, _Told], None] | None, first: int, until: int | None
) -> Callable[[int, _Told], None] | None:
    """Progress, or `on_picture`, of one of several optimisations in a row, counted from `first`.

    until: the iteration of its own from which the next one tells instead; None for the last.
    """
    if progress is None:
        return None
    told = progress

    def shifted(iteration: int, what: _Told) -> None:
        if until is None or iteration < until:
            told(first + iteration, what)

    return shifted
