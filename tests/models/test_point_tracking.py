"""Laws of the tracker."""

import pytest
import torch
import torch.nn.functional as F

from models.point_tracking import track


def moving(by: tuple[float, float], count: int = 4) -> torch.Tensor:
    """(count, 3, 48, 48) windows of one picture, each so many pixels further (column, row)."""
    coarse = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    rgb = F.interpolate(coarse, size=96, mode="bicubic")
    frames = []
    for k in range(count):
        ys, xs = torch.meshgrid(torch.arange(48.0), torch.arange(48.0), indexing="ij")
        places = torch.stack([xs + 24.5 - k * by[0], ys + 24.5 - k * by[1]], -1) / 48 - 1
        frames.append(F.grid_sample(rgb, places[None], align_corners=False)[0])
    return torch.stack(frames)


@pytest.mark.parametrize("by", [(0.3, 0.0), (-0.7, 1.2), (2.0, -1.5)])
def test_points_are_followed_by_parts_of_a_pixel(by: tuple[float, float]) -> None:
    points = torch.cartesian_prod(torch.arange(12.5, 36, 6), torch.arange(12.5, 36, 6))
    found = track(moving(by), points)
    assert found.shape == (4, 16, 2)
    assert torch.equal(found[0], points)
    goal = points + 3 * torch.tensor(by)
    assert (found[-1] - goal).norm(dim=1).median() < 0.4


def test_a_point_on_a_flat_place_stays() -> None:
    frames = torch.full((3, 4, 32, 32), 0.5)
    points = torch.tensor([[3.2, 20.0], [31.0, 0.5]])
    torch.testing.assert_close(track(frames, points)[-1], points)


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must be \(T, C, H, W\) and \(n, 2\)"):
        track(torch.zeros(3, 32, 32), torch.zeros(2, 2))
