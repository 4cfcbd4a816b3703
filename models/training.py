"""One optimisation step and all that it needs to be taken up again: the pure part of training."""

import copy
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

Batch: TypeAlias = tuple[Tensor, ...]
Loss: TypeAlias = Callable[[nn.Module, Batch, int], dict[str, Tensor]]
"""(network, batch, step) -> the parts of the loss; "total" is what is minimised."""


class DivergedError(ArithmeticError):
    """The loss left the numbers, or the range it had; the message has the step and the cause."""


@dataclass(frozen=True, kw_only=True)
class OptimisationConfig:
    """Adam with a warm-up and half a cosine, clipped gradients, and averaged weights.

    `divergence`: training stops when the smoothed loss is so many times its lowest value.
    """

    steps: int = 20_000
    learning_rate: float = 2e-3
    warmup: int = 100
    betas: tuple[float, float] = (0.9, 0.99)
    clip: float = 1.0
    ema_decay: float = 0.999
    divergence: float = 20.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be above 0, got {self.learning_rate}")


def learning_rate_at(step: int, config: OptimisationConfig) -> float:
    """rate * 1/2 (1 + cos(pi step/steps)) * min(1, (step + 1)/warmup).

    Source: Loshchilov & Hutter 2017, arXiv:1608.03983, without restarts.
    """
    cosine = 0.5 * (1 + math.cos(math.pi * step / config.steps))
    return config.learning_rate * cosine * min(1.0, (step + 1) / max(1, config.warmup))


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """What one step did: the parts of its loss, on the device, and the gradient's norm."""

    step: int
    losses: dict[str, Tensor]
    gradient_norm: Tensor
    learning_rate: float


class Trainer:
    """A network, its averaged copy and its optimiser at some step.

    Equal states and equal batches lead to equal states, bit for bit, on a CPU in fp32.

    Args:
        network: what is trained, on its device; `average` is its exponential moving average.
        forward: the same network wrapped for several processes, if it is; else None.
        autocast: a fresh context for every forward pass.
    """

    def __init__(
        self,
        network: nn.Module,
        config: OptimisationConfig,
        loss: Loss,
        *,
        forward: nn.Module | None = None,
        autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self.network = network
        self.average = copy.deepcopy(network).requires_grad_(False)
        self.config = config
        self.step = 0
        self._loss = loss
        self._forward = network if forward is None else forward
        self._autocast = autocast
        self._trained = [p for p in network.parameters() if p.requires_grad]
        self._optimiser = torch.optim.Adam(
            self._trained, lr=config.learning_rate, betas=config.betas
        )
        self._smoothed = self._lowest = math.inf

    @property
    def finished(self) -> bool:
        return self.step >= self.config.steps

    def advance(self, batch: Batch) -> StepReport:
        """Take one step.

        Raises:
            DivergedError: the loss or the gradient is not finite, or the loss has exploded.
        """
        rate = learning_rate_at(self.step, self.config)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        # dropout draws from torch's own generator: a resumed run must draw the same
        torch.manual_seed(self.config.seed * 1_000_003 + self.step)
        self._optimiser.zero_grad(set_to_none=True)
        with self._autocast():
            losses = self._loss(self._forward, batch, self.step)
        losses["total"].backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self._trained, self.config.clip)
        report = StepReport(
            step=self.step,
            losses={name: value.detach() for name, value in losses.items()},
            gradient_norm=norm.detach(),
            learning_rate=rate,
        )
        self._check(report)
        self._optimiser.step()
        self._follow()
        self.step += 1
        return report

    def _follow(self) -> None:
        """average <- d average + (1 - d) network, d growing to `ema_decay`."""
        decay = min(self.config.ema_decay, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            own = [p.data for p in self.network.parameters()]
            torch._foreach_lerp_([p.data for p in self.average.parameters()], own, 1 - decay)
            for mean, value in zip(self.average.buffers(), self.network.buffers(), strict=True):
                mean.copy_(value)

    def _check(self, report: StepReport) -> None:
        total, norm = float(report.losses["total"]), float(report.gradient_norm)
        place = f"at step {report.step} (learning rate {report.learning_rate:.2e})"
        if not math.isfinite(total):
            parts = ", ".join(f"{k} {float(v):g}" for k, v in report.losses.items())
            raise DivergedError(f"the loss is {total} {place}: {parts}")
        if not math.isfinite(norm):
            raise DivergedError(f"the gradient's norm is {norm} {place}, the loss {total:g}")
        first = math.isinf(self._smoothed)
        self._smoothed = total if first else 0.98 * self._smoothed + 0.02 * total
        self._lowest = min(self._lowest, self._smoothed)
        if self._smoothed > self.config.divergence * self._lowest:
            raise DivergedError(
                f"the loss has grown to {self._smoothed:g} {place}, from {self._lowest:g};"
                " wanted a lower learning rate"
            )

    def state(self) -> dict[str, Any]:
        """All that `restore` needs: tensors and numbers."""
        return {
            "step": self.step,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "smoothed": self._smoothed,
            "lowest": self._lowest,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state.

        Raises:
            RuntimeError, KeyError: it is another network's.
        """
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.step = int(state["step"])
        self._smoothed, self._lowest = float(state["smoothed"]), float(state["lowest"])
