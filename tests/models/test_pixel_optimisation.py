"""Laws of optimising pixels: down all the way, in range, at one evaluation an iteration."""

import pytest
import torch
from torch import Tensor

from models.pixel_optimisation import (
    NoDescentError,
    Objective,
    PixelOptimisationConfig,
    counted_from,
    optimise_pixels,
)

SHAPE = (1, 3, 6, 7)


def picture(seed: int = 0) -> Tensor:
    return torch.rand(SHAPE, generator=torch.Generator().manual_seed(seed))


def valley(target: Tensor) -> Objective:
    """A quadratic 1000 times steeper along some pixels than along others, with cross terms."""
    steep = torch.logspace(-3, 0, target.numel()).reshape(target.shape)

    def objective(x: Tensor) -> dict[str, Tensor]:
        d = x - target
        bowl, across = (steep * d.square()).sum(), 0.1 * (steep * d).sum().square()
        return {"bowl": bowl, "across": across, "total": bowl + across}

    return objective


def bumpy(x: Tensor) -> dict[str, Tensor]:
    total = (x - 0.6).square().sum() + 0.05 * (1 - torch.cos(25 * (x - 0.6))).sum()
    return {"total": total}


def test_a_valley_s_bottom_is_found() -> None:
    target = 0.1 + 0.8 * picture(1)
    found = optimise_pixels(picture(2), valley(target), PixelOptimisationConfig(iterations=300))
    torch.testing.assert_close(found, target, atol=2e-3, rtol=0)


def test_pixels_stay_in_range_and_stop_at_their_bounds() -> None:
    target = 1.4 * picture(1) - 0.2
    start = picture(2)

    def separable(x: Tensor) -> dict[str, Tensor]:
        return {"total": (torch.linspace(1, 20, 7) * (x - target).square()).sum()}

    found = optimise_pixels(start, separable, PixelOptimisationConfig(iterations=200))
    assert 0 <= found.min() <= found.max() <= 1
    torch.testing.assert_close(found, target.clamp(0, 1), atol=2e-3, rtol=0)
    wide = optimise_pixels(9 * start - 4, separable, PixelOptimisationConfig(iterations=0))
    assert torch.equal(wide, (9 * start - 4).clamp(0, 1))


@pytest.mark.parametrize("objective", [valley(0.2 + 0.5 * picture(1)), bumpy])
def test_every_iteration_lowers_the_total(objective: Objective) -> None:
    totals: list[float] = []
    config = PixelOptimisationConfig(iterations=60)
    found = optimise_pixels(
        picture(2), objective, config, progress=lambda _, losses: totals.append(losses["total"])
    )
    assert totals == sorted(totals, reverse=True)
    assert len(totals) > 5
    assert float(objective(found)["total"]) == totals[-1]


def test_an_iteration_costs_about_one_evaluation_and_beats_torch_s_at_equal_cost() -> None:
    target, start = 0.1 + 0.8 * picture(1), picture(2)
    objective, calls = valley(target), [0]

    def counted(x: Tensor) -> dict[str, Tensor]:
        calls[0] += 1
        return objective(x)

    config = PixelOptimisationConfig(iterations=50)
    found = optimise_pixels(start, counted, config)
    assert calls[0] <= 60
    x = start.clone().requires_grad_()
    peer = torch.optim.LBFGS(
        [x], max_iter=100, max_eval=calls[0], history_size=20, line_search_fn="strong_wolfe",
        tolerance_grad=0, tolerance_change=0,
    )  # fmt: skip

    def closure() -> Tensor:
        peer.zero_grad()
        total = objective(x)["total"]
        total.backward()  # type: ignore[no-untyped-call]
        return total.detach()

    peer.step(closure)  # type: ignore[no-untyped-call]
    assert objective(found)["total"] <= 1.5 * objective(x.detach())["total"]


