"""A linear probe: what a linear classifier makes of features, as a measure of what they hold."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class ProbeScore:
    """Shares of pictures that are classified rightly, 0..1."""

    train: float
    test: float
    classes: int
    features: int


def linear_probe(
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    *,
    penalty: float = 1e-3,
    iterations: int = 100,
) -> ProbeScore:
    """Logistic regression by L-BFGS on standardised features.

    Args:
        train, test: features (N, D) and labels (N,), integers from 0 on.
        penalty: half of it times the sum of squared weights, a class, is added to the mean loss.
    Raises:
        ValueError: no picture, other shapes, or fewer than two classes.
    """
    x, y = train
    for features, labels in (train, test):
        if features.ndim != 2 or not len(features) or len(features) != len(labels):
            raise ValueError(
                "a probe needs features (N, D) and as many labels, got"
                f" {tuple(features.shape)} and {tuple(labels.shape)}"
            )
    classes = int(torch.cat([y, test[1]]).max()) + 1
    if bool((y == y[0]).all()):
        raise ValueError(f"a probe needs at least two classes to train on, got {int(y[0])} alone")
    mean, deviation = x.mean(0), x.std(0, unbiased=False)
    # a feature that never changes says nothing, and must not be divided by
    scale = torch.where(deviation > 1e-6, 1 / deviation.clamp(min=1e-6), 0)
    x = (x - mean) * scale
    weights = _fitted(x, y, classes, penalty, iterations)
    return ProbeScore(
        train=_right(x, y, weights),
        test=_right((test[0] - mean) * scale, test[1], weights),
        classes=classes,
        features=x.shape[1],
    )


def _fitted(x: Tensor, y: Tensor, classes: int, penalty: float, iterations: int) -> Tensor:
    """Weights (D + 1, classes), the last row the biases."""
    with torch.inference_mode(False), torch.enable_grad():
        weights = torch.zeros(x.shape[1] + 1, classes, requires_grad=True)
        optimiser = torch.optim.LBFGS(
            [weights], max_iter=iterations, history_size=10, line_search_fn="strong_wolfe"
        )

        def loss() -> Tensor:
            optimiser.zero_grad()
            value = F.cross_entropy(x @ weights[:-1] + weights[-1], y)
            value = value + penalty / 2 * weights[:-1].square().sum() / classes
            value.backward()  # type: ignore[no-untyped-call]
            return value

        optimiser.step(loss)  # type: ignore[no-untyped-call]
    return weights.detach()


def _right(x: Tensor, y: Tensor, weights: Tensor) -> float:
    return float(((x @ weights[:-1] + weights[-1]).argmax(1) == y).float().mean())
