"""Small pixel models as checkpoints in a store, and pictures that suit them."""

from dataclasses import asdict
from typing import Any

import numpy as np

from models.cards import Card
from models.checkpoints import write_checkpoint
from models.images import Picture, encode
from models.pixel_pictures import Bytes
from tasks import storage
from tests.models.pixel_networks import gated, plus_plus, rnn

BINARY: dict[str, Any] = {"channels": 1, "levels": 2}


def put_model(place: str, network: Any, architecture: str, name: str = "model") -> str:
    """Write a network's checkpoint; its URI."""
    card = Card(architecture=architecture, config=asdict(network.config), metrics={})
    uri = storage.join(place, f"{name}.safetensors")
    storage.write(uri, write_checkpoint(network, card))
    return uri


def binary_model(place: str, **sizes: Any) -> str:
    """A gated PixelCNN of black and white pictures of any size."""
    return put_model(place, gated(**BINARY, **sizes), "gated_pixelcnn", "binary")


def color_model(place: str, **sizes: Any) -> str:
    """A PixelCNN++ of RGB pictures whose sides are even."""
    return put_model(place, plus_plus(**sizes), "pixelcnn_pp", "color")


def slow_model(place: str) -> str:
    """A PixelRNN of black and white pictures."""
    return put_model(place, rnn(**BINARY, recurrence="row"), "pixelrnn", "slow")


def binary_pixels(seed: int, height: int = 8, width: int = 8) -> Bytes:
    """(H, W, 1) of 0 and 255."""
    drawn = np.random.default_rng(seed).integers(0, 2, (height, width, 1))
    return (drawn * 255).astype(np.uint8)


def color_pixels(seed: int, height: int = 8, width: int = 8) -> Bytes:
    """(H, W, 3), smooth from left to right."""
    random = np.random.default_rng(seed)
    ramp = np.linspace(*random.integers(0, 256, (2, 3)), width)
    noise = random.integers(-2, 3, (height, width, 3))
    return np.clip(ramp[None] + noise, 0, 255).astype(np.uint8)


def png(pixels: Bytes) -> bytes:
    """The bytes of a PNG."""
    return encode(Picture(pixels=pixels), "png")


def put_dataset(place: str, counts: dict[str, int], *, labels: bool = True) -> str:
    """A dataset of black and white pictures, the label the half that is white; its URI."""
    import pyarrow as pa

    from tasks import tables

    for split, count in counts.items():
        rows = []
        for n in range(count):
            pixels = np.zeros((8, 8, 1), np.uint8)
            label = n % 2
            random = np.random.default_rng(n + 1000 * len(split))
            pixels[:, 4 * label : 4 * label + 4] = 255 * random.integers(0, 2, (8, 4, 1))
            rows.append(
                {
                    "image": {"bytes": png(pixels), "path": f"{n}.png"},
                    "label": label if labels else None,
                    "source": f"{n}.png",
                    "split": split,
                }
            )
        schema = pa.schema(
            [
                ("image", tables.PICTURE),
                ("label", pa.int64()),
                ("source", pa.string()),
                ("split", pa.string()),
            ]
        )
        data = tables.table_to_parquet(pa.Table.from_pylist(rows, schema=schema))
        storage.write(storage.join(place, f"data/{split}/part-00000.parquet"), data)
    return place
