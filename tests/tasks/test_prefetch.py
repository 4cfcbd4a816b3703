"""What is made ahead comes in order, once, and its errors at their turn."""

import threading
import time

import pytest

from tasks.prefetch import prefetched


def test_everything_comes_once_and_in_order() -> None:
    def slow_when_even(n: int) -> int:
        time.sleep(0.002 * (n % 2 == 0))
        return n * n

    made = prefetched(slow_when_even, range(3, 40), workers=4, ahead=6)
    assert list(made) == [n * n for n in range(3, 40)]


def test_no_more_is_made_than_so_many_ahead() -> None:
    made: list[int] = []
    lock = threading.Lock()

    def note(n: int) -> int:
        with lock:
            made.append(n)
        return n

    stream = prefetched(note, range(100), workers=2, ahead=4)
    for wanted in range(10):
        assert next(stream) == wanted
        assert max(made) <= wanted + 5
    stream.close()  # type: ignore[attr-defined]


def test_an_error_comes_at_its_turn() -> None:
    def fails_at_three(n: int) -> int:
        if n == 3:
            raise ValueError("three")
        return n

    stream = prefetched(fails_at_three, range(10), workers=3, ahead=5)
    assert [next(stream) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(stream)
