"""What pixel models are judged by, and the networks that are trained by name."""

import math
from itertools import product

import numpy as np
import pytest
import torch

from models.pixel_likelihood import mean_nats
from models.pixel_scores import histogram_nats, picture_nats, uniform_nats
from models.systems import PIXEL_PRESETS, SYSTEMS, picture_multiples, pixel_preset
from tests.models import pixel_networks


def test_nats_of_each_picture_have_the_mean_that_training_reports() -> None:
    network = pixel_networks.plus_plus(channels=1, levels=8)
    images = pixel_networks.pictures(network, 5)
    own = np.concatenate(list(picture_nats(network, images, batch_size=2)))
    assert own.shape == (5,)
    assert own.mean() == pytest.approx(mean_nats(network, images), rel=1e-6)


def test_histograms_are_probabilities_of_all_pictures_of_a_tiny_space() -> None:
    known = np.random.default_rng(0).integers(0, 2, (7, 1, 1, 3), dtype=np.uint8)
    every = np.array(list(product((0, 1), repeat=3)), np.uint8).reshape(8, 1, 1, 3)
    place = histogram_nats(known, every, 2, of="place")
    channel = histogram_nats(known, every, 2, of="channel")
    assert np.exp(-place).sum() == pytest.approx(1)
    assert np.exp(-channel).sum() == pytest.approx(1)
    assert not np.allclose(place, channel)


def test_a_histogram_is_of_its_own_place_or_channel() -> None:
    known = np.zeros((50, 2, 1, 2), np.uint8)
    known[:, 0, 0, 1] = known[:, 1].max(axis=(1, 2)) + 3  # one place of channel 0 is always 3
    alike, strange = known[:1], known[:1].copy()
    strange[0, 1, 0, 1] = 3
    p = {
        (of, which): float(histogram_nats(known, pictures, 4, of=of)[0])  # type: ignore[arg-type]
        for of in ("place", "channel")
        for which, pictures in (("alike", alike), ("strange", strange))
    }
    assert p["place", "alike"] == pytest.approx(4 * -math.log(50.5 / 52))
    assert p["channel", "alike"] == pytest.approx(
        2 * -math.log(50.5 / 102) + 2 * -math.log(100.5 / 102)
    )
    for of in ("place", "channel"):
        assert p[of, "strange"] > p[of, "alike"] + 3


def test_the_uniform_model_is_eight_bits() -> None:
    assert uniform_nats(3072, 256) / (3072 * math.log(2)) == 8


def test_known_pictures_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="known pictures must be"):
        histogram_nats(np.zeros((1, 1, 2, 2), np.uint8), np.zeros((1, 1, 2, 3), np.uint8), 2,
                       of="place")  # fmt: skip


@pytest.mark.parametrize("name", list(PIXEL_PRESETS))
def test_a_preset_is_of_the_pictures_kind(name: str) -> None:
    architecture, config = PIXEL_PRESETS[name]
    assert isinstance(config, SYSTEMS[architecture].config)
    own, made = pixel_preset(name, channels=1, levels=2)
    assert (own, made.channels, made.levels) == (architecture, 1, 2)


@pytest.mark.parametrize("name", ["digits", "patches"])
def test_our_own_presets_stay_small_and_run_at_their_multiples(name: str) -> None:
    architecture, config = PIXEL_PRESETS[name]
    network = SYSTEMS[architecture].build(config)
    assert sum(p.numel() for p in network.parameters()) < 750_000  # 1.5 MB as float16
    height, width = picture_multiples(config)
    levels = torch.zeros(1, config.channels, 2 * height, 2 * width, dtype=torch.uint8)
    assert network(levels).shape[0] == 1
    with pytest.raises(ValueError, match="multiple"):
        network(levels[..., : width + 1])


def test_a_preset_that_does_not_suit_is_refused() -> None:
    with pytest.raises(ValueError, match="network must be one of digits, patches, "):
        pixel_preset("mill", channels=1, levels=2)
    with pytest.raises(ValueError, match="digits does not suit pictures of 3 channels and 256"):
        pixel_preset("digits", channels=3, levels=256)
    with pytest.raises(ValueError, match="pixelcnn cannot be conditioned by classes, got 10"):
        pixel_preset("pixelcnn", channels=1, levels=2, classes=10)
    _, config = pixel_preset("gated-pixelcnn", channels=1, levels=2, classes=10)
    assert getattr(config, "classes") == 10  # noqa: B009
