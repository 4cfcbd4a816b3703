"""Laws of painting: the fast pass is the network's, a tiled one the whole picture's."""

import numpy as np
import pytest
import torch

from models.channel_statistics import ChannelStatistics
from models.pixels import Pixels
from models.style_brush import brush_of, convolved, full_padding, last_layer
from models.style_feedforward import Painter, blend_weights
from models.style_painting import paint, paint_with
from tests.corpus import smooth_noise
from tests.painters import STYLES, tiny_painter

BLEND = blend_weights(STYLES, [("waves", 0.7), ("scream", 0.3)])


def _precise() -> Painter:
    return tiny_painter().double()


def _plainly(painter: Painter, pixels: Pixels) -> Pixels:
    x = torch.from_numpy(pixels).permute(2, 0, 1)[None].to(painter.skip) / 255
    painted = painter(x, BLEND.to(painter.skip))
    levels = (painted * 255).round().clamp(0, 255).to(torch.uint8)
    plain: Pixels = levels[0].permute(1, 2, 0).numpy()
    return plain


def test_painting_is_the_network_s_pass() -> None:
    pixels = smooth_noise(1, 48, 64)
    precise = _precise()
    assert np.array_equal(paint(precise, pixels, BLEND), _plainly(precise, pixels))
    difference = paint(tiny_painter(), pixels, BLEND).astype(int) - _plainly(precise, pixels)
    assert np.abs(difference).max() <= 1
    assert np.mean(difference != 0) < 0.01
    assert paint(precise, pixels, BLEND).std() > 10


@pytest.mark.parametrize("part", ["down", "body", "up"])
def test_every_layer_of_a_brush_is_the_network_s_up_to_its_borders(part: str) -> None:
    painter = _precise()
    for layer, stroke in zip(
        getattr(painter, part), getattr(brush_of(painter, BLEND), part), strict=True
    ):
        x = torch.randn(1, layer.conv.in_channels, 12, 20, dtype=torch.float64)
        found = convolved(stroke, x, full_padding(stroke))
        wanted = layer.convolved(x) if part == "down" else layer(x, BLEND.double())
        torch.testing.assert_close(found, wanted, atol=1e-12, rtol=0)


def test_the_last_layer_in_blocks_is_the_last_layer() -> None:
    painter = _precise()
    x = torch.randn(1, painter.last.in_channels, 20, 28, dtype=torch.float64)
    picture = torch.randn(1, 3, 12, 20, dtype=torch.float64)
    wanted = painter.last(x) + picture * (BLEND.double() @ painter.skip)
    torch.testing.assert_close(
        last_layer(brush_of(painter, BLEND), x, picture), wanted, atol=1e-12, rtol=0
    )


@pytest.mark.parametrize(("height", "width"), [(96, 96), (37, 90), (20, 130), (130, 16)])
def test_tiles_of_any_size_are_the_whole_picture_s(height: int, width: int) -> None:
    pixels = smooth_noise(2, height, width)
    precise, plain = _precise(), tiny_painter()
    whole, quick = paint(precise, pixels, BLEND), paint(plain, pixels, BLEND)
    for tile in (16, 30, 64):
        assert np.array_equal(paint(precise, pixels, BLEND, tile=tile), whole)
        difference = paint(plain, pixels, BLEND, tile=tile).astype(int) - quick
        assert np.abs(difference).max() <= 1
        assert np.mean(difference != 0) < 0.01


def test_nothing_of_full_or_half_size_is_in_memory_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    largest = 0
    plain = torch.nn.functional.conv2d

    def watched(x: torch.Tensor, *args: object, **options: object) -> torch.Tensor:
        nonlocal largest
        largest = max(largest, x.shape[2] * x.shape[3])
        return plain(x, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.nn.functional, "conv2d", watched)
    paint(tiny_painter(), smooth_noise(0, 160, 160), BLEND, tile=32)
    assert largest <= (32 + 16) ** 2


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (3, 5), (16, 16), (17, 18), (20, 20), (7, 61)]
)
def test_a_picture_of_any_size_keeps_it(height: int, width: int) -> None:
    pixels = smooth_noise(3, height + 1, width + 1)[:height, :width]
    painted = paint(tiny_painter(), pixels, BLEND)
    assert painted.shape == (height, width, 3)
    assert painted.dtype == np.uint8


def test_a_brush_paints_as_often_as_asked_and_leaves_its_source() -> None:
    brush, pixels = brush_of(tiny_painter(), BLEND), smooth_noise(4, 32, 32)
    before = pixels.copy()
    first = paint_with(brush, pixels)
    assert np.array_equal(paint_with(brush, pixels), first)
    assert np.array_equal(pixels, before)
    assert np.array_equal(paint(tiny_painter(), pixels, BLEND), first)


@pytest.mark.parametrize(
    ("pixels", "tile", "sentence"),
    [
        (np.zeros((20, 20, 1), np.uint8), None, r"pixels must be \(H, W, 3\) uint8"),
        (np.zeros((20, 20, 3), np.uint16), None, "uint16"),
        (np.zeros((0, 20, 3), np.uint8), None, r"\(0, 20, 3\)"),
        (np.zeros((20, 20, 3), np.uint8), 15, "tile must be at least 16, got 15"),
    ],
)
def test_what_is_no_picture_is_refused(pixels: Pixels, tile: int | None, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        paint(tiny_painter(), pixels, BLEND, tile=tile)


def test_a_brush_has_one_blend() -> None:
    with pytest.raises(ValueError, match="one blend of styles, got 2"):
        brush_of(tiny_painter(), torch.ones(2, 3) / 3)


class TestStatistics:
    """The mean and variance of a map's parts, put together."""

    def test_they_are_the_whole_map_s_however_it_is_cut(self) -> None:
        x = 3 + torch.randn(1, 6, 90, 70, generator=torch.Generator().manual_seed(0))
        variance, mean = torch.var_mean(x.double(), dim=(2, 3), correction=0)
        for side in (7, 33, 90):
            statistics = ChannelStatistics()
            for top in range(0, 90, side):
                for left in range(0, 70, side):
                    statistics.add(x[..., top : top + side, left : left + side])
            found = statistics.mean_and_variance()
            torch.testing.assert_close(found[0], mean[0], rtol=1e-5, atol=0)
            torch.testing.assert_close(found[1], variance[0], rtol=1e-5, atol=0)

    def test_a_constant_map_has_no_variance_and_an_empty_one_no_statistics(self) -> None:
        statistics = ChannelStatistics()
        with pytest.raises(ValueError, match="at least one part, got none"):
            statistics.mean_and_variance()
        statistics.add(torch.full((1, 2, 4, 4), 3.0))
        assert [v.tolist() for v in statistics.mean_and_variance()] == [[3.0, 3.0], [0.0, 0.0]]
