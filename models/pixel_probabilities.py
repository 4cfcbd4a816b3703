"""From a head's parameters to integer probabilities of the next symbol: one way for all users.

The samplers and the coder both read cumulative counts out of 2^24: level v has the counts
c[v] <= n < c[v + 1], at least one each,

    c[v] = floor((2^24 - L) F(v)) + v,    F the model's distribution function, exact in float64.

A draw is the level that holds a uniform integer of 0..2^24 - 1, so that equal noise gives equal
pictures however the parameters were computed; but two ways of computing differ in the last bits
of float32, and a uniform may fall between. Draws nearer than `AMBIGUOUS` counts to a boundary are
therefore flagged, and the samplers decide those with the network in float64.
"""

from typing import Any, TypeAlias

import numba as nb
import numpy as np
import numpy.typing as npt

from models.logistic_mixture import MIN_LOG_SCALE
from models.pixel_heads import Head, JointHead, MixtureHead, SoftmaxHead

Counts: TypeAlias = npt.NDArray[np.int64]
Numbers: TypeAlias = npt.NDArray[np.floating[Any]]

PRECISION = 24
TOTAL = 1 << PRECISION
AMBIGUOUS = 64
"""Counts: 4e-6 of probability; float32 paths through our networks differ by about 1e-7."""

_SOFTMAX, _JOINT, _MIXTURE = 0, 1, 2


def head_code(head: Head) -> tuple[int, int, int, int]:
    """(kind, symbols, levels, mixtures) for the compiled functions.

    Raises:
        ValueError: an unknown head.
    """
    sites = head.sites
    if isinstance(head, SoftmaxHead):
        return _SOFTMAX, sites.symbols, sites.levels, 0
    if isinstance(head, JointHead):
        return _JOINT, sites.symbols, sites.levels, 0
    if isinstance(head, MixtureHead):
        return _MIXTURE, sites.symbols, sites.levels, head.mixtures
    raise ValueError(f"a {type(head).__name__} has no integer probabilities")


def quantised_probabilities(
    head: Head, parameters: Numbers, symbol: int, earlier: Counts, *, temperature: float = 1.0
) -> Counts:
    """Cumulative counts of a site's next symbol for a batch.

    Args:
        parameters: (N, parameters) of the site.
        symbol: which of the site's symbols.
        earlier: (N, symbols) levels; the first `symbol` of them are read.
        temperature: probabilities are raised to 1/temperature, each symbol's on its own.
    Returns:
        (N, levels + 1), from 0 to 2^24, strictly increasing.
    """
    check_temperature(temperature)
    code = head_code(head)
    counts = np.empty((len(parameters), code[2] + 1), dtype=np.int64)
    for n in range(len(parameters)):
        cumulative_counts(code, parameters[n], earlier[n], symbol, 1 / temperature, counts[n])
    return counts


def check_temperature(temperature: float) -> None:
    """Raises ValueError: it is not above 0."""
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")


@nb.njit(cache=True, nogil=True, error_model="numpy")
def cumulative_counts(
    code: tuple[int, int, int, int],
    parameters: Numbers,
    earlier: Counts,
    symbol: int,
    power: float,
    counts: Counts,
) -> None:
    """counts <- c of one symbol of one site; see `quantised_probabilities`."""
    kind, symbols, levels, _ = code
    p = np.empty(levels, dtype=np.float64)
    if kind == _SOFTMAX:
        _softmax(parameters, symbol, levels, p)
    elif kind == _JOINT:
        _joint(parameters, earlier, symbol, symbols, levels, p)
    else:
        _mixture(code, parameters, earlier, symbol, p)
    if power != 1.0:
        top = p.max()
        for v in range(levels):
            p[v] = (p[v] / top) ** power if p[v] > 0 else 0.0
    whole = 0.0
    for v in range(levels):
        whole += p[v]
    below, scale = 0.0, (TOTAL - levels) / whole
    for v in range(levels):
        counts[v] = np.int64(min(below * scale, float(TOTAL - levels))) + v
        below += p[v]
    counts[levels] = TOTAL


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _softmax(parameters: Numbers, symbol: int, levels: int, p: Numbers) -> None:
    if levels == 2:
        p[1] = 1 / (1 + np.exp(-np.float64(parameters[symbol])))
        p[0] = 1 / (1 + np.exp(np.float64(parameters[symbol])))
        return
    start = symbol * levels
    top = np.float64(parameters[start])
    for v in range(levels):
        top = max(top, np.float64(parameters[start + v]))
    for v in range(levels):
        p[v] = np.exp(np.float64(parameters[start + v]) - top)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _joint(
    parameters: Numbers, earlier: Counts, symbol: int, symbols: int, levels: int, p: Numbers
) -> None:
    """Sums over the symbols still to come, the earlier ones given."""
    first = 0
    for s in range(symbol):
        first = first * levels + earlier[s]
    after = levels ** (symbols - symbol - 1)
    start = first * levels * after
    top = np.float64(parameters[start])
    for i in range(levels * after):
        top = max(top, np.float64(parameters[start + i]))
    for v in range(levels):
        p[v] = 0.0
        for i in range(after):
            p[v] += np.exp(np.float64(parameters[start + v * after + i]) - top)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _components(
    code: tuple[int, int, int, int], parameters: Numbers, earlier: Counts, symbol: int
) -> Numbers:
    """(3, mixtures): weights after the site's earlier symbols, means, inverse scales."""
    _, symbols, levels, mixtures = code
    each = 2 * symbols + (3 if symbols == 3 else 0)
    made = np.empty((3, mixtures), dtype=np.float64)
    for k in range(mixtures):
        start = mixtures + k * each
        made[0, k] = parameters[k]
        for s in range(symbol + 1):
            mean = _mean(parameters, start, earlier, s, symbols, levels)
            scale = max(np.float64(parameters[start + symbols + s]), MIN_LOG_SCALE)
            made[1, k], made[2, k] = mean, np.exp(-scale)
            if s < symbol:
                made[0, k] += _log_mass(earlier[s], mean, made[2, k], levels)
    top, whole = made[0].max(), 0.0
    for k in range(mixtures):
        made[0, k] = np.exp(made[0, k] - top)
        whole += made[0, k]
    made[0] /= whole
    return made


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _mixture(
    code: tuple[int, int, int, int],
    parameters: Numbers,
    earlier: Counts,
    symbol: int,
    p: Numbers,
) -> None:
    """sum_k w_k p_k(v)."""
    levels, mixtures = code[2], code[3]
    parts = _components(code, parameters, earlier, symbol)
    p[:] = 0.0
    above = np.empty(levels + 1, dtype=np.float64)
    for k in range(mixtures):
        _distribution(parts[1, k], parts[2, k], levels, above)
        for v in range(levels):
            p[v] += parts[0, k] * (above[v + 1] - above[v])


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _mixture_count(parts: Numbers, level: int, levels: int) -> int:
    """c of one level, from the distribution function alone."""
    if level == 0 or level == levels:
        return TOTAL if level else 0
    boundary = (level - 0.5) * 2 / (levels - 1) - 1
    below = 0.0
    for k in range(parts.shape[1]):
        below += parts[0, k] / (1 + np.exp(-(boundary - parts[1, k]) * parts[2, k]))
    return int(min(below, 1.0) * (TOTAL - levels)) + level


