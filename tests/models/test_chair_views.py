"""What a generator is told of a view; pictures transformed together with their masks."""

import math

import pytest
import torch
from torch import Tensor

from models.chair_shapes import chair_mesh, chair_parameters
from models.chair_views import (
    PARAMETERS,
    Transformation,
    TransformationRanges,
    draw,
    identity,
    transform,
    transformation_vector,
    view_vector,
)
from models.rendering import render


@pytest.fixture(scope="module")
def chair() -> tuple[Tensor, Tensor]:
    rgb, mask = render(chair_mesh(chair_parameters(3, 0)), azimuth=35, elevation=20, size=64)
    planes = torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255
    return planes, torch.from_numpy(mask)[None, None].float() / 255


def square(color: tuple[float, float, float]) -> tuple[Tensor, Tensor]:
    """16 x 16 opaque pixels of a color off the middle of 64 x 64."""
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 8:24, 28:44] = 1
    return torch.tensor(color).view(1, 3, 1, 1) * mask + 1 - mask, mask


def close(a: Tensor, b: Tensor, within: float = 1e-4) -> bool:
    return bool((a - b).abs().max() <= within)


def test_the_view_is_sine_and_cosine_of_azimuth_and_then_of_elevation() -> None:
    a, e = math.radians(30), math.radians(20)
    wanted = torch.tensor([[math.sin(a), math.cos(a), math.sin(e), math.cos(e)]])
    told = view_vector(torch.tensor([30.0]), torch.tensor([20.0]))
    assert close(told, wanted, 1e-6)
    assert len(set(told[0].tolist())) == 4  # ports had sin, cos, sin, sin
    near = view_vector(torch.tensor([359.9, 0.1]), torch.tensor([20.0, 20.0]))
    assert close(near[0], near[1], 0.01)


def test_the_identity_is_zero_for_the_network_and_changes_no_picture(
    chair: tuple[Tensor, Tensor],
) -> None:
    assert torch.equal(transformation_vector(identity(3)), torch.zeros(3, 8))  # ports had ones
    rgb, mask = transform(*chair, identity(1))
    assert close(rgb, chair[0], 1e-5)
    assert close(mask, chair[1], 1e-5)


def test_drawn_parameters_fill_their_ranges_and_a_seed_gives_the_same_again() -> None:
    drawn = draw(2000, torch.Generator().manual_seed(1))
    assert torch.equal(drawn, draw(2000, torch.Generator().manual_seed(1)))
    told = transformation_vector(drawn)
    assert (told.amin(0) < -0.95).all()
    assert (told.amax(0) > 0.95).all()
    assert told.abs().max() <= 1.0001
    assert told.mean(0).abs().max() < 0.1
    assert (torch.corrcoef(told.T) - torch.eye(8)).abs().max() < 0.1
    still = {"zoom": 1.0, "stretch": 1.0, "saturation": 1.0, "brightness": 1.0}
    none = TransformationRanges(rotation=0, shift_x=0, shift_y=0, hue=0, **still)
    assert close(draw(5, torch.Generator().manual_seed(1), none), identity(5), 1e-6)


def test_each_parameter_has_its_own_column() -> None:
    for column, name in enumerate(PARAMETERS):
        one = Transformation(**{name: 1.1}).parameters()
        assert (transformation_vector(one) != 0).nonzero().tolist() == [[0, column]]
        assert one[0, column] == pytest.approx(1.1)


def test_a_shift_by_whole_pixels_moves_picture_and_mask_and_white_comes_in() -> None:
    rgb, mask = square((0.8, 0.2, 0.1))
    moved = Transformation(shift_x=8 / 64, shift_y=4 / 64).parameters()
    got_rgb, got_mask = transform(rgb, mask, moved)
    assert close(got_mask, mask.roll((4, 8), (2, 3)))
    assert close(got_rgb, rgb.roll((4, 8), (2, 3)))
    gone_rgb, gone_mask = transform(rgb, mask, Transformation(shift_x=2.0).parameters())
    assert close(gone_rgb, torch.ones_like(rgb))
    assert not gone_mask.any()


def test_a_rotation_is_counterclockwise() -> None:
    rgb, mask = square((0.8, 0.2, 0.1))
    for turns in (1, 2, 3):
        turned = Transformation(rotation=90.0 * turns).parameters()
        got_rgb, got_mask = transform(rgb, mask, turned)
        assert close(got_mask, mask.rot90(turns, (2, 3)), 1e-3)
        assert close(got_rgb, rgb.rot90(turns, (2, 3)), 1e-3)


