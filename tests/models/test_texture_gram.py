"""Laws of textures by optimisation: seeded, tiling, blind to holes, of any size."""

import os
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch

from models.features import FeatureNetwork, layer_names, random_state
from models.random_features import RandomFeatures
from models.texture_gram import GramConfig, gram_texture, level_iterations
from models.texture_objective import default_weight, exemplar_levels, texture_layers
from models.texture_study import LOW_FACTORS, depth_study, study_plan
from tests.models.texture_samples import U8, blobs, seam_is_hidden

LAYERS = ("relu1_1", "relu1_2", "relu2_1")


@lru_cache
def network(*layers: str) -> FeatureNetwork:
    state = random_state("vgg16", torch.Generator().manual_seed(0))
    return FeatureNetwork("vgg16", state, layers=layers or LAYERS, pooling="average")


@lru_cache
def exemplar(side: int = 48) -> U8:
    return blobs(side, side, 3)


def synthesize(
    example: U8 | None = None,
    size: tuple[int, int] = (32, 32),
    *,
    seed: int = 0,
    valid: Any = None,
    progress: Any = None,
    features: Any = None,
    **options: Any,
) -> U8:
    config = GramConfig(**({"iterations": 6, "halo": 16} | options))
    return gram_texture(
        exemplar() if example is None else example, size, features or network(), config,
        generator=torch.Generator().manual_seed(seed), valid=valid, progress=progress,
    )  # fmt: skip


def losses_of(**options: Any) -> list[tuple[int, dict[str, float]]]:
    heard: list[tuple[int, dict[str, float]]] = []
    synthesize(progress=lambda n, losses: heard.append((n, losses)), **options)
    return heard


@pytest.mark.parametrize("loss", ["gram", "sliced_wasserstein"])
@pytest.mark.parametrize("tileable", [False, True])
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(
    loss: str, tileable: bool
) -> None:
    options: dict[str, Any] = {"loss": loss, "tileable": tileable, "octaves": 2, "turn": 3}
    first, again, other = (synthesize(seed=seed, **options) for seed in (0, 0, 1))
    assert first.shape == (32, 32, 3)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("features", ["vgg16", "random"])
def test_the_loss_falls_from_noise_in_every_layer(features: str) -> None:
    random = RandomFeatures(torch.Generator().manual_seed(0), width=8, sides=(3, 5, 11))
    heard = losses_of(iterations=40, features=random if features == "random" else None)
    first, last = heard[0][1], heard[-1][1]
    assert last["total"] < first["total"] / 30
    assert all(last[name] < first[name] for name in first)


def test_the_sliced_distance_falls_too_through_changing_directions() -> None:
    heard = losses_of(iterations=24, loss="sliced_wasserstein", turn=8)
    assert [n for n, _ in heard] == list(range(25))
    assert heard[-1][1]["total"] < heard[0][1]["total"] / 10


@pytest.mark.parametrize("loss", ["gram", "sliced_wasserstein"])
def test_a_tileable_texture_tiles(loss: str) -> None:
    options: dict[str, Any] = {"loss": loss, "iterations": 12}
    outputs = [synthesize(seed=seed, tileable=True, **options) for seed in range(3)]
    assert seam_is_hidden(outputs)
    assert not seam_is_hidden([synthesize(seed=seed, **options) for seed in range(3)])


def test_a_tileable_texture_tiles_through_its_levels_at_odd_sides() -> None:
    options: dict[str, Any] = {"tileable": True, "octaves": 2, "iterations": 12}
    outputs = [synthesize(size=(37, 43), seed=s, **options) for s in range(3)]
    assert outputs[0].shape == (37, 43, 3)
    assert seam_is_hidden(outputs)


def test_what_lies_in_a_hole_does_not_matter() -> None:
    valid = np.ones((48, 48), np.bool_)
    valid[10:20, 15:40] = False
    black, white = exemplar().copy(), exemplar().copy()
    black[~valid], white[~valid] = 0, 255
    assert np.array_equal(synthesize(black, valid=valid), synthesize(white, valid=valid))
    plain = synthesize(exemplar(), valid=np.ones_like(valid))
    assert np.array_equal(plain, synthesize(exemplar()))
    sliced: dict[str, Any] = {"loss": "sliced_wasserstein", "valid": valid, "histogram": True}
    assert np.array_equal(synthesize(black, **sliced), synthesize(white, **sliced))


