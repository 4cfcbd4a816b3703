"""Laws of every pixel network: causality by gradients, the order of channels, counts, refusals."""

from typing import Any

import pytest
import torch

from models.masked_convolution import MaskedConv2d
from models.pixel_receptive_field import pixels_seen, receptive_field
from models.pixel_sites import Sites
from models.pixelcnn import GatedPixelCnnConfig, PixelCnn, PixelCnnConfig
from models.pixelcnn_pp import PixelCnnPpConfig
from models.pixelrnn import PixelRnnConfig
from tests.models.pixel_networks import NETWORKS, gated, labels_for, pixelcnn, plus_plus, size_for


def _gradients(network: Any, seed: int = 1) -> list[tuple[int, torch.Tensor]]:
    """(raster place of the predicted symbol, gradient of its parameters in raster order)."""
    sites, head = network.sites, network.head
    c, h, w = size_for(network)
    generator = torch.Generator().manual_seed(seed)
    levels = (torch.rand(1, c, h, w, generator=generator) * (sites.levels - 1)).requires_grad_()
    made = network(levels, labels_for(network, 1))
    found = []
    each = head.parameters // sites.symbols if head.sequential else head.parameters
    for y, x in ((0, 0), (0, 3), (3, 0), (4, 5), (7, 7), (5, 4)):
        for s in range(sites.symbols if head.sequential else 1):
            part = made[0, s * each : (s + 1) * each, y, x].sum()
            (gradient,) = torch.autograd.grad(part, levels, retain_graph=True)
            place = (y * (w // sites.run) + x) * sites.symbols + s
            found.append((place, sites.of(gradient)[0].permute(1, 2, 0).flatten()))
    return found


@pytest.mark.parametrize("name", NETWORKS)
def test_a_prediction_depends_on_no_symbol_from_its_own_on(name: str) -> None:
    for place, gradient in _gradients(NETWORKS[name]()):
        assert (gradient[place:] == 0).all()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_prediction_depends_on_earlier_symbols(name: str) -> None:
    """Of one of four pictures: a rectifier may be shut for the others."""
    network = NETWORKS[name]()
    for several in zip(*(_gradients(network, seed) for seed in range(4)), strict=True):
        place = several[0][0]
        assert place == 0 or any((gradient[:place] != 0).any() for _, gradient in several)


def test_green_depends_on_the_same_pixels_red_and_blue_on_both() -> None:
    network = gated()
    levels = torch.rand(1, 3, 6, 6, requires_grad=True)
    made = network(levels).unflatten(1, (3, -1))[0, :, :, 4, 3].sum(1)
    seen = [torch.autograd.grad(made[s], levels, retain_graph=True)[0] for s in range(3)]
    table = [[bool(g[0, c, 4, 3] != 0) for c in range(3)] for g in seen]
    assert table == [[False, False, False], [True, False, False], [True, True, False]]


def test_the_mask_of_a_3x3_is_the_papers() -> None:
    """4 of 9 places for mask A of one feature, 5 for mask B."""
    for mask_type, places in (("A", 4), ("B", 5)):
        layer = MaskedConv2d(1, 1, mask_type=mask_type, above=1, before=1, after=1)  # type: ignore[arg-type]
        assert int(layer.mask.sum()) == places


def test_the_plain_stack_has_a_blind_spot_and_two_stacks_have_none() -> None:
    """Behind 5 layers of 3 x 3, right above of the pixel, a quarter of the view is blind."""
    where = {"height": 10, "width": 16, "y": 8, "x": 6}
    plain = receptive_field(pixelcnn(blocks=4, first=3), **where)
    both = receptive_field(gated(layers=5, first=3, kernel=3), **where)
    assert both[7, 4:9].all()
    assert both[3:8, 8:11].all()
    assert plain[3:8, 3:6].all()
    assert not plain[7, 9:12].any()
    assert both[7, 9:11].all()
    assert not (plain & ~both).any()
    assert pixels_seen(plain, y=8, x=6)[0] < pixels_seen(both, y=8, x=6)[0]


def test_three_scales_see_more_than_one() -> None:
    where = {"height": 16, "width": 16, "y": 15, "x": 15}
    one = receptive_field(plus_plus(filters=(4,), blocks=(1,)), **where)
    three = receptive_field(plus_plus(filters=(4, 4, 4), blocks=(1, 1, 1)), **where)
    assert pixels_seen(one, y=15, x=15)[0] < pixels_seen(three, y=15, x=15)[0]


def test_the_parameter_count_of_pixelcnn_is_the_sum_of_its_published_layers() -> None:
    h, blocks, out, head = 128, 15, 3 * 256, 1024
    block = (2 * h * h + h) + (9 * h * h + h) + (2 * h * h + 2 * h)
    first = 49 * 3 * 2 * h + 2 * h
    last = (2 * h * head + head) + (head * head + head) + (head * out + out)
    dead = blocks * 3 * h * h  # the row below, which our kernels do not have
    dead += 3 * 7 * 3 * 2 * h
    count = sum(p.numel() for p in PixelCnn(PixelCnnConfig()).parameters())
    assert count == first + blocks * block + last - dead


@pytest.mark.parametrize(
    ("config", "sizes", "said"),
    [
        (PixelCnnConfig, {"width": 0}, "width"),
        (PixelCnnConfig, {"first": 4}, "first"),
        (PixelCnnConfig, {"head": "joint"}, "combinations"),
        (GatedPixelCnnConfig, {"kernel": 2}, "odd"),
        (GatedPixelCnnConfig, {"levels": 1}, "levels"),
        (GatedPixelCnnConfig, {"classes": -1}, "classes"),
        (PixelCnnPpConfig, {"filters": (4,), "blocks": (1, 1)}, "as many"),
        (PixelCnnPpConfig, {"dropout": 1.0}, "dropout"),
        (PixelCnnPpConfig, {"mixtures": 0}, "mixtures"),
        (PixelCnnPpConfig, {"channels": 2}, "values"),
        (PixelRnnConfig, {"recurrence": "column"}, "recurrence"),
        (PixelRnnConfig, {"layers": 0}, "layers"),
    ],
)
def test_sizes_that_make_no_network_are_refused(config: Any, sizes: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        config(**sizes)


def test_a_network_with_fewer_features_than_symbols_is_refused() -> None:
    with pytest.raises(ValueError, match="3 symbols"):
        gated(width=2)


def test_missing_and_superfluous_labels_are_refused() -> None:
    image = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    with pytest.raises(ValueError, match="no labels"):
        gated(classes=3)(image)
    with pytest.raises(ValueError, match="no classes"):
        gated()(image, torch.zeros(1, dtype=torch.long))


def test_a_picture_that_cannot_be_halved_is_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 2"):
        plus_plus()(torch.zeros(1, 3, 7, 8, dtype=torch.uint8))


def test_runs_keep_the_raster_order_of_values() -> None:
    sites = Sites(channels=3, levels=256, run=2)
    image = torch.arange(3 * 2 * 4).view(1, 3, 2, 4)
    cut = sites.of(image)
    assert torch.equal(sites.images(cut), image)
    in_order = cut[0].permute(1, 2, 0).flatten()
    assert torch.equal(in_order, image[0].permute(1, 2, 0).flatten())


def test_a_width_that_is_no_multiple_of_the_run_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 4"):
        Sites(channels=1, levels=2, run=4).of(torch.zeros(1, 1, 2, 6))
