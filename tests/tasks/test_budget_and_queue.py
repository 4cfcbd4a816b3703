"""Laws of the memory budget and of the queue of tiles, under real threads."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.budget import MemoryBudget
from tasks.tile_queue import Batch, Shape, TileQueue

TIMEOUT = 20.0


def in_threads(*work: Callable[[], None]) -> None:
    """Run all at once; a thread that hangs or raises fails the test."""
    errors: list[BaseException] = []

    def guarded(task: Callable[[], None]) -> None:
        try:
            task()
        except BaseException as error:  # noqa: BLE001 (handed to the test below)
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(task,), daemon=True) for task in work]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + TIMEOUT
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    assert not any(thread.is_alive() for thread in threads), "deadlock"
    assert not errors, errors


class Ledger:
    """What is out, as the users of a budget see it."""

    def __init__(self, total: int) -> None:
        self.budget = MemoryBudget(total)
        self._lock = threading.Lock()
        self._out: list[int] = []
        self.worst: list[list[int]] = []

    def use(self, amount: int) -> None:
        self.budget.acquire(amount)
        with self._lock:
            self._out.append(amount)
            if sum(self._out) > self.budget.total and len(self._out) > 1:
                self.worst.append(list(self._out))
        time.sleep(0.0002)
        with self._lock:
            self._out.remove(amount)
        self.budget.release(amount)


@pytest.mark.parametrize("seed", range(3))
def test_no_more_than_the_total_is_out_unless_one_is_alone(seed: int) -> None:
    ledger = Ledger(100)

    def user(number: int) -> Callable[[], None]:
        rng = random.Random(seed * 100 + number)
        amounts = [rng.choice([1, 10, 33, 50, 99, 100, 101, 250]) for _ in range(25)]
        return lambda: [ledger.use(amount) for amount in amounts][:0] and None

    in_threads(*(user(number) for number in range(12)))
    assert ledger.worst == []


def test_more_than_the_total_is_given_to_one_alone() -> None:
    budget = MemoryBudget(10)
    in_threads(lambda: budget.acquire(1000))
    budget.release(1000)
    in_threads(lambda: budget.acquire(10))


def test_what_fits_is_given_at_once() -> None:
    budget = MemoryBudget(10)
    in_threads(lambda: budget.acquire(6), lambda: budget.acquire(4))


def test_a_large_request_is_not_overtaken_by_later_small_ones() -> None:
    budget = MemoryBudget(10)
    budget.acquire(6)
    served: list[str] = []

    def ask(name: str, amount: int) -> threading.Thread:
        def wait() -> None:
            budget.acquire(amount)
            served.append(name)
            budget.release(amount)

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        time.sleep(0.1)  # it waits in the queue now
        return thread

    threads = [ask("large", 9), ask("small", 1), ask("other", 2)]
    assert served == []
    budget.release(6)
    for thread in threads:
        thread.join(TIMEOUT)
    assert served[0] == "large"
    assert sorted(served) == ["large", "other", "small"]


def test_a_large_request_is_served_while_small_ones_keep_coming() -> None:
    ledger = Ledger(10)
    done = threading.Event()

    def small() -> None:
        while not done.is_set():
            ledger.use(3)

    def large() -> None:
        time.sleep(0.02)
        ledger.use(10)
        done.set()

    in_threads(small, small, small, small, small, large)
    assert ledger.worst == []


@pytest.mark.parametrize("total", [0, -1])
def test_a_budget_of_nothing_is_refused(total: int) -> None:
    with pytest.raises(ValueError, match="at least 1 byte"):
        MemoryBudget(total)


SMALL: Shape = (10, 10, 3, "uint8")
LARGE: Shape = (20, 20, 3, "uint8")
BatchOf = Batch[str]


def drained(queue: TileQueue[str]) -> list[BatchOf]:
    batches: list[BatchOf] = []
    while (batch := queue.take()) is not None:
        batches.append(batch)
    return batches


def tile_queue(pixels: int, patience_s: float = 0.02) -> TileQueue[str]:
    return TileQueue[str](pixels, batch_most=64, patience_s=patience_s)


@pytest.mark.parametrize(
    ("pixels", "shape", "size"),
    [(1600, SMALL, 16), (1600, LARGE, 4), (399, LARGE, 1), (1, LARGE, 1), (10**9, SMALL, 64)],
)
def test_a_batch_holds_as_many_windows_as_fit_and_at_least_one(
    pixels: int, shape: Shape, size: int
) -> None:
    assert tile_queue(pixels).batch_size(shape) == size


def test_full_batches_come_before_partial_ones_that_waited_longer() -> None:
    queue = tile_queue(400)
    queue.put("early", SMALL, 3)
    queue.put("full", LARGE, 1)
    batch = queue.take()
    assert batch is not None
    assert (batch.tiles, batch.size) == ([("full", 0)], 1)


def test_tiles_of_several_images_fill_one_batch_in_order() -> None:
    queue = tile_queue(400)
    queue.put("a", SMALL, 3)
    queue.put("b", SMALL, 3)
    batch = queue.take()
    assert batch is not None
    assert batch.tiles == [("a", 0), ("a", 1), ("a", 2), ("b", 0)]


def test_a_partial_batch_comes_after_a_moment_and_says_the_full_size() -> None:
    queue = tile_queue(400)
    queue.put("a", SMALL, 3)
    began = time.monotonic()
    batch = queue.take()
    assert batch is not None
    assert len(batch.tiles) == 3
    assert batch.size == 4
    assert 0.01 <= time.monotonic() - began < 5


def test_without_patience_a_partial_batch_comes_at_once() -> None:
    queue = tile_queue(400, patience_s=0)
    queue.put("a", SMALL, 3)
    queue.put("b", LARGE, 1)
    batches = [queue.take(), queue.take()]
    assert [b.tiles for b in batches if b is not None] == [
        [("b", 0)],
        [("a", 0), ("a", 1), ("a", 2)],
    ]


def test_a_batch_is_waited_for() -> None:
    queue = tile_queue(400)
    taken: list[BatchOf | None] = []

    def put() -> None:
        time.sleep(0.05)
        queue.put("late", SMALL, 4)

    in_threads(lambda: taken.append(queue.take()), put)
    assert taken[0] is not None
    assert len(taken[0].tiles) == 4


def test_closing_wakes_a_taker_that_waits_for_nothing() -> None:
    queue = tile_queue(400)
    taken: list[BatchOf | None] = []

    def close() -> None:
        time.sleep(0.05)
        queue.close()

    in_threads(lambda: taken.append(queue.take()), lambda: taken.append(queue.take()), close)
    assert taken == [None, None]


jobs = st.lists(st.tuples(st.sampled_from([SMALL, LARGE]), st.integers(1, 15)), max_size=12)


@given(jobs=jobs, pixels=st.integers(1, 4000))
def test_every_tile_comes_once_in_batches_of_one_shape(
    jobs: list[tuple[Shape, int]], pixels: int
) -> None:
    queue = tile_queue(pixels)
    for number, (shape, count) in enumerate(jobs):
        queue.put(str(number), shape, count)
    queue.close()
    batches = drained(queue)
    expected = [(str(n), i) for n, (_, count) in enumerate(jobs) for i in range(count)]
    assert sorted(tile for batch in batches for tile in batch.tiles) == sorted(expected)
    for batch in batches:
        (shape,) = {jobs[int(job)][0] for job, _ in batch.tiles}
        assert 1 <= len(batch.tiles) <= batch.size == queue.batch_size(shape)
    partial = Counter(len(batch.tiles) < batch.size for batch in batches)
    assert partial[True] <= 2  # one a shape: closed, nothing more could fill them


@pytest.mark.parametrize("seed", range(2))
def test_every_tile_comes_once_from_many_threads(seed: int) -> None:
    queue = tile_queue(500)
    taken: list[tuple[str, int]] = []

    def put(number: int) -> Callable[[], None]:
        def work() -> None:
            rng = random.Random(seed * 100 + number)
            for job in range(20):
                queue.put(f"{number}-{job}", rng.choice([SMALL, LARGE]), 7)

        return work

    def take() -> None:
        for batch in drained(queue):
            taken.extend(batch.tiles)

    def produce() -> None:
        in_threads(*(put(number) for number in range(4)))
        queue.close()

    in_threads(produce, take, take, take)
    expected = {(f"{n}-{j}", i) for n in range(4) for j in range(20) for i in range(7)}
    assert len(taken) == len(expected)
    assert set(taken) == expected
