"""What a pixel model's last layer means: how its numbers become probabilities of levels.

A head has the number of a site's `parameters`, whether the network must be `sequential` (the
parameters of a symbol depend on the site's earlier symbols through masks, so that sampling runs
the site once per symbol), and the likelihood.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from models.logistic_mixture import mixture_log_likelihood, mixture_parameters
from models.pixel_sites import Sites

_JOINT_LIMIT = 256


class Head(Protocol):
    """What the likelihood, the sampler and the coder ask of a head."""

    @property
    def sites(self) -> Sites: ...
    @property
    def parameters(self) -> int: ...
    @property
    def sequential(self) -> bool: ...
    def log_likelihood(self, parameters: Tensor, symbols: Tensor, /) -> Tensor: ...


@dataclass(frozen=True, kw_only=True)
class SoftmaxHead:
    """A softmax over the levels for each symbol; for two levels one logit, of level 1.

    Parameters of a site: symbol-major, (symbols, levels), or (symbols,) for two levels.
    """

    sites: Sites

    @property
    def parameters(self) -> int:
        return self.sites.symbols * self.logits

    @property
    def logits(self) -> int:
        """Numbers a symbol."""
        return 1 if self.sites.levels == 2 else self.sites.levels

    @property
    def sequential(self) -> bool:
        return self.sites.symbols > 1

    def log_likelihood(self, parameters: Tensor, symbols: Tensor, /) -> Tensor:
        """(N, parameters, H, W), (N, symbols, H, W) -> nats (N, H, W), all symbols of a site."""
        if self.logits == 1:
            sign = symbols.to(parameters.dtype) * 2 - 1
            return F.logsigmoid(parameters * sign).sum(1)
        n, _, h, w = parameters.shape
        logits = parameters.reshape(n, self.sites.symbols, self.logits, h, w)
        chosen = logits.gather(2, symbols.long()[:, :, None])[:, :, 0]
        return (chosen - logits.logsumexp(2)).sum(1)


@dataclass(frozen=True, kw_only=True)
class JointHead:
    """One softmax over all combinations of a site's symbols; the first symbol is the highest digit.

    Exact within a site without masks, for sites of few and coarse values: a run of 4 binary
    pixels has 16 combinations.
    """

    sites: Sites

    def __post_init__(self) -> None:
        if self.parameters > _JOINT_LIMIT:
            raise ValueError(
                f"a site must have at most {_JOINT_LIMIT} combinations of values,"
                f" got {self.sites.levels}^{self.sites.symbols}"
            )

    @property
    def parameters(self) -> int:
        return int(self.sites.levels**self.sites.symbols)

    @property
    def sequential(self) -> bool:
        return False

    def log_likelihood(self, parameters: Tensor, symbols: Tensor, /) -> Tensor:
        """(N, parameters, H, W), (N, symbols, H, W) -> nats (N, H, W)."""
        place = self.sites.levels ** torch.arange(self.sites.symbols - 1, -1, -1)
        place = place.to(symbols.device).view(1, -1, 1, 1)
        index = (symbols.long() * place).sum(1)
        return -F.cross_entropy(parameters, index, reduction="none")


@dataclass(frozen=True, kw_only=True)
class MixtureHead:
    """A mixture of discretised logistics over a whole pixel: see `models.logistic_mixture`."""

    sites: Sites
    mixtures: int = 10

    def __post_init__(self) -> None:
        if self.mixtures < 1:
            raise ValueError(f"mixtures must be at least 1, got {self.mixtures}")
        if self.sites.symbols not in (1, 3):
            raise ValueError(f"a mixture needs 1 or 3 values a site, got {self.sites.symbols}")

    @property
    def parameters(self) -> int:
        return mixture_parameters(self.sites.symbols, self.mixtures)

    @property
    def sequential(self) -> bool:
        return False

    def log_likelihood(self, parameters: Tensor, symbols: Tensor, /) -> Tensor:
        """(N, parameters, H, W), (N, symbols, H, W) -> nats (N, H, W)."""
        return mixture_log_likelihood(
            parameters, symbols, levels=self.sites.levels, mixtures=self.mixtures
        )
