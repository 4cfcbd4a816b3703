"""What a texture's pixels are to satisfy: the exemplar's statistics, layer by layer."""

import re
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from models.feature_windows import (
    Edge,
    FeatureExtractor,
    Features,
    Window,
    WindowConfig,
    at_least,
    gram_distances,
    picture_grams,
    region_weights,
    sum_over_windows,
)
from models.losses import total_variation
from models.sliced_wasserstein import SlicedTargets
from models.texture_pixels import Bytes, Mask

_FIRE_BLOCKS = {"1": 2, "2": 2, "3": 2, "4": 3, "5": 4, "6": 4, "7": 4, "8": 5, "9": 5}


def texture_layers(kind: str) -> tuple[str, ...]:
    """The layers that texture is matched in: Gatys et al. 2015's of VGG, the like of SqueezeNet.

    Raises:
        ValueError: no such network.
    """
    if kind in ("vgg16", "vgg19"):
        return "relu1_1", "pool1", "pool2", "pool3", "pool4"
    if kind == "squeezenet1_0":
        return "relu1", "fire2", "fire4", "fire6", "fire8"
    raise ValueError(f"a network must be vgg16, vgg19 or squeezenet1_0, got {kind!r}")


def default_weight(layer: str) -> float:
    """10^((3 - block) / 2): 10 for the first block of a network, 0.1 for the fifth.

    A pool counts as VGG's block behind it. The relative distances that can be reached grow with
    depth; equal weights would leave the shallow layers, and so colour and grain, unfinished.
    Random filters, all of one depth, have 1.
    """
    if layer.startswith("scale"):
        return 1.0
    name = re.match(r"(conv|relu|pool|fire)(\d)(_\d)?", layer)
    if name is None:
        raise ValueError(f"no weight is known for a layer named {layer!r}")
    what, number, of_vgg = name.groups()
    if what == "fire":
        block = _FIRE_BLOCKS[number]
    elif what == "pool":
        block = min(int(number) + 1, 6) if number != "8" else 5
    else:
        block = int(number) if of_vgg or number == "1" else 1
    return float(10 ** ((3 - block) / 2))


def weighted_layers(
    features: FeatureExtractor, layers: Sequence[str] | None, weights: Sequence[float] | None
) -> dict[str, float]:
    """Each wanted layer's weight; all of the network's and `default_weight`s for None.

    Raises:
        ValueError: a layer that the network does not compute, or not one weight of at least 0 for
            each, one of them above it.
    """
    wanted = tuple(layers) if layers is not None else features.layers
    missing = [layer for layer in wanted if layer not in features.layers]
    if missing or not wanted:
        known = ", ".join(features.layers)
        raise ValueError(f"layers must be out of {known}, got {', '.join(wanted) or 'none'}")
    own = list(weights) if weights is not None else [default_weight(layer) for layer in wanted]
    if len(own) != len(wanted) or not all(0 <= w < float("inf") for w in own) or not sum(own) > 0:
        raise ValueError(f"{len(wanted)} layers need as many weights, at least 0, got {own}")
    return dict(zip(wanted, own, strict=True))


class Exemplar:
    """A texture to imitate at one level: RGB in 0..1, and where its pixels may be used.

    pixels: (1, 3, H, W). masks: (1, 1, H, W) in 0..1, or None for all.
    """

    def __init__(self, pixels: Tensor, masks: Tensor | None) -> None:
        self.pixels, self.masks = pixels, masks

    def colours(self) -> Tensor:
        """The usable pixels, (3, n)."""
        flat = self.pixels.flatten(2)[0]
        return flat if self.masks is None else flat[:, self.masks.flatten() > 0.5]


