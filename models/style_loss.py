"""The objective of style transfer, one for the optimiser and for the trained network.

    total = content_weight * D_content + style_weight * D_style + tv_weight * TV
    D_content = ||F - F_content||^2 / ||F_content||^2       at one layer
    D_style   = mean over layers of ||G - G_style||^2 / ||G_style||^2

Source: Gatys et al. 2016 (CVPR) and Johnson et al. 2016, arXiv:1603.08155. Differs: both distances
are relative, so that weights carry over between networks whose activations have other scales.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from models.features import FeatureKind, channels_of
from models.gram import gram_distance, gram_matrix
from models.losses import total_variation


@dataclass(frozen=True, kw_only=True)
class StyleLossConfig:
    """Layers and weights of the objective; the defaults are Johnson's layers."""

    network: FeatureKind = "vgg16"
    content_layer: str = "relu3_3"
    style_layers: tuple[str, ...] = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
    content_weight: float = 1.0
    style_weight: float = 10.0
    tv_weight: float = 0.01

    def __post_init__(self) -> None:
        if self.network not in get_args(FeatureKind):
            raise ValueError(
                f"network must be one of {', '.join(get_args(FeatureKind))}, got {self.network!r}"
            )
        for layer in self.layers:
            channels_of(self.network, layer)  # refuses what is no layer
        if not self.style_layers:
            raise ValueError("at least one style layer must be given, got none")
        for name in ("content_weight", "style_weight", "tv_weight"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")

    @property
    def layers(self) -> tuple[str, ...]:
        """All layers that the objective looks at."""
        return tuple(dict.fromkeys((*self.style_layers, self.content_layer)))


def content_distance(features: Tensor, target: Tensor) -> Tensor:
    """||F - F_target||^2 / ||F_target||^2, for each picture of the batch: (N, C, h, w)x2 -> (N,).

    Raises:
        ValueError: unequal shapes.
    """
    if features.shape != target.shape:
        raise ValueError(f"shapes must be equal, got {features.shape} and {target.shape}")
    size = target.square().sum(dim=(1, 2, 3)).clamp_min(torch.finfo(target.dtype).tiny)
    return (features - target).square().sum(dim=(1, 2, 3)) / size


def style_distance(
    features: Mapping[str, Tensor], targets: Mapping[str, Tensor], layers: tuple[str, ...]
) -> Tensor:
    """Mean over the layers of the relative distance of Gram matrices, for each picture: (N,)."""
    distances = [gram_distance(gram_matrix(features[name]), targets[name]) for name in layers]
    return torch.stack(distances).mean(dim=0)


def style_loss(
    output: Tensor,
    features: Mapping[str, Tensor],
    content: Tensor,
    targets: Mapping[str, Tensor],
    config: StyleLossConfig,
) -> dict[str, Tensor]:
    """The objective and its parts, for each picture of the batch.

    Args:
        output: (N, 3, H, W), the pictures in 0..1; features: of theirs, by layer.
        content: (N, C, h, w), what the content layer says of the content.
        targets: layer -> Gram matrices of the style, (C, C) or one for each picture (N, C, C).
    Returns:
        "content", "style", "tv" (unweighted) and "total", each (N,), with gradients for `output`.
    """
    parts = {
        "content": content_distance(features[config.content_layer], content),
        "style": style_distance(features, targets, config.style_layers),
        "tv": torch.stack([total_variation(picture) for picture in output]),
    }
    total = (
        config.content_weight * parts["content"]
        + config.style_weight * parts["style"]
        + config.tv_weight * parts["tv"]
    )
    return parts | {"total": total}