def test_progress_hears_every_iteration_with_the_losses_before_it() -> None:
    heard: list[tuple[int, dict[str, float]]] = []
    seen: list[tuple[int, Tensor]] = []
    objective = valley(picture(1))
    found = optimise_pixels(
        picture(2), objective, PixelOptimisationConfig(iterations=7),
        progress=lambda n, losses: heard.append((n, losses)),
        on_picture=lambda n, pixels: seen.append((n, pixels.clone())),
    )  # fmt: skip
    assert [n for n, _ in heard] == [n for n, _ in seen] == list(range(8))
    assert torch.equal(seen[0][1], picture(2))
    assert torch.equal(seen[7][1], found)
    for (_, losses), (_, pixels) in zip(heard, seen, strict=True):
        assert losses == {k: float(v) for k, v in objective(pixels).items()}


def test_what_progress_raises_stops_the_work() -> None:
    calls = []

    def stop(iteration: int, _: dict[str, float]) -> None:
        calls.append(iteration)
        if iteration == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        optimise_pixels(picture(), bumpy, PixelOptimisationConfig(iterations=50), progress=stop)
    assert calls == [0, 1, 2, 3]


def test_it_ends_at_the_tolerance_and_where_nothing_is_to_be_gained() -> None:
    told: list[int] = []
    target = 0.2 + 0.5 * picture(1)
    config = PixelOptimisationConfig(iterations=100, tolerance=1e-3)
    optimise_pixels(picture(2), valley(target), config, progress=lambda n, _: told.append(n))
    assert 0 < told[-1] < 100
    flat = optimise_pixels(
        target, lambda x: {"total": (0 * x).sum()}, PixelOptimisationConfig(iterations=100)
    )
    assert torch.equal(flat, target)


def test_no_evaluations_are_spent_once_rounding_is_all_that_is_left() -> None:
    calls = [0]

    def objective(x: Tensor) -> dict[str, Tensor]:
        calls[0] += 1
        return {"total": 1000 + (x - 0.4).square().sum()}

    found = optimise_pixels(picture(), objective, PixelOptimisationConfig(iterations=500))
    assert calls[0] < 60
    torch.testing.assert_close(found, torch.full(SHAPE, 0.4), atol=0.02, rtol=0)


def test_the_start_is_left_as_it_was_and_gradients_are_needed_by_no_one() -> None:
    start = picture()
    before = start.clone()
    with torch.no_grad():
        found = optimise_pixels(start, bumpy, PixelOptimisationConfig(iterations=3))
    assert torch.equal(start, before)
    assert not found.requires_grad
    assert not torch.equal(found, before)


def test_a_loss_that_is_no_number_is_an_error_at_the_start_and_a_wall_later() -> None:
    with pytest.raises(NoDescentError, match="not finite at the start"):
        optimise_pixels(
            picture(), lambda x: {"total": x.sum() * float("nan")}, PixelOptimisationConfig()
        )

    def walled(x: Tensor) -> dict[str, Tensor]:
        return {"total": (x - 0.4).square().sum() + torch.where(x > 0.5, torch.nan, 0).sum()}

    start = torch.full(SHAPE, 0.1)
    found = optimise_pixels(start, walled, PixelOptimisationConfig(iterations=30))
    torch.testing.assert_close(found, torch.full(SHAPE, 0.4), atol=1e-3, rtol=0)


def test_several_optimisations_count_as_one() -> None:
    heard: list[int] = []

    def progress(n: int, _: dict[str, float]) -> None:
        heard.append(n)

    for first, until in ((0, 2), (2, None)):
        told = counted_from(progress, first, until)
        assert told is not None
        for n in range(3):
            told(n, {})
    assert heard == [0, 1, 2, 3, 4]
    assert counted_from(None, 0, None) is None


def test_a_wrong_start_or_config_is_refused() -> None:
    for bad in (torch.zeros(3, 4, 4), torch.zeros(2, 3, 4, 4), torch.zeros(1, 3, 0, 4)):
        with pytest.raises(ValueError, match=r"start must be \(1, C, H, W\)"):
            optimise_pixels(bad, bumpy, PixelOptimisationConfig())
    for options in ({"iterations": -1}, {"history": 0}, {"tolerance": float("nan")}):
        with pytest.raises(ValueError, match=next(iter(options))):
            PixelOptimisationConfig(**options)  # type: ignore[arg-type]
