"""What blind choices between two say, and how sure it is."""

from dataclasses import dataclass
from math import sqrt

_Z95 = 1.959963984540054


@dataclass(frozen=True, kw_only=True)
class WinRate:
    """Wins among decided choices, and the 95 % interval that the true rate lies in; 0..1."""

    wins: int
    decided: int
    rate: float
    low: float
    high: float


def win_rate(wins: int, decided: int) -> WinRate:
    """The share of wins with Wilson's 95 % interval, which holds for few choices and for 0 or all.

    Raises:
        ValueError: wins are not among the decided.
    """
    if not 0 <= wins <= decided:
        raise ValueError(f"wins must be 0 to {decided}, the decided choices, got {wins}")
    if decided == 0:
        return WinRate(wins=0, decided=0, rate=float("nan"), low=0.0, high=1.0)
    rate, z2 = wins / decided, _Z95**2
    middle = (rate + z2 / (2 * decided)) / (1 + z2 / decided)
    half = _Z95 * sqrt(rate * (1 - rate) / decided + z2 / (4 * decided**2)) / (1 + z2 / decided)
    return WinRate(
        wins=wins,
        decided=decided,
        rate=rate,
        low=max(0.0, middle - half),
        high=min(1.0, middle + half),
    )
