"""Laws of style transfer by optimisation, and of its objective."""

from functools import lru_cache
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from models.feature_windows import WindowConfig
from models.features import FeatureNetwork, random_state
from models.gram import gram_targets
from models.original_colors import full_luma
from models.style_loss import StyleLossConfig, style_loss
from models.style_objective import StyleObjective, StyleTarget, style_grams, style_shares
from models.style_optimisation import Style, StyleConfig, gatys_loss, level_iterations, stylize
from tests.models.texture_samples import blobs

LOSS = StyleLossConfig(
    content_layer="relu2_1", style_layers=("relu1_1", "relu2_1"), style_weight=10.0, tv_weight=0.0
)
NO_STYLE = StyleLossConfig(
    content_layer="relu1_2", style_layers=("relu1_1",), style_weight=0.0, tv_weight=0.0
)


@lru_cache
def network() -> FeatureNetwork:
    state = random_state("vgg16", torch.Generator().manual_seed(0))
    return FeatureNetwork("vgg16", state, layers=("relu1_1", "relu1_2", "relu2_1"))


@lru_cache
def picture(seed: int, height: int = 32, width: int = 32) -> Tensor:
    pixels = torch.from_numpy(blobs(height, width, 3, seed=seed))
    rgb = pixels.permute(2, 0, 1)[None].float() / 255
    tint = torch.rand(1, 3, 1, 1, generator=torch.Generator().manual_seed(seed))
    return rgb * (0.3 + 0.7 * tint)


def paint(*styles: Style, content: Tensor | None = None, **options: Any) -> Tensor:
    progress, on_picture, image = (
        options.pop(name, None) for name in ("progress", "on_picture", "start_image")
    )
    seed = options.pop("seed", 0)
    config = StyleConfig(**({"loss": LOSS, "iterations": 15} | options))
    return stylize(
        picture(0) if content is None else content, styles or (Style(pixels=picture(1)),),
        network(), config, generator=torch.Generator().manual_seed(seed), start_image=image,
        progress=progress, on_picture=on_picture,
    )  # fmt: skip


def losses_of(*styles: Style, **options: Any) -> list[dict[str, float]]:
    heard: list[dict[str, float]] = []
    paint(*styles, progress=lambda _, losses: heard.append(losses), **options)
    return heard


def objective_of(
    content: Tensor, styles: list[Tensor], shares: list[float], windows: WindowConfig
) -> StyleObjective:
    targets = [
        StyleTarget(share=share, grams=style_grams(style, network(), LOSS, windows))
        for style, share in zip(styles, shares, strict=True)
    ]
    return StyleObjective(content, targets, network(), LOSS, windows)


@pytest.mark.parametrize("side", [64, 512])
def test_the_objective_is_the_trained_network_s_in_windows_too(side: int) -> None:
    content, style, output = (picture(seed, 130, 40) for seed in range(3))
    windows = WindowConfig(side=side, halo=16)
    mine = objective_of(content, [style], [1.0], windows)(output)
    seen, wanted = (network()(p) for p in (output, content))
    targets = gram_targets(network()(style))
    theirs = style_loss(output, seen, wanted[LOSS.content_layer], targets, LOSS)
    assert sorted(mine) == sorted(theirs)
    for name, value in theirs.items():
        torch.testing.assert_close(mine[name], value[0], rtol=1e-3, atol=1e-6)


def test_a_picture_has_no_style_loss_with_itself() -> None:
    losses = objective_of(picture(0), [picture(0)], [1.0], WindowConfig())(picture(0))
    assert losses["style"] < 1e-10
    assert losses["content"] < 1e-10


@pytest.mark.parametrize("levels", [1, 2])
def test_without_style_the_content_comes_back(levels: int) -> None:
    content = picture(0, 40, 36)
    found = paint(content=content, loss=NO_STYLE, levels=levels)
    torch.testing.assert_close(found, content, atol=2e-4, rtol=0)


