"""How far two pictures are apart for a network that was trained to see."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from models.pixels import Pixels

LAYERS = ("relu1_2", "relu2_2", "relu3_3")
"""VGG16's layers that are compared: edges, textures, small parts."""

_MARGIN = 24
"""Pixels around a tile that relu3_3 of VGG16 sees (20), up to a multiple of its stride."""
_COARSEST = 4


def relative_perceptual_distance(
    features: nn.Module,
    output: Pixels,
    reference: Pixels,
    *,
    layers: Sequence[str] = LAYERS,
    tile: int = 384,
) -> float | None:
    """Mean over layers j of `||phi_j(x) - phi_j(y)||^2 / ||phi_j(y)||^2`, y the reference.

    Source: the feature reconstruction loss of Johnson et al. 2016, arXiv:1603.08155. Differs: each
    layer's loss is divided by the reference's mean square there, so that no layer dominates; 0 for
    equal pictures, about 1 for one whose features have nothing to do with the reference's.

    Args:
        features: `features.FeatureNetwork` or alike: (N, 3, H, W) in 0..1 -> a dict of layers,
            (N, C, H', W'). They must be VGG's up to block 3: layer relu<k>_* has stride 2^(k-1).
            It is fed tile by tile, with as much around as these layers see, so that the result is
            the whole picture's.
        output, reference: (H, W, 1 or 3) uint8, the same shape; gray is taken as equal R, G, B.
        tile: a multiple of 4.
    Returns:
        The distance, at least 0; None where a side is under 4 pixels, too small to be pooled.
    Raises:
        ValueError: the shapes differ, or the tile is no multiple of 4.
    """
    if output.shape != reference.shape:
        raise ValueError(f"shapes must be equal, got {output.shape} and {reference.shape}")
    if tile < _COARSEST or tile % _COARSEST:
        raise ValueError(f"tile must be a multiple of {_COARSEST}, got {tile}")
    height, width = reference.shape[:2]
    if min(height, width) < _COARSEST:
        return None
    device = next(features.parameters()).device
    apart = torch.zeros(len(layers), dtype=torch.float64)
    square = torch.zeros(len(layers), dtype=torch.float64)
    for rows in _spans(height, tile):
        for columns in _spans(width, tile):
            pair = [_window(p, rows, columns, device) for p in (output, reference)]
            with torch.inference_mode():
                seen = features(torch.cat(pair))
            for index, layer in enumerate(layers):
                x, y = _core(seen[layer], layer, rows, columns).double().cpu()
                apart[index] += (x - y).square().sum()
                square[index] += y.square().sum()
    return float((apart / square.clamp(min=1e-12)).mean())


def _spans(length: int, tile: int) -> Iterator[tuple[int, int, int, int]]:
    """(read from, keep from, keep until, read until) along a side; what pooling drops is kept."""
    starts = range(0, max(length - _COARSEST + 1, 1), tile)
    for start in starts:
        stop = length if start == starts[-1] else start + tile
        yield max(0, start - _MARGIN), start, stop, min(length, stop + _MARGIN)


def _window(
    pixels: Pixels,
    rows: tuple[int, int, int, int],
    columns: tuple[int, int, int, int],
    device: torch.device,
) -> Tensor:
    part = torch.from_numpy(pixels[rows[0] : rows[3], columns[0] : columns[3]].copy())
    return part.to(device).permute(2, 0, 1)[None].float().expand(-1, 3, -1, -1) / 255


def _core(
    seen: Tensor, layer: str, rows: tuple[int, int, int, int], columns: tuple[int, int, int, int]
) -> Tensor:
    """A layer's features without the margins."""
    stride = 2 ** (int(layer.removeprefix("relu")[0]) - 1)
    (top, bottom), (left, right) = (
        ((keep - read) // stride, (until - read) // stride)
        for read, keep, until, _ in (rows, columns)
    )
    return seen[..., top:bottom, left:right]
