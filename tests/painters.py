"""Small painters, and what it takes to train one: photographs, styles, features."""

import numpy as np
import torch
from safetensors.torch import save as save_safetensors

from models.cards import Card
from models.checkpoints import write_checkpoint
from models.features import random_state
from models.images import Picture, encode
from models.style_feedforward import Painter, PainterConfig, painter_init_
from tasks import storage
from tests.corpus import smooth_noise

STYLES = ("waves", "night", "scream")


def tiny_painter(seed: int = 0, styles: tuple[str, ...] = STYLES) -> Painter:
    """A painter whose styles are really different, with outputs around 0..1."""
    painter = Painter(PainterConfig(styles=styles, width=4, blocks=2))
    generator = torch.Generator().manual_seed(seed)
    painter_init_(painter, generator)
    with torch.no_grad():
        painter.last.weight.mul_(4)
        for name, parameter in painter.named_parameters():
            if "norm" in name or "scale" in name or name == "skip":
                parameter.add_(0.5 * torch.randn(parameter.shape, generator=generator))
    return painter.eval().requires_grad_(False)


def painter_checkpoint(seed: int = 0, *, half: bool = False) -> bytes:
    """The file of a tiny painter."""
    painter = tiny_painter(seed)
    config = {"styles": list(STYLES), "width": 4, "blocks": 2}
    card = Card(architecture="painter", config=config, metrics={"validation_total": 1.0})
    return write_checkpoint(painter.half() if half else painter, card)


def training_material(place: str, photographs: int = 8) -> tuple[str, tuple[str, str], str]:
    """Photographs, two styles and SqueezeNet's features with random weights, in a store.

    Returns:
        The photographs' folder, the styles and the features' URI.
    """
    for k in range(photographs):
        pixels = smooth_noise(k, 44 + k, 60 - k)
        uri = storage.join(place, f"photographs/{k:02d}.png")
        storage.write(uri, encode(Picture(pixels=pixels), "png"))
    stripes = np.zeros((40, 40, 3), np.uint8)
    stripes[::4] = (250, 40, 10)
    checks = np.kron(np.indices((10, 10)).sum(0) % 2, np.ones((4, 4)))[..., None] * [0, 90, 250]
    styles = []
    for name, pixels in (("Stripes", stripes), ("checks", checks.astype(np.uint8))):
        styles.append(storage.join(place, f"{name}.png"))
        storage.write(styles[-1], encode(Picture(pixels=pixels), "png"))
    features = storage.join(place, "squeezenet1_0.safetensors")
    state = random_state("squeezenet1_0", torch.Generator().manual_seed(3))
    storage.write(features, save_safetensors(state))
    return storage.join(place, "photographs"), (styles[0], styles[1]), features
