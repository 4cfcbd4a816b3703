"""Parametric chairs as numbers: what a chair is made of, drawn by a class's number, and blends.

Every style is a number from 0 (absent) to 1 (there), as are all choices, so that any two chairs
can be blended, and halfway between a pedestal and four legs both are there, half as thick.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

Color = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class ChairParameters:
    """A chair: lengths in meters, colors as RGB of 0..1, angles in degrees, styles as 0..1."""

    seat_width: float
    seat_depth: float
    seat_height: float
    seat_thickness: float
    seat_taper: float
    """Width at the back over the width at the front."""
    seat_exponent: float
    """Of the outline: 2 round, 10 square."""
    seat_bevel: float
    seat_puff: float

    back_height: float
    back_gap: float
    """Share of the back's height that a solid panel leaves open above the seat."""
    back_spread: float
    """Half width at the top over the half width at the seat."""
    back_tilt: float
    back_curve: float
    """How far the back's edges come forward, meters."""
    back_thickness: float
    back_exponent: float
    """Of a solid panel's upper corners: 2 round, 10 square."""
    solid: float
    slats: float
    slat_count: float
    slat_height: float
    spindles: float
    spindle_count: float
    spindle_radius: float
    posts: float
    post_radius: float
    spine: float
    """A flat bar in the middle, from the seat to a solid panel."""
    rail: float
    rail_height: float

    legs: float
    leg_radius: float
    leg_taper: float
    leg_splay: float
    leg_exponent: float
    stretchers: float
    stretcher_height: float
    pedestal: float
    column_radius: float
    star: float
    star_radius: float
    casters: float
    disc: float
    disc_radius: float
    sled: float
    sled_radius: float
    cantilever: float

    arms: float
    arm_height: float
    arm_reach: float
    arm_width: float
    arm_thickness: float
    arm_exponent: float
    arm_panels: float

    seat_color: Color
    back_color: Color
    frame_color: Color
    arm_color: Color


def blend(a: ChairParameters, b: ChairParameters, t: float) -> ChairParameters:
    """(1 - t) a + t b, parameter by parameter: a chair on the way from a (t 0) to b (t 1).

    Raises:
        ValueError: t is not within 0..1.
    """
    if not 0 <= t <= 1:
        raise ValueError(f"t must be 0 to 1, got {t}")
    values: dict[str, Any] = {}
    for field in fields(ChairParameters):
        x, y = getattr(a, field.name), getattr(b, field.name)
        if isinstance(x, tuple):
            values[field.name] = tuple((1 - t) * p + t * q for p, q in zip(x, y, strict=True))
        else:
            values[field.name] = (1 - t) * x + t * y
    return ChairParameters(**values)


_WOODS: tuple[Color, ...] = (
    (0.87, 0.72, 0.50),
    (0.76, 0.57, 0.36),
    (0.65, 0.42, 0.24),
    (0.50, 0.29, 0.16),
    (0.36, 0.21, 0.13),
    (0.24, 0.15, 0.11),
    (0.58, 0.22, 0.14),
    (0.80, 0.64, 0.45),
)
_METALS: tuple[Color, ...] = (
    (0.70, 0.72, 0.75),
    (0.13, 0.13, 0.15),
    (0.45, 0.46, 0.49),
    (0.75, 0.61, 0.32),
    (0.86, 0.86, 0.87),
)
_FABRICS: tuple[Color, ...] = (
    (0.78, 0.15, 0.14),
    (0.90, 0.45, 0.12),
    (0.93, 0.74, 0.18),
    (0.55, 0.68, 0.24),
    (0.17, 0.45, 0.26),
    (0.12, 0.50, 0.53),
    (0.27, 0.57, 0.80),
    (0.13, 0.23, 0.48),
    (0.42, 0.25, 0.54),
    (0.84, 0.44, 0.56),
    (0.83, 0.79, 0.71),
    (0.60, 0.57, 0.53),
    (0.33, 0.34, 0.37),
    (0.15, 0.15, 0.17),
    (0.46, 0.30, 0.20),
    (0.86, 0.86, 0.84),
)


class _Draws:
    """Numbers drawn one after the other. Plain class: the generator is its state."""

    def __init__(self, generator: np.random.Generator) -> None:
        self._generator = generator

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * float(self._generator.random())

    def chance(self, share: float) -> float:
        """1 or 0."""
        return float(self._generator.random() < share)

    def whole(self, low: int, high: int) -> float:
        """A whole number, both ends included."""
        return float(low + int(self._generator.random() * (high - low + 1)))

    def one_of(self, shares: tuple[float, ...]) -> int:
        return int(np.searchsorted(np.cumsum(shares), self._generator.random() * sum(shares)))

    def color(self, palette: tuple[Color, ...], spread: float = 0.12) -> Color:
        """One of a palette, darker or lighter, its channels a little apart."""
        red, green, blue = palette[int(self._generator.random() * len(palette))]
        light = 1 + self.between(-spread, spread)
        jitter = [self.between(-0.03, 0.03) for _ in range(3)]
        levels = [c * light + j for c, j in zip((red, green, blue), jitter, strict=True)]
        return (_level(levels[0]), _level(levels[1]), _level(levels[2]))


def _level(value: float) -> float:
    return min(max(value, 0.06), 0.92)