def extent(mask: Tensor) -> tuple[float, float]:
    """Width and height of a rectangle from its longest row and column."""
    return float(mask.sum(3).max()), float(mask.sum(2).max())


def test_zoom_enlarges_and_stretch_widens_at_the_same_area() -> None:
    _, mask = square((0.5, 0.5, 0.5))
    mask = mask.roll((16, -4), (2, 3))  # to the middle
    for zoom, stretch in ((1.5, 1.0), (0.75, 1.0), (1.0, 1.44)):
        parameters = Transformation(zoom=zoom, stretch=stretch).parameters()
        _, got = transform(torch.ones(1, 3, 64, 64), mask, parameters)
        width, height = extent(got)
        assert width == pytest.approx(16 * zoom * math.sqrt(stretch), rel=0.03)
        assert height == pytest.approx(16 * zoom / math.sqrt(stretch), rel=0.03)
        assert float(got.sum()) == pytest.approx(256 * zoom**2, rel=0.03)


def test_hue_saturation_and_brightness_recolor_the_object_and_leave_white_white() -> None:
    rgb, mask = square((0.8, 0.2, 0.1))
    inside = mask[0, 0] == 1
    cases = [
        (Transformation(hue=120.0), (0.1, 0.8, 0.2)),
        (Transformation(hue=-120.0), (0.2, 0.1, 0.8)),
        (Transformation(hue=360.0), (0.8, 0.2, 0.1)),
        (Transformation(saturation=0.0), (0.8, 0.8, 0.8)),
        (Transformation(saturation=0.5), (0.8, 0.5, 0.45)),
        (Transformation(brightness=0.5), (0.4, 0.1, 0.05)),
        (Transformation(brightness=2.0), (1.0, 0.25, 0.125)),
    ]
    for transformation, wanted in cases:
        got, same = transform(rgb, mask, transformation.parameters())
        assert close(got[0][:, inside], torch.tensor(wanted)[:, None].expand(-1, 256)), wanted
        assert close(got[0][:, ~inside], torch.ones(3, 1))
        assert close(same, mask, 1e-5)


def test_half_covered_pixels_are_recolored_as_covered_ones_are() -> None:
    rgb, mask = square((0.8, 0.2, 0.1))
    half = mask * 0.5
    over_white = torch.tensor((0.8, 0.2, 0.1)).view(1, 3, 1, 1) * half + 1 - half
    parameters = Transformation(hue=70.0, saturation=1.3, brightness=0.7).parameters()
    full, _ = transform(rgb, mask, parameters)
    partly, still = transform(over_white, half, parameters)
    assert close(partly, full * still + (1 - still) * mask + (1 - mask) * (1 - still), 1e-4)


def test_a_batch_is_transformed_row_by_row_and_nothing_given_is_changed(
    chair: tuple[Tensor, Tensor],
) -> None:
    parameters = draw(4, torch.Generator().manual_seed(3))
    rgb, mask = chair[0].expand(4, -1, -1, -1), chair[1].expand(4, -1, -1, -1)
    before = (rgb.clone(), mask.clone(), parameters.clone())
    got_rgb, got_mask = transform(rgb, mask, parameters)
    for given, was in zip((rgb, mask, parameters), before, strict=True):
        assert torch.equal(given, was)
    for k in range(4):
        alone_rgb, alone_mask = transform(*chair, parameters[k : k + 1])
        assert close(got_rgb[k], alone_rgb[0], 1e-5)
        assert close(got_mask[k], alone_mask[0], 1e-5)
    assert got_rgb.min() >= 0
    assert got_rgb.max() <= 1
    assert close(got_rgb[:, :1][got_mask < 1e-6], torch.ones(1))


def test_wrong_shapes_and_ranges_are_refused(chair: tuple[Tensor, Tensor]) -> None:
    rgb, mask = chair
    with pytest.raises(ValueError, match=r"parameters must be \(N, 8\), got \(1, 7\)"):
        transform(rgb, mask, identity(1)[:, :7])
    with pytest.raises(ValueError, match="got 2 rows of parameters for 1 pictures"):
        transform(rgb, mask, identity(2))
    with pytest.raises(ValueError, match="rgb and mask must be"):
        transform(rgb, rgb, identity(1))
    with pytest.raises(ValueError, match="zoom must be positive, got 0"):
        Transformation(zoom=0.0)
    with pytest.raises(ValueError, match="saturation must be at least 0"):
        Transformation(saturation=-1.0)
    with pytest.raises(ValueError, match="hue must be a number"):
        Transformation(hue=math.inf)
    with pytest.raises(ValueError, match=r"zoom must be at least 1\.0, got 0\.9"):
        TransformationRanges(zoom=0.9)