def test_without_style_noise_becomes_the_content() -> None:
    heard = losses_of(loss=NO_STYLE, start="noise", iterations=60)
    assert heard[-1]["content"] < 0.01 * heard[0]["content"]
    found = paint(loss=NO_STYLE, start="noise", iterations=60)
    assert (found - picture(0)).abs().mean() < 0.05


@pytest.mark.parametrize("start", ["content", "noise"])
def test_style_and_total_fall(start: str) -> None:
    heard = losses_of(start=start, iterations=30)
    assert heard[-1]["total"] < heard[0]["total"] / 3
    assert heard[-1]["style"] < heard[0]["style"] / 5


def test_a_one_hot_blend_is_the_single_style() -> None:
    single = paint(Style(pixels=picture(1)))
    blend = paint(Style(pixels=picture(1), weight=0.7), Style(pixels=picture(2), weight=0.0))
    torch.testing.assert_close(blend, single, atol=1e-5, rtol=0)


def test_a_blend_moves_monotonically_between_its_ends() -> None:
    ends = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        one = Style(pixels=picture(1), weight=1 - share)
        ends.append(losses_of(one, Style(pixels=picture(2), weight=share), iterations=30)[-1])
    rising, falling = ([end[name] for end in ends] for name in ("style_1", "style_2"))
    assert rising == sorted(rising)
    assert falling == sorted(falling, reverse=True)
    assert rising[-1] > 3 * rising[0]


@given(weights=st.lists(st.floats(0, 100), min_size=1, max_size=5).filter(any))
def test_shares_sum_to_1_in_the_weights_proportions(weights: list[float]) -> None:
    shares = style_shares(weights)
    assert sum(shares) == pytest.approx(1)
    assert [s * sum(weights) for s in shares] == pytest.approx(weights)


@pytest.mark.parametrize("start", ["content", "noise"])
def test_the_same_seed_gives_the_same_picture(start: str) -> None:
    assert torch.equal(paint(start=start), paint(start=start))
    same = torch.equal(paint(start=start), paint(start=start, seed=1))
    assert same == (start == "content")


def test_a_masked_style_changes_its_region_alone() -> None:
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., :16] = 1
    found = paint(Style(pixels=picture(1), mask=mask), iterations=30)
    change = (found - picture(0)).abs().mean(dim=(0, 1, 2))
    assert change[:14].mean() > 0.02
    assert change[24:].max() < 0.05 * change[:14].mean()


def test_each_region_takes_its_own_style() -> None:
    left = torch.zeros(1, 1, 32, 32)
    left[..., :16] = 1
    styles = Style(pixels=picture(1), mask=left), Style(pixels=picture(2), mask=1 - left)
    heard = losses_of(*styles, iterations=40)
    for name in ("style_1", "style_2"):
        assert heard[-1][name] < heard[0][name] / 3
    swapped = Style(pixels=picture(2), mask=left), Style(pixels=picture(1), mask=1 - left)
    other = losses_of(*swapped, start="image", start_image=paint(*styles), iterations=0)[0]
    assert other["style"] > 2 * heard[-1]["style"]


def test_a_mask_of_ones_is_no_mask() -> None:
    plain = paint(Style(pixels=picture(1)))
    masked = paint(Style(pixels=picture(1), mask=torch.ones(1, 1, 32, 32)))
    torch.testing.assert_close(masked, plain, atol=2e-2, rtol=0)


def test_original_colors_by_luminance_keep_the_content_s_chroma() -> None:
    found, content = paint(original_colors="luminance"), picture(0)
    torch.testing.assert_close(
        found - full_luma(found), content - full_luma(content), atol=1e-5, rtol=0
    )
    assert (full_luma(found) - full_luma(content)).abs().mean() > 0.01


def test_original_colors_by_histogram_keep_the_mean_colour_nearer() -> None:
    content = picture(0)
    mean = content.mean(dim=(2, 3))
    plain, kept = (paint(original_colors=how, iterations=30) for how in ("none", "histogram"))
    distances = [(p.mean(dim=(2, 3)) - mean).abs().max() for p in (kept, plain)]
    assert distances[0] < 0.5 * distances[1]