def chair_parameters(number: int, seed: int) -> ChairParameters:
    """The chair of a class: always the same one for the same number and seed.

    Args:
        number: of the class, from 0.
        seed: of the whole set of chairs, from 0.
    Raises:
        ValueError: either is negative.
    """
    if number < 0 or seed < 0:
        raise ValueError(f"number and seed must be at least 0, got {number} and {seed}")
    draws = _Draws(np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, number)))))
    base = draws.one_of((0.52, 0.18, 0.10, 0.20))  # legs, star, disc, sled
    back = draws.one_of((0.50, 0.25, 0.25))  # solid, slats, spindles
    seat = _draw_seat(draws)
    values = seat | _draw_back(draws, back) | _draw_base(draws, base, seat)
    values |= _draw_arms(draws, back)
    return ChairParameters(**values, **_draw_colors(draws, base, back))


def _draw_seat(draws: _Draws) -> dict[str, Any]:
    upholstered = draws.chance(0.45)
    round_seat = draws.chance(0.25)
    thickness = draws.between(0.07, 0.16) if upholstered else draws.between(0.022, 0.05)
    return {
        "seat_width": draws.between(0.38, 0.60),
        "seat_depth": draws.between(0.38, 0.55),
        "seat_height": draws.between(0.40, 0.54),
        "seat_thickness": thickness,
        "seat_taper": draws.between(0.76, 1.0),
        "seat_exponent": draws.between(2.0, 2.8) if round_seat else draws.between(4.0, 10.0),
        "seat_bevel": draws.between(0.2, 0.45),
        "seat_puff": upholstered * draws.between(0.0, 0.05),
    }


def _draw_back(draws: _Draws, style: int) -> dict[str, Any]:
    solid, slats, spindles = (float(style == k) for k in range(3))
    padded = solid * draws.chance(0.5)
    gap = draws.chance(0.5) * draws.between(0.1, 0.4)
    exponent = draws.between(2.0, 3.2) if draws.chance(0.5) else draws.between(5.0, 10.0)
    framed = draws.chance(0.5) * (1 - padded) * float(exponent > 4)
    return {
        "solid": solid,
        "slats": slats,
        "spindles": spindles,
        "back_height": draws.between(0.26, 0.68),
        "back_gap": gap,
        "back_spread": draws.between(0.75, 1.15),
        "back_tilt": draws.between(3.0, 20.0),
        "back_curve": draws.chance(0.6) * draws.between(0.02, 0.16),
        "back_thickness": draws.between(0.06, 0.12) if padded else draws.between(0.02, 0.035),
        "back_exponent": exponent,
        "slat_count": draws.whole(2, 6),
        "slat_height": draws.between(0.25, 0.7),
        "spindle_count": draws.whole(3, 9),
        "spindle_radius": draws.between(0.006, 0.013),
        "posts": max(slats, spindles, framed),
        "spine": solid * float(gap > 0) * (1 - framed),
        "post_radius": draws.between(0.012, 0.022),
        "rail": max(spindles, slats),
        "rail_height": draws.between(0.016, 0.06),
    }


def _draw_base(draws: _Draws, style: int, seat: dict[str, float]) -> dict[str, Any]:
    reach = min(seat["seat_width"], seat["seat_depth"]) / 2
    square = draws.chance(0.5)
    return {
        "legs": float(style == 0),
        "leg_radius": draws.between(0.014, 0.034),
        "leg_taper": draws.between(0.4, 1.0),
        "leg_splay": draws.chance(0.65) * draws.between(0.02, 0.12),
        "leg_exponent": draws.between(6.0, 10.0) if square else 2.0,
        "stretchers": draws.chance(0.45),
        "stretcher_height": draws.between(0.2, 0.6),
        "pedestal": float(style in (1, 2)),
        "column_radius": draws.between(0.022, 0.045),
        "star": float(style == 1),
        "star_radius": reach * draws.between(0.95, 1.25),
        "casters": draws.chance(0.6),
        "disc": float(style == 2),
        "disc_radius": reach * draws.between(0.75, 1.05),
        "sled": float(style == 3),
        "sled_radius": draws.between(0.010, 0.018),
        "cantilever": draws.chance(0.5),
    }


def _draw_arms(draws: _Draws, back: int) -> dict[str, Any]:
    arms = draws.chance(0.42)
    return {
        "arms": arms,
        "arm_height": draws.between(0.16, 0.27),
        "arm_reach": draws.between(0.45, 0.95),
        "arm_width": draws.between(0.012, 0.038),
        "arm_thickness": draws.between(0.010, 0.018),
        "arm_exponent": draws.between(2.0, 10.0),
        "arm_panels": arms * float(back == 0) * draws.chance(0.45),
    }


def _draw_colors(draws: _Draws, base: int, back: int) -> dict[str, Any]:
    wooden = draws.chance(0.8) if base == 0 else 0.0
    frame = draws.color(_WOODS if wooden else _METALS)
    fabric, other = draws.color(_FABRICS), draws.color(_FABRICS)
    own_seat = draws.chance(0.6 if wooden else 0.75)
    seat = fabric if own_seat else (frame if wooden else draws.color(_WOODS))
    alike, two_colors = draws.chance(0.75), draws.chance(0.15)
    if back == 0:
        shown = other if two_colors else (seat if alike else frame)
    else:
        shown = frame if alike else seat
    arm = draws.chance(0.5)
    return {
        "seat_color": seat,
        "back_color": shown,
        "frame_color": frame,
        "arm_color": frame if arm else shown,
    }
