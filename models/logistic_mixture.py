"""The discretised logistic mixture of PixelCNN++ (Salimans et al. 2017, arXiv:1701.05517).

For K components and values on a grid of L levels, scaled to -1..1 (step d = 2/(L-1)):

    p(r, g, b) = sum_k pi_k p(r; m_r, s_r) p(g; m_g + a r, s_g) p(b; m_b + b r + c g, s_b)
    p(x; m, s) = sigma((x + d/2 - m)/s) - sigma((x - d/2 - m)/s)

where the lowest and the highest level take the open tails. Parameters of a pixel, in this order:
K logits of pi, and for each component, component-major, `symbols` means, `symbols` log scales
(at least -7), and for three symbols the coefficients a, b, c before their tanh.
Exact for all values: where the difference of sigmas would vanish, it is taken as
sigma(u) sigma(-l) (1 - exp(l - u)), with no approximation by the density as in the authors' code.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

MIN_LOG_SCALE = -7.0


def mixture_parameters(symbols: int, mixtures: int) -> int:
    """Numbers a pixel: K (1 + 2 symbols + 3 if colour); 100 for colour and K = 10."""
    return mixtures * (1 + 2 * symbols + (3 if symbols == 3 else 0))


def mixture_log_likelihood(
    parameters: Tensor, symbols: Tensor, *, levels: int, mixtures: int
) -> Tensor:
    """log p of whole pixels, nats.

    Args:
        parameters: (N, K (1 + 2 S + 3), H, W).
        symbols: levels (N, S, H, W); S is 1 or 3.
    Returns:
        (N, H, W).
    """
    n, count, h, w = symbols.shape
    logits = parameters[:, :mixtures]
    rest = parameters[:, mixtures:].reshape(n, mixtures, -1, h, w)
    means, log_scales = rest[:, :, :count], rest[:, :, count : 2 * count]
    x = symbols.to(parameters.dtype) * (2 / (levels - 1)) - 1
    if count == 3:
        a = torch.tanh(rest[:, :, 6:])
        red, green = x[:, None, 0], x[:, None, 1]
        means = torch.stack(
            [
                means[:, :, 0],
                means[:, :, 1] + a[:, :, 0] * red,
                means[:, :, 2] + a[:, :, 1] * red + a[:, :, 2] * green,
            ],
            dim=2,
        )
    parts = logistic_log_mass(x[:, None], means, log_scales, levels=levels).sum(2)
    return torch.logsumexp(F.log_softmax(logits, 1) + parts, 1)


def logistic_log_mass(x: Tensor, mean: Tensor, log_scale: Tensor, *, levels: int) -> Tensor:
    """log of a logistic's mass on the bin of x, a level scaled to -1..1; edge bins are open."""
    half = 1 / (levels - 1)
    inverse = torch.exp(-log_scale.clamp(min=MIN_LOG_SCALE))
    centred = x - mean
    upper, lower = inverse * (centred + half), inverse * (centred - half)
    # sigma(u) - sigma(l) = sigma(u) sigma(-l) (1 - e^(l - u)), and u - l = 2 half/s
    inner = (
        F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(-2 * half * inverse))
    )
    lowest, highest = x < -1 + half, x > 1 - half
    return torch.where(
        lowest, F.logsigmoid(upper), torch.where(highest, F.logsigmoid(-lower), inner)
    )
