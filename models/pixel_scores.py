"""What pixel models are judged by: exact nats of each picture, and what costs nothing to know."""

import math
from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.pixel_likelihood import PixelNetwork, nats
from models.pixel_pictures import Bytes

_CHUNK = 500


def picture_nats(
    network: PixelNetwork, images: Tensor, labels: Tensor | None = None, *, batch_size: int = 64
) -> Iterator[NDArray[np.float64]]:
    """-log p of each picture, batch by batch, without gradients.

    Args:
        network: in evaluation mode.
        images: levels (N, C, H, W), on the network's device.
    Raises:
        ValueError: a level that the network does not have, or another shape.
    """
    for start in range(0, len(images), batch_size):
        part = slice(start, start + batch_size)
        with torch.no_grad():
            own = nats(network, images[part], None if labels is None else labels[part])
        found: NDArray[np.float64] = own.double().cpu().numpy()
        yield found


def uniform_nats(dimensions: int, levels: int) -> float:
    """-log p of any picture, all pictures being equally likely."""
    return dimensions * math.log(levels)


def histogram_nats(
    known: Bytes, images: Bytes, levels: int, *, of: Literal["place", "channel"]
) -> NDArray[np.float64]:
    """-log p of pictures whose values are independent, by histograms of known pictures.

    Every count begins at one half, so that nothing is impossible.

    Args:
        known, images: levels (N, C, H, W), alike but in number.
        of: each place's own histogram, or one of all values of a channel.
    Returns:
        (N,) of `images`.
    Raises:
        ValueError: pictures of another shape, or none are known.
    """
    if known.shape[1:] != images.shape[1:] or not len(known):
        raise ValueError(f"known pictures must be {images.shape[1:]}, got {known.shape}")
    shape = known.shape[1:]
    place = np.arange(math.prod(shape)) if of == "place" else _channel_of_places(shape)
    count = int(place.max()) + 1
    counts = np.full(count * levels, 0.5)
    for start in range(0, len(known), _CHUNK):
        values = known[start : start + _CHUNK].reshape(-1, len(place))
        counts += np.bincount((values + place * levels).ravel(), minlength=len(counts))
    table = counts.reshape(count, levels)
    logs = np.log(table / table.sum(1, keepdims=True)).ravel()
    parts = [
        -logs[images[start : start + _CHUNK].reshape(-1, len(place)) + place * levels].sum(1)
        for start in range(0, len(images), _CHUNK)
    ]
    return np.concatenate(parts) if parts else np.empty(0)


def _channel_of_places(shape: tuple[int, ...]) -> NDArray[np.int64]:
    return np.arange(shape[0]).repeat(math.prod(shape[1:]))