def test_an_exemplar_of_one_colour_gives_that_colour() -> None:
    flat = np.full((20, 20, 3), (200, 90, 30), np.uint8)
    output = synthesize(flat, iterations=60).astype(int)
    assert abs(output.mean(axis=(0, 1)) - (200, 90, 30)).max() < 6
    assert np.array_equal(synthesize(flat, iterations=3, histogram=True), flat[:1, :1].repeat(
        32, 0).repeat(32, 1))  # fmt: skip


@pytest.mark.parametrize("shape", [(1, 30), (30, 1), (1, 1), (3, 5)])
def test_a_strip_and_a_speck_are_continued_in_their_mirror(shape: tuple[int, int]) -> None:
    assert synthesize(exemplar()[: shape[0], : shape[1]], iterations=2).shape == (32, 32, 3)


@pytest.mark.parametrize("size", [(1, 40), (40, 1), (1, 1), (33, 17)])
@pytest.mark.parametrize("tileable", [False, True])
def test_every_size_of_output_is_made(size: tuple[int, int], tileable: bool) -> None:
    deep = network("relu1_1", "pool3")
    output = synthesize(size=size, iterations=2, tileable=tileable, features=deep)
    assert output.shape == (*size, 3)


def test_a_histogram_match_ends_with_the_exemplar_s_values() -> None:
    output = synthesize(exemplar(32), iterations=2, histogram=True)
    for channel in range(3):
        wanted = np.sort(exemplar(32)[..., channel], axis=None)
        assert np.array_equal(np.sort(output[..., channel], axis=None), wanted)


def test_total_variation_calms_the_texture() -> None:
    rough, calm = (synthesize(iterations=20, tv_weight=w).astype(int) for w in (0.0, 100.0))
    assert np.abs(np.diff(calm, axis=1)).mean() < 0.7 * np.abs(np.diff(rough, axis=1)).mean()
    assert "tv" in losses_of(tv_weight=1.0)[0][1]
    assert "tv" not in losses_of()[0][1]


def test_levels_have_half_the_iterations_each_and_count_as_one_synthesis() -> None:
    assert level_iterations((256, 256), (256, 256), GramConfig()) == (500,)
    assert level_iterations((512, 512), (512, 512), GramConfig()) == (500, 250)
    assert level_iterations((512, 512), (2048, 2048), GramConfig()) == (500, 250, 125, 62)
    assert level_iterations((64, 64), (2048, 2048), GramConfig()) == (500,)
    assert level_iterations((9, 9), (9, 9), GramConfig(octaves=3, iterations=30)) == (30, 15, 10)
    heard = losses_of(octaves=2, iterations=12, size=(40, 32))
    assert [n for n, _ in heard] == list(range(23))


def test_a_finer_level_goes_on_from_the_coarser_one() -> None:
    heard = dict(losses_of(octaves=2, iterations=40))
    assert heard[40]["total"] < losses_of()[0][1]["total"] / 2


def test_a_large_output_is_made_of_windows_and_has_the_same_objective() -> None:
    whole, parts = (losses_of(size=(130, 32), iterations=1, window=window) for window in (512, 64))
    for (_, one), (_, other) in zip(whole, parts, strict=True):
        for name, value in one.items():
            assert other[name] == pytest.approx(value, rel=1e-3)


def test_what_progress_raises_stops_the_synthesis() -> None:
    def stop(iteration: int, _: dict[str, float]) -> None:
        if iteration == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        synthesize(progress=stop)


def test_the_exemplar_and_its_levels_keep_the_mean_colour() -> None:
    levels = exemplar_levels(exemplar(), None, 3, smallest=1)
    assert [tuple(level.pixels.shape[-2:]) for level in levels] == [(48, 48), (24, 24), (12, 12)]
    for level in levels[1:]:
        torch.testing.assert_close(level.colours().mean(dim=1), levels[0].colours().mean(dim=1))


