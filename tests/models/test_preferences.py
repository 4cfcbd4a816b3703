"""Wilson's interval: its published values, and its laws."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.preferences import win_rate


def test_values_by_hand() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3: 81 of 263, 0 of 20, 1 of 29
    for wins, decided, low, high in (
        (81, 263, 0.2553, 0.3662),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        found = win_rate(wins, decided)
        assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(0, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_it_holds_the_rate_and_mirrors_with_the_other_side(counts: tuple[int, int]) -> None:
    wins, decided = counts
    found, other = win_rate(wins, decided), win_rate(decided - wins, decided)
    assert 0 <= found.low <= found.high <= 1
    assert found.low == pytest.approx(1 - other.high, abs=1e-9)
    if decided:
        assert found.low - 1e-12 <= found.rate <= found.high + 1e-12
        more = win_rate(4 * wins, 4 * decided)
        assert more.high - more.low < found.high - found.low


def test_without_a_decision_anything_is_possible() -> None:
    found = win_rate(0, 0)
    assert (found.low, found.high, math.isnan(found.rate)) == (0, 1, True)


def test_more_wins_than_choices_are_refused() -> None:
    with pytest.raises(ValueError, match="0 to 3"):
        win_rate(4, 3)