def test_levels_halve_the_iterations_and_count_as_one_work() -> None:
    assert level_iterations((480, 640), StyleConfig()) == (500,)
    assert level_iterations((768, 1024), StyleConfig()) == (500, 250)
    assert level_iterations((2048, 1500), StyleConfig()) == (500, 250, 125)
    told: list[int] = []
    shown: list[tuple[int, tuple[int, ...]]] = []
    paint(
        iterations=12, levels=2, progress=lambda n, _: told.append(n),
        on_picture=lambda n, p: shown.append((n, tuple(p.shape[-2:]))),
    )  # fmt: skip
    assert told == list(range(23)) == [n for n, _ in shown]
    assert shown[0][1] == (16, 16)
    assert shown[-1][1] == (32, 32)


def test_a_large_picture_is_painted_in_windows_to_the_same_end() -> None:
    content = picture(0, 130, 32)
    whole, parts = (losses_of(content=content, window=side, iterations=2) for side in (512, 64))
    for one, other in zip(whole, parts, strict=True):
        assert other["style"] == pytest.approx(one["style"], rel=1e-2)


def test_a_start_image_of_any_size_is_where_it_begins() -> None:
    found = paint(start="image", start_image=picture(3), iterations=0)
    assert torch.equal(found, picture(3))
    assert paint(start="image", start_image=picture(3, 9, 7), iterations=0).shape[-1] == 32


@pytest.mark.parametrize("size", [(1, 1), (2, 40), (20, 20), (33, 19)])
def test_small_contents_and_styles_are_painted(size: tuple[int, int]) -> None:
    content, style = picture(0)[..., :1, :1].expand(1, 3, *size), picture(1)[..., :1, :9]
    mask = torch.ones(1, 1, *size)
    found = paint(Style(pixels=style, mask=mask), content=content, iterations=1)
    assert found.shape == content.shape


def test_what_is_painted_is_in_range_and_the_arguments_stay() -> None:
    content, style = picture(0).clone(), picture(1).clone()
    found = paint(Style(pixels=style), content=content)
    assert 0 <= found.min() <= found.max() <= 1
    assert torch.equal(content, picture(0))
    assert torch.equal(style, picture(1))


def test_the_published_layers_are_there_for_every_network() -> None:
    for kind in ("vgg16", "vgg19", "squeezenet1_0"):
        loss = gatys_loss(kind)  # type: ignore[arg-type]
        assert loss.network == kind
        assert len(loss.style_layers) == 5
    with pytest.raises(ValueError, match="network must be"):
        gatys_loss("alexnet")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("styles", "options", "words"),
    [
        ([Style(pixels=picture(1), weight=0.0)], {}, "one above it, got"),
        ([Style(pixels=picture(1), weight=-1.0)], {}, "style weights must be at least 0"),
        ([Style(pixels=torch.zeros(1, 1, 8, 8))], {}, "a style must be"),
        ([Style(pixels=picture(1), mask=torch.ones(1, 1, 8, 8))], {}, "a mask must be"),
        ([Style(pixels=picture(1), mask=torch.zeros(1, 1, 32, 32))], {}, "a mask is too small"),
        ([], {"content": torch.zeros(3, 8, 8)}, "content must be"),
        ([], {"start": "image"}, "a start image must be given"),
        ([], {"start_image": picture(0)}, "and for no other"),
        ([], {"start": "middle"}, "start must be one of"),
        ([], {"original_colors": "yes"}, "original_colors must be one of"),
        ([], {"levels": 0}, "levels"),
        ([], {"style_scale": 0.0}, "style_scale"),
        ([], {"iterations": -1}, "iterations"),
        ([], {"loss": gatys_loss("vgg16")}, "relu3_1"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(
    styles: list[Style], options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        paint(*styles, **options)
    assert "\n" not in str(caught.value)
