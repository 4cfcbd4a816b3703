"""The objective of `style_loss` for a picture of any size, several styles and regions.

    total = content_weight * D_content + style_weight * sum_s w_s D_style(s) + tv_weight * TV

With one style that has no mask this is `style_loss`, summed over windows. Regions are Gatys et al.
2017's, arXiv:1611.07865: a style's Gram matrices are compared with those of its region.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.feature_windows import (
    FeatureExtractor,
    Features,
    Window,
    WindowConfig,
    gram_distances,
    picture_grams,
    region_weights,
    sum_over_windows,
    weighted_gram,
)
from models.losses import total_variation
from models.style_loss import StyleLossConfig


@dataclass(frozen=True, kw_only=True, eq=False)
class StyleTarget:
    """One style's part: its share, its Gram matrices {layer: (1, C, C)}, and where it applies.

    mask: (1, 1, H, W) in 0..1 over the output; None for all of it.
    """

    share: float
    grams: Mapping[str, Tensor]
    mask: Tensor | None = None


def style_shares(weights: Sequence[float]) -> list[float]:
    """Weights of styles that sum to 1. Raises ValueError for a negative one or a sum of 0."""
    total = float(sum(weights))
    if not weights or not all(0 <= w < float("inf") for w in weights) or not total > 0:
        raise ValueError(f"style weights must be at least 0, one above it, got {list(weights)}")
    return [weight / total for weight in weights]


def style_grams(
    style: Tensor, features: FeatureExtractor, config: StyleLossConfig, windows: WindowConfig
) -> dict[str, Tensor]:
    """A style's Gram matrices, (1, 3, H, W) in 0..1 -> {layer: (1, C, C)}, without a gradient."""
    with torch.no_grad():
        return picture_grams(style, features, windows, layers=config.style_layers)


class StyleObjective:
    """Takes an output, (1, 3, H, W) in 0..1, and gives the losses and their total.

    Args:
        content: (1, 3, H, W) in 0..1, of the output's size.
        features: of the config's network, with all its layers.
        styles: at least one; their shares sum to 1.
    Raises:
        ValueError: no style, or a layer that the features lack.
    """

    def __init__(
        self,
        content: Tensor,
        styles: Sequence[StyleTarget],
        features: FeatureExtractor,
        config: StyleLossConfig,
        windows: WindowConfig,
    ) -> None:
        missing = [layer for layer in config.layers if layer not in features.layers]
        if missing or not styles:
            raise ValueError(
                f"the objective needs a style and the layers {', '.join(config.layers)},"
                f" got {len(styles)} and {', '.join(features.layers)}"
            )
        self._styles, self._config = styles, config
        self._features, self._windows = features, windows
        self._masks: Tensor | None = None
        if any(style.mask is not None for style in styles):
            everywhere = torch.ones_like(content[:, :1])
            masks = [everywhere if s.mask is None else s.mask.to(content) for s in styles]
            self._masks = torch.cat(masks)
        self._content: dict[Window, Tensor] = {}
        with torch.no_grad():
            (square,) = sum_over_windows(content, features, self._keep, windows)
        self._content_size = square.clamp_min(torch.finfo(square.dtype).tiny)

    def __call__(self, output: Tensor) -> dict[str, Tensor]:
        """ "content", "style", "tv" (unweighted) and "total"; "style_1"... of each of several."""
        config, layers = self._config, self._config.style_layers
        content, *sums = sum_over_windows(output, self._features, self._measure, self._windows)
        grams = {}
        for n, name in enumerate(layers):
            if not bool((sums[2 * n + 1] > 0).all()):
                raise ValueError(f"a mask is too small: it holds no position of layer {name}")
            grams[name] = sums[2 * n] / sums[2 * n + 1][:, None, None]
        distances = [self._distance(grams, number) for number in range(len(self._styles))]
        shares = output.new_tensor([style.share for style in self._styles])
        parts = {
            "content": content / self._content_size,
            "style": (shares * torch.stack(distances)).sum(),
            "tv": total_variation(output),
        }
        total = (
            config.content_weight * parts["content"]
            + config.style_weight * parts["style"]
            + config.tv_weight * parts["tv"]
        )
        if len(distances) > 1:
            parts |= {f"style_{n}": value for n, value in enumerate(distances, start=1)}
        return parts | {"total": total}

    def _distance(self, grams: Mapping[str, Tensor], number: int) -> Tensor:
        """Mean over the layers of a style's distance in its region."""
        row = 0 if self._masks is None else number
        own = {name: gram[row : row + 1] for name, gram in grams.items()}
        distances = gram_distances(own, self._styles[number].grams)
        return torch.stack(list(distances.values())).mean()

    def _keep(self, seen: Features, window: Window) -> tuple[Tensor, ...]:
        self._content[window] = seen[self._config.content_layer]
        return (self._content[window].square().sum(),)

    def _measure(self, seen: Features, window: Window) -> tuple[Tensor, ...]:
        difference = seen[self._config.content_layer] - self._content[window]
        sums = [difference.square().sum()]
        for name in self._config.style_layers:
            layer = seen[name]
            own = None if self._masks is None else region_weights(self._masks, window, layer)
            sums.extend(weighted_gram(layer, own))
        return tuple(sums)