@nb.njit(cache=True, nogil=True, error_model="numpy")
def draw_one(
    code: tuple[int, int, int, int],
    parameters: Numbers,
    earlier: Counts,
    symbol: int,
    power: float,
    uniform: int,
    counts: Counts,
) -> tuple[int, bool]:
    """(level of a symbol that holds the uniform, whether it lies near a boundary).

    A mixture is searched by halves without the counts of all levels; `counts` is room for those.
    """
    levels = code[2]
    if code[0] != _MIXTURE or power != 1.0:
        cumulative_counts(code, parameters, earlier, symbol, power, counts)
        return drawn(counts, uniform, levels)
    parts = _components(code, parameters, earlier, symbol)
    low, high, under, over = 0, levels, 0, TOTAL
    while high - low > 1:
        middle = (low + high) // 2
        count = _mixture_count(parts, middle, levels)
        if count <= uniform:
            low, under = middle, count
        else:
            high, over = middle, count
    return low, _near(low, under, over, uniform, levels)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _mean(
    parameters: Numbers, start: int, earlier: Counts, symbol: int, symbols: int, levels: int
) -> float:
    mean = np.float64(parameters[start + symbol])
    step = 2.0 / (levels - 1)
    if symbols == 3 and symbol == 1:
        mean += np.tanh(np.float64(parameters[start + 6])) * (earlier[0] * step - 1)
    elif symbols == 3 and symbol == 2:
        mean += np.tanh(np.float64(parameters[start + 7])) * (earlier[0] * step - 1)
        mean += np.tanh(np.float64(parameters[start + 8])) * (earlier[1] * step - 1)
    return float(mean)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _log_sigmoid(x: float) -> float:
    return float(min(x, 0.0) - np.log1p(np.exp(-abs(x))))


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _log_mass(level: int, mean: float, inverse: float, levels: int) -> float:
    half = 1.0 / (levels - 1)
    centred = level * 2 * half - 1 - mean
    upper, lower = inverse * (centred + half), inverse * (centred - half)
    if level == 0:
        return float(_log_sigmoid(upper))
    if level == levels - 1:
        return float(_log_sigmoid(-lower))
    inside = np.log(-np.expm1(-2 * half * inverse))
    return float(_log_sigmoid(upper) + _log_sigmoid(-lower) + inside)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _distribution(mean: float, inverse: float, levels: int, above: Numbers) -> None:
    """above[v] <- sigma((b_v - mean)/s) at the lower boundary b_v of level v; 0 and 1 outside.

    Boundaries are equally apart, so that exp(-(b - mean)/s) is a geometric sequence, taken from
    the boundary nearest to the mean both ways: it ends in 0 or infinity, and never in 0/0.
    """
    step = 2.0 / (levels - 1)
    near = np.int64(min(max(np.floor((mean + 1) / step + 1), 1.0), levels - 1.0))
    middle = np.exp(-((near - 0.5) * step - 1 - mean) * inverse)
    ratio = np.exp(-step * inverse)
    above[0], above[levels] = 0.0, 1.0
    e = middle
    for v in range(near, levels):
        above[v] = e
        e *= ratio
    e = middle
    for v in range(near - 1, 0, -1):
        e /= ratio
        above[v] = e
    for v in range(1, levels):
        above[v] = 1 / (1 + above[v])


@nb.njit(cache=True, nogil=True)
def drawn(counts: Counts, uniform: int, levels: int) -> tuple[int, bool]:
    """(level that holds the uniform, whether it lies near a boundary)."""
    low, high = 0, levels
    while high - low > 1:
        middle = (low + high) // 2
        if counts[middle] <= uniform:
            low = middle
        else:
            high = middle
    return low, _near(low, counts[low], counts[low + 1], uniform, levels)


@nb.njit(cache=True, nogil=True)
def _near(level: int, under: int, over: int, uniform: int, levels: int) -> bool:
    """Whether a boundary that may move, none at the ends, is as near as AMBIGUOUS counts."""
    below = level > 0 and uniform - under < AMBIGUOUS
    return below or (level < levels - 1 and over - uniform <= AMBIGUOUS)
