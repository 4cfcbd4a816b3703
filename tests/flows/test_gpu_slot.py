"""The slot of a GPU against a real server: one at a time, and an error where there is no limit."""

import threading
import time

import pytest

from flows.gpu_slot import gpu_slot

pytestmark = pytest.mark.usefixtures("prefect_server")


def _make_limit(name: str, slots: int) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate

    with get_client(sync_client=True) as client:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=slots))


def _most_at_once(holders: int) -> int:
    """How many of so many threads were inside at the same time."""
    inside, most, lock = 0, 0, threading.Lock()
    failed: list[BaseException] = []

    def work() -> None:
        nonlocal inside, most
        try:
            with gpu_slot():
                with lock:
                    inside += 1
                    most = max(most, inside)
                time.sleep(0.3)
                with lock:
                    inside -= 1
        except BaseException as error:  # noqa: BLE001 (shown by the test, not lost with the thread)
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(holders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    return most


@pytest.mark.parametrize("slots", [1, 2])
def test_no_more_hold_it_than_the_limit_has_slots(
    monkeypatch: pytest.MonkeyPatch, slots: int
) -> None:
    _make_limit(f"gpu-{slots}", slots)
    monkeypatch.setenv("PIXELMILL_GPU_SLOT", f"gpu-{slots}")
    assert _most_at_once(3) == slots


def test_it_is_free_again_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    _make_limit("gpu-error", 1)
    monkeypatch.setenv("PIXELMILL_GPU_SLOT", "gpu-error")
    with pytest.raises(ArithmeticError), gpu_slot():
        raise ArithmeticError("the loss exploded")
    assert _most_at_once(1) == 1


def test_a_limit_that_is_missing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIXELMILL_GPU_SLOT", "gpu-that-nobody-made")
    with pytest.raises(Exception, match="gpu-that-nobody-made"), gpu_slot():
        pytest.fail("nobody was held back")


def test_without_the_variable_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIXELMILL_GPU_SLOT", raising=False)
    assert _most_at_once(3) == 3
