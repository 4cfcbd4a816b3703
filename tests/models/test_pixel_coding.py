"""Laws of compression: exact, near the model's own bits, refused when anything is wrong."""

import math

import pytest
import torch

from models import pixel_coding
from models.pixel_coding import ContainerError, compress, decompress, read_container
from models.pixel_likelihood import nats
from models.pixel_sampling import draw_noise, sample
from tests.models.pixel_networks import CONVOLUTIONAL, gated, labels_for, pictures, rnn, size_for

DIGEST = b"weights"


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_what_was_compressed_comes_back(name: str) -> None:
    network = CONVOLUTIONAL[name]()
    images = pictures(network, 3)
    data = compress(network, images, digest=DIGEST, labels=labels_for(network, 3))
    assert torch.equal(decompress(network, data, digest=DIGEST), images)


def test_groups_of_pictures_follow_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    network = gated(classes=3)
    images, labels = pictures(network, 5), labels_for(network, 5)
    whole = compress(network, images, digest=DIGEST, labels=labels)
    monkeypatch.setattr(pixel_coding, "GROUP", 2)
    data = compress(network, images, digest=DIGEST, labels=labels)
    assert torch.equal(decompress(network, data, digest=DIGEST), images)
    assert abs(len(whole) - len(data)) <= 4


def test_the_file_is_as_long_as_the_model_says() -> None:
    """Pictures that the model drew itself: within 0.5 % and the container's 47 bytes."""
    network = gated(levels=16)
    shape = (64, *size_for(network))
    images = sample(network, draw_noise(shape, torch.Generator().manual_seed(0)))
    with torch.no_grad():
        own = float(nats(network, images).sum()) / math.log(2) / 8
    assert own > 5000
    data = compress(network, images, digest=DIGEST)
    assert own < len(data) < own * 1.005 + 47


def test_a_flipped_byte_anywhere_is_refused() -> None:
    network = gated()
    data = compress(network, pictures(network, 1), digest=DIGEST)
    for place in range(len(data)):
        bad = bytearray(data)
        bad[place] ^= 1 << place % 8
        with pytest.raises(ContainerError):
            decompress(network, bytes(bad), digest=DIGEST)


def test_a_truncated_file_is_refused_wherever_it_ends() -> None:
    network = gated()
    data = compress(network, pictures(network, 1), digest=DIGEST)
    for length in range(len(data)):
        with pytest.raises(ContainerError):
            decompress(network, data[:length], digest=DIGEST)
    with pytest.raises(ContainerError, match="longer"):
        decompress(network, data + b"\0", digest=DIGEST)


def test_another_models_digest_is_refused_with_a_sentence() -> None:
    network = gated()
    data = compress(network, pictures(network, 1), digest=DIGEST)
    with pytest.raises(ContainerError, match="another model"):
        decompress(network, data, digest=b"other weights")


def test_other_weights_under_the_same_digest_give_no_wrong_picture() -> None:
    network, other = gated(), gated()
    other.head_out.bias.data += torch.linspace(0, 1, len(other.head_out.bias))
    data = compress(network, pictures(network, 1), digest=DIGEST)
    with pytest.raises(ContainerError, match=r"pixels are not|does not fit"):
        decompress(other, data, digest=DIGEST)


def test_what_a_container_holds_can_be_read_without_a_model() -> None:
    network = gated(classes=3)
    labels = torch.tensor([2, 0])
    container = read_container(
        compress(network, pictures(network, 2), digest=DIGEST, labels=labels)
    )
    assert (container.pictures, container.channels) == (2, 3)
    assert (container.height, container.width) == (8, 8)
    assert container.labels is not None
    assert container.labels.tolist() == [2, 0]


def test_nothing_to_compress_and_networks_that_cannot_are_refused() -> None:
    network = gated()
    with pytest.raises(ValueError, match="no picture"):
        compress(network, pictures(network, 0), digest=DIGEST)
    with pytest.raises(ValueError, match="levels must be"):
        compress(network, torch.full((1, 3, 8, 8), 9), digest=DIGEST)
    slow = rnn()
    with pytest.raises(ValueError, match="site by site"):
        compress(slow, pictures(slow, 1), digest=DIGEST)
