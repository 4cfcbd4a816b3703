"""What a pixel model has learned about pictures: its activations as one vector a picture."""

import torch
import torch.nn.functional as F
from torch import Tensor

from models.pixel_likelihood import PixelNetwork, check_levels


def layer_count(network: PixelNetwork, *, height: int, width: int) -> int:
    """How many layers `embedding` can take; found by running one empty picture."""
    sites = network.sites
    image = torch.zeros(1, sites.channels, height, width, dtype=torch.uint8)
    labels = torch.zeros(1, dtype=torch.long) if network.classes else None
    with torch.no_grad():
        return len(network.features(image, labels))


def embedding(
    network: PixelNetwork,
    images: Tensor,
    layer: int,
    *,
    labels: Tensor | None = None,
    grid: int = 1,
    batch_size: int = 64,
) -> Tensor:
    """Mean activations of a layer over a grid of cells.

    Args:
        images: levels (N, C, H, W), integers.
        layer: a number into `network.features`, negative from the end.
        grid: cells each way; 1 is the mean over the picture.
    Returns:
        (N, features x grid^2), float32.
    Raises:
        ValueError: no such layer, a grid below 1, or levels that the network does not have.
    """
    if grid < 1:
        raise ValueError(f"grid must be at least 1, got {grid}")
    check_levels(images, network.sites)
    parts = []
    with torch.no_grad():
        for start in range(0, len(images), batch_size):
            part = slice(start, start + batch_size)
            chosen = None if labels is None else labels[part]
            kept = network.features(images[part], chosen)
            if not -len(kept) <= layer < len(kept):
                raise ValueError(f"layer must be below {len(kept)}, got {layer}")
            parts.append(F.adaptive_avg_pool2d(kept[layer].float(), grid).flatten(1))
    return torch.cat(parts)
