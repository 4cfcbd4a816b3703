"""Laws of the small classifier, its checkpoint, and Wilson's interval."""

import json

import numpy as np
import pytest
import torch

from models.cards import Card, CheckpointError
from models.checkpoints import write_checkpoint
from models.classifiers import (
    SmallClassifier,
    SmallClassifierConfig,
    predict,
    read_classifier,
    wilson_interval,
    write_classifier,
)
from models.super_resolution import Mill, MillConfig

CLASSES = ("cat", "dog", "frog")


def network(seed: int = 0) -> SmallClassifier:
    torch.manual_seed(seed)
    config = SmallClassifierConfig(classes=CLASSES, widths=(4, 8, 8))
    return SmallClassifier(config).eval().requires_grad_(False)


def test_the_parameter_count_for_cifar_10() -> None:
    config = SmallClassifierConfig(classes=tuple("abcdefghij"))
    assert sum(p.numel() for p in SmallClassifier(config).parameters()) == 309_290


def test_a_checkpoint_gives_the_same_network_back() -> None:
    before = network()
    with torch.no_grad():
        before.norm.running_mean.fill_(0.1)  # type: ignore[union-attr]
    after = read_classifier(write_classifier(before, {"accuracy": 0.5}), name="c")
    pictures = torch.rand(3, 3, 32, 32)
    assert after.config == before.config
    torch.testing.assert_close(after(pictures), before(pictures), rtol=0, atol=0)


@pytest.mark.parametrize("count", [1, 255, 256, 257, 600])
def test_predictions_do_not_depend_on_how_many_go_at_once(count: int) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), np.uint8)
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    found = predict(network(), pictures)
    assert found.shape == (count,)
    np.testing.assert_array_equal(found, network()(x).argmax(1).numpy())


def test_what_is_no_classifier_is_refused() -> None:
    mill = write_checkpoint(
        Mill(MillConfig(scale=2, width=4, blocks=1)),
        Card(architecture="mill", config={"scale": 2}, metrics={}),
    )
    for data in (mill, b"", b"not a checkpoint"):
        with pytest.raises(CheckpointError):
            read_classifier(data, name="c")
    whole = write_classifier(network(), {})
    with pytest.raises(CheckpointError, match="c is damaged"):
        read_classifier(whole[:-5], name="c")
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    header["__metadata__"]["card"] = json.dumps({"config": {"classes": ["a", "b"]}})
    text = json.dumps(header).encode()
    with pytest.raises(CheckpointError, match="c is damaged"):
        read_classifier(len(text).to_bytes(8, "little") + text + whole[8 + length :], name="c")


def test_one_class_is_no_classification() -> None:
    with pytest.raises(ValueError, match="at least 2 classes, got 1"):
        SmallClassifier(SmallClassifierConfig(classes=("a",)))


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (1, 1, 0.2065, 1.0),
     (5000, 10000, 0.4902, 0.5098)],
)  # fmt: skip
def test_wilson_s_interval_has_its_published_values(
    hits: int, of: int, low: float, high: float
) -> None:
    assert wilson_interval(hits, of) == (
        pytest.approx(low, abs=1e-4),
        pytest.approx(high, abs=1e-4),
    )


@pytest.mark.parametrize(("hits", "of"), [(0, 0), (-1, 5), (6, 5)])
def test_a_share_that_is_none_is_refused(hits: int, of: int) -> None:
    with pytest.raises(ValueError, match=f"got {hits} of {of}"):
        wilson_interval(hits, of)
