"""What training minimises: distances of pictures in 0..1, of their pixels and of their features."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from models.features import FeatureKind, FeatureNetwork, layer_names


@dataclass(frozen=True, kw_only=True)
class SrLossConfig:
    """The loss of super-resolution: a weighted sum of pixel, perceptual and smoothness terms.

    Args:
        pixel: how pixels are compared.
        perceptual_layers: the layers of `perceptual_network` whose distances are averaged.
        tv_weight: of the output's total variation.
        border: low-resolution pixels of a patch's border that are left out, because a patch is
            padded with zeros inside the network, and a picture is not.
    """

    pixel: Literal["mse", "l1", "charbonnier"] = "l1"
    pixel_weight: float = 1.0
    perceptual_weight: float = 0.0
    perceptual_layers: tuple[str, ...] = ("relu2_2",)
    perceptual_network: FeatureKind = "vgg16"
    tv_weight: float = 0.0
    border: int = 2

    def __post_init__(self) -> None:
        if self.pixel not in ("mse", "l1", "charbonnier"):
            raise ValueError(f"pixel must be mse, l1 or charbonnier, got {self.pixel!r}")
        weights = (self.pixel_weight, self.perceptual_weight, self.tv_weight)
        if not all(weight >= 0 for weight in weights) or not sum(weights) > 0:
            raise ValueError(f"weights must be at least 0, and one above it, got {weights}")
        if self.border < 0:
            raise ValueError(f"border must be at least 0, got {self.border}")
        if self.perceptual_weight:
            _check_layers(self.perceptual_network, self.perceptual_layers)


def mse(x: Tensor, y: Tensor) -> Tensor:
    """Mean of (x - y)^2, a scalar. Raises ValueError for unequal shapes."""
    return _difference(x, y).square().mean()


def l1(x: Tensor, y: Tensor) -> Tensor:
    """Mean of |x - y|, a scalar. Raises ValueError for unequal shapes."""
    return _difference(x, y).abs().mean()


def charbonnier(x: Tensor, y: Tensor, epsilon: float = 1e-3) -> Tensor:
    """Mean of sqrt((x - y)^2 + epsilon^2) - epsilon, a scalar: L1 with a round bottom.

    Source: Charbonnier et al. 1994, as Lai et al. 2017 use it (arXiv:1704.03915). Differs: epsilon
    is subtracted, so that equal pictures have the loss 0.

    Raises:
        ValueError: unequal shapes, or epsilon is not above 0.
    """
    if not epsilon > 0:
        raise ValueError(f"epsilon must be above 0, got {epsilon}")
    return ((_difference(x, y).square() + epsilon**2).sqrt() - epsilon).mean()


def total_variation(x: Tensor) -> Tensor:
    """Mean |right - left| plus mean |below - above|, a scalar: anisotropic, of absolute values.

    A mean, so that it does not grow with the picture; Johnson et al. 2016 (arXiv:1603.08155) sum.

    Args:
        x: (..., H, W), at least 2 pixels a side.
    Raises:
        ValueError: it is smaller.
    """
    if x.ndim < 2 or min(x.shape[-2:]) < 2:
        raise ValueError(f"total variation needs 2 pixels a side, got {tuple(x.shape)}")
    rows = (x[..., 1:, :] - x[..., :-1, :]).abs().mean()
    return rows + (x[..., 1:] - x[..., :-1]).abs().mean()


def perceptual_distance(
    features_x: Mapping[str, Tensor], features_y: Mapping[str, Tensor]
) -> Tensor:
    """1/(C H W) ||phi_j(x) - phi_j(y)||^2, its mean over the batch and over the layers j.

    Source: the feature reconstruction loss of Johnson et al. 2016, arXiv:1603.08155, eq. 2. Its
    size is that of the squared activations: weights of a network on Caffe's scale give 10^4 times
    as much as torchvision's.

    Args:
        features_x, features_y: layer -> (N, C, h, w), the same layers and shapes.
    Raises:
        ValueError: no layers, or other layers or shapes on either side.
    """
    if not features_x or features_x.keys() != features_y.keys():
        raise ValueError(
            f"features must be of the same layers, at least one, got {sorted(features_x)}"
            f" and {sorted(features_y)}"
        )
    # float: squares of bfloat16 or half features would lose what little they have
    layers = [mse(fx.float(), features_y[name].float()) for name, fx in features_x.items()]
    return torch.stack(layers).mean()


def sr_loss(
    output: Tensor,
    target: Tensor,
    config: SrLossConfig,
    *,
    scale: int,
    features: FeatureNetwork | None,
) -> dict[str, Tensor]:
    """The parts of the loss as they are, unweighted, and "total", their weighted sum.

    A part of weight 0 is neither computed nor returned. The perceptual term repeats luma to three
    channels: the network sees a gray picture.

    Args:
        output, target: (N, 1, H, W) luma in 0..1, enlarged `scale` times.
        features: of `config.perceptual_network`, with its layers at least; None where the
            perceptual weight is 0.
    Returns:
        Out of "pixel", "perceptual", "tv"; and "total". Scalars, with gradients for the output.
    Raises:
        ValueError: other shapes, nothing left within the border, or no such features.
    """
    if output.ndim != 4 or output.shape[1] != 1 or output.shape != target.shape:
        raise ValueError(
            "output and target must both be (N, 1, H, W), got"
            f" {tuple(output.shape)} and {tuple(target.shape)}"
        )
    cut = config.border * scale
    if min(output.shape[-2:]) < 2 * cut + 2:
        raise ValueError(
            f"a border of {cut} leaves nothing of {output.shape[-1]}x{output.shape[-2]} pixels"
        )
    height, width = output.shape[-2:]
    x, y = (luma[..., cut : height - cut, cut : width - cut] for luma in (output, target))
    parts: dict[str, tuple[float, Tensor]] = {}
    if config.pixel_weight:
        parts["pixel"] = config.pixel_weight, _PIXEL[config.pixel](x, y)
    if config.perceptual_weight:
        parts["perceptual"] = config.perceptual_weight, _perceptual(x, y, config, features)
    if config.tv_weight:
        parts["tv"] = config.tv_weight, total_variation(x)
    total = torch.stack([weight * value for weight, value in parts.values()]).sum()
    return {name: value for name, (_, value) in parts.items()} | {"total": total}


_PIXEL = {"mse": mse, "l1": l1, "charbonnier": charbonnier}


def _difference(x: Tensor, y: Tensor) -> Tensor:
    if x.shape != y.shape:
        raise ValueError(f"shapes must be equal, got {tuple(x.shape)} and {tuple(y.shape)}")
    return x - y


def _perceptual(
    x: Tensor, y: Tensor, config: SrLossConfig, features: FeatureNetwork | None
) -> Tensor:
    wanted = config.perceptual_layers
    if features is None:
        raise ValueError(f"a perceptual weight above 0 needs features of {wanted}, got none")
    missing = [layer for layer in wanted if layer not in features.layers]
    if features.kind != config.perceptual_network or missing:
        raise ValueError(
            f"features must be {config.perceptual_network}'s {', '.join(wanted)},"
            f" got {features.kind}'s {', '.join(features.layers)}"
        )
    with torch.no_grad():
        seen_y = features(y.expand(-1, 3, -1, -1))
    seen_x = features(x.expand(-1, 3, -1, -1))
    return perceptual_distance({k: seen_x[k] for k in wanted}, {k: seen_y[k] for k in wanted})


def _check_layers(kind: FeatureKind, layers: tuple[str, ...]) -> None:
    unknown = [layer for layer in layers if layer not in layer_names(kind)]
    if unknown or not layers:
        known = ", ".join(layer_names(kind))
        raise ValueError(f"perceptual_layers must be out of {known}, got {layers}")