@pytest.mark.parametrize("kind", ["vgg16", "vgg19", "squeezenet1_0"])
def test_every_layer_of_every_network_has_a_weight_that_falls_with_depth(kind: Any) -> None:
    names = [n for n in layer_names(kind) if not (kind.startswith("sq") and n.startswith("pool"))]
    weights = [default_weight(name) for name in names]
    assert weights == sorted(weights, reverse=True)
    assert weights[0] == 10
    own = [default_weight(name) for name in texture_layers(kind)]
    assert own == pytest.approx([10, 10**0.5, 1, 10**-0.5, 0.1])
    assert set(texture_layers(kind)) <= set(layer_names(kind))


def test_weights_and_layers_are_those_asked_for() -> None:
    one = losses_of(layers=("relu1_2",), layer_weights=(3.0,))[0][1]
    assert list(one) == ["relu1_2", "total"]
    assert one["total"] == pytest.approx(3 * one["relu1_2"])
    assert list(losses_of()[0][1]) == [*LAYERS, "total"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layers": ("relu3_1",)}, "layers must be out of relu1_1, relu1_2, relu2_1, got relu3_1"),
        ({"layers": ()}, "got none"),
        ({"layer_weights": (1.0,)}, "3 layers need as many weights"),
        ({"layer_weights": (0.0, 0.0, 0.0)}, "3 layers need as many weights"),
        ({"layer_weights": (1.0, -1.0, 1.0)}, "at least 0"),
        ({"size": (0, 5)}, "at least 1x1"),
        ({"example": np.zeros((4, 4, 1), np.uint8)}, r"must be \(H, W, 3\) uint8"),
        ({"example": np.zeros((0, 4, 3), np.uint8)}, r"must be \(H, W, 3\) uint8"),
        ({"example": np.zeros((4, 4, 3))}, "float64"),
        ({"valid": np.zeros((48, 48), np.bool_)}, "no usable pixel"),
        ({"valid": np.ones((4, 4), np.bool_)}, r"valid must be \(48, 48\) bool"),
        ({"loss": "mse"}, "gram or sliced_wasserstein"),
        ({"octaves": 0}, "octaves"),
        ({"noise": -1.0}, "noise"),
        ({"turn": 0}, "turn"),
        ({"iterations": -1}, "iterations"),
        ({"window": 100}, "side"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        synthesize(**options)
    assert "\n" not in str(caught.value)


def test_a_study_deepens_layer_by_layer_and_weighs_the_low_ones() -> None:
    plan = study_plan(LAYERS)
    assert [config.layers for _, config in plan[:3]] == [LAYERS[:1], LAYERS[:2], LAYERS]
    own = tuple(default_weight(layer) for layer in LAYERS)
    for (_, config), factor in zip(plan[3:], LOW_FACTORS, strict=True):
        assert config.layers == LAYERS
        assert config.layer_weights == pytest.approx((factor * own[0], factor * own[1], own[2]))
    with pytest.raises(ValueError, match="fewer low ones"):
        study_plan(("relu1_1",))


def test_a_study_s_pictures_are_those_of_its_settings() -> None:
    built: list[tuple[str, ...]] = []

    def build(layers: tuple[str, ...]) -> FeatureNetwork:
        built.append(layers)
        return network(*layers)

    config = GramConfig(layers=LAYERS, iterations=2)
    study = depth_study(exemplar(), (16, 16), build, config, seed=3)
    assert built == [picture.layers for picture in study]
    assert len({picture.words for picture in study}) == len(study) == 6
    plain = synthesize(size=(16, 16), seed=3, iterations=2)
    assert np.array_equal(study[2].pixels, plain)
    assert np.array_equal(study[4].pixels, plain)  # the factor 1
    assert set(study[0].losses) == {"relu1_1", "total"}
    with pytest.raises(ValueError, match="name its layers"):
        depth_study(exemplar(), (16, 16), build, GramConfig(), seed=0)


@pytest.mark.skipif(
    not os.environ.get("PIXELMILL_FEATURES"),
    reason="PIXELMILL_FEATURES names no folder of published weights",
)
def test_published_weights_take_the_loss_down_fast() -> None:
    from safetensors.torch import load

    from tasks.features import locate_features
    from tasks.storage import read

    state = load(read(locate_features(None, "squeezenet1_0").uri))
    layers = texture_layers("squeezenet1_0")
    features = FeatureNetwork("squeezenet1_0", state, layers=layers, pooling="average")
    heard = losses_of(example=exemplar(64), size=(64, 64), features=features, iterations=60)
    assert heard[-1][1]["total"] < heard[0][1]["total"] / 100