def exemplar_levels(
    exemplar: Bytes,
    valid: Mask | None,
    levels: int,
    *,
    smallest: int,
    device: torch.device | str = "cpu",
) -> list[Exemplar]:
    """The exemplar halved 0, 1, ... times, finest first.

    Unusable pixels become the nearest usable one's copies, so that the features beside them see
    nothing strange, and count by the share of usable pixels under each position.

    Args:
        exemplar: (H, W, 3) uint8. valid: (H, W) bool, or None for all.
        smallest: side, pixels, that the network needs; smaller ones are continued in their mirror.
    Raises:
        ValueError: another shape or type, or no usable pixel.
    """
    if (
        exemplar.dtype != np.uint8
        or exemplar.ndim != 3
        or exemplar.shape[2] != 3
        or not exemplar.size
    ):
        raise ValueError(
            f"an exemplar must be (H, W, 3) uint8, got {exemplar.shape} {exemplar.dtype}"
        )
    whole = valid is None or bool(valid.all())
    if valid is not None and (valid.dtype != np.bool_ or valid.shape != exemplar.shape[:2]):
        wanted = exemplar.shape[:2]
        raise ValueError(f"valid must be {wanted} bool, got {valid.shape} {valid.dtype}")
    if valid is not None and not valid.any():
        raise ValueError("the exemplar has no usable pixel")
    if valid is not None and not whole:
        nearest = distance_transform_edt(~valid, return_distances=False, return_indices=True)
        exemplar = exemplar[tuple(nearest)]
    pixels = torch.from_numpy(np.array(exemplar)).to(device)
    rgb = pixels.permute(2, 0, 1)[None].float() / 255
    mask = None
    if valid is not None and not whole:
        mask = torch.from_numpy(np.ascontiguousarray(valid)).to(device)[None, None].float()
    found = []
    for _ in range(levels):
        bounded = None if mask is None else at_least(mask, smallest)
        found.append(Exemplar(at_least(rgb, smallest), bounded))
        half = -(-rgb.shape[-2] // 2), -(-rgb.shape[-1] // 2)
        rgb = F.adaptive_avg_pool2d(rgb, half)
        mask = None if mask is None else F.adaptive_avg_pool2d(mask, half)
    return found


class TextureObjective:
    """The weighted sum of the layers' distances to an exemplar, and total variation.

    Args:
        sliced: whether the distance is sliced Wasserstein instead of Gram's; then `turn` must be
            called before the first use.
        edge: of the optimised picture; the exemplar has the network's.
    """

    def __init__(
        self,
        exemplar: Exemplar,
        features: FeatureExtractor,
        weights: dict[str, float],
        windows: WindowConfig,
        *,
        sliced: bool,
        tv_weight: float,
    ) -> None:
        self._features, self._weights, self._windows = features, weights, windows
        self._layers, self._tv_weight = tuple(weights), tv_weight
        plain = WindowConfig(side=windows.side, halo=windows.halo)
        self._grams: dict[str, Tensor] = {}
        self._sliced: SlicedTargets | None = None
        with torch.no_grad():
            if sliced:
                self._sliced = SlicedTargets(self._columns(exemplar, plain))
            else:
                self._grams = picture_grams(
                    exemplar.pixels, features, plain, layers=self._layers, masks=exemplar.masks
                )

    def turn(self, generator: torch.Generator) -> None:
        """Draw new directions for the sliced distance; nothing for Gram's."""
        if self._sliced is not None:
            self._sliced.turn(generator)

    def __call__(self, picture: Tensor) -> dict[str, Tensor]:
        """Each layer's distance, "tv" where it has a weight, and "total"."""
        if self._sliced is None:
            grams = picture_grams(picture, self._features, self._windows, layers=self._layers)
            parts = {k: v.sum() for k, v in gram_distances(grams, self._grams).items()}
        else:
            parts = self._sliced_distances(picture, self._sliced)
        total = torch.stack([self._weights[k] * v for k, v in parts.items()]).sum()
        if self._tv_weight:
            joined = F.pad(picture, (0, 1, 0, 1), mode="circular") if self._wraps else picture
            parts["tv"] = total_variation(joined)
            total = total + self._tv_weight * parts["tv"]
        return parts | {"total": total}

    @property
    def _wraps(self) -> bool:
        return self._windows.edge == "wrap"

    def _sliced_distances(self, picture: Tensor, targets: SlicedTargets) -> dict[str, Tensor]:
        """Each window's distance, by its share of positions: a texture is alike all over."""

        def measure(seen: Features, _: Window) -> tuple[Tensor, ...]:
            values: list[Tensor] = []
            for name in self._layers:
                count = seen[name].new_tensor(float(seen[name][0, 0].numel()))
                values.extend((targets.distance(name, seen[name]) * count, count))
            return tuple(values)

        sums = sum_over_windows(picture, self._features, measure, self._windows)
        return {name: sums[2 * n] / sums[2 * n + 1] for n, name in enumerate(self._layers)}

    def _columns(self, exemplar: Exemplar, windows: WindowConfig) -> dict[str, Tensor]:
        """Features at usable positions, (C, n)."""
        found: dict[str, list[Tensor]] = {name: [] for name in self._layers}

        def measure(seen: Features, window: Window) -> tuple[Tensor, ...]:
            for name in self._layers:
                columns = seen[name].flatten(2)[0]
                if exemplar.masks is not None:
                    share = region_weights(exemplar.masks, window, seen[name]).flatten()
                    columns = columns[:, share > 0.5]
                found[name].append(columns)
            return ()

        sum_over_windows(exemplar.pixels, self._features, measure, windows)
        joined = {name: torch.cat(columns, dim=1) for name, columns in found.items()}
        for name, columns in joined.items():
            if columns.shape[1] == 0:
                raise ValueError(f"a region is too small: it holds no position of layer {name}")
        return joined


def edge_of(*, tileable: bool) -> Edge:
    """What lies beyond a texture's edges."""
    return "wrap" if tileable else "network"
