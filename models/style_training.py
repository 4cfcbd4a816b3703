"""What a training of the painter is: its settings, its loss, its score."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from models.features import FeatureNetwork
from models.gram import gram_targets
from models.images import Picture
from models.photographs import middle
from models.picture_grid import GridRow, picture_grid
from models.pixels import Pixels
from models.style_loss import StyleLossConfig, style_loss
from models.training import Batch, Loss, OptimisationConfig

_SHOWN_CROPS, _SHOWN_STYLES = 4, 8


@dataclass(frozen=True, kw_only=True)
class StyleTraining:
    """A training of the painter; every field is a key of --set and of the TOML file.

    Args:
        width, blocks: the network's sizes; those of the network to go on from, where there is one.
        batch_size: crops a step, each with a style of its own, over all processes.
        crop: side of a crop in pixels, a multiple of 4.
        content_side: the shorter side of the photographs that crops are cut from.
        style_side: the shorter side at which a style's Gram matrices are taken.
        norms_only: train nothing but the norms' rows and the gains; how a style is added.
    """

    width: int = 24
    blocks: int = 5
    steps: int = 8000
    batch_size: int = 4
    crop: int = 256
    content_side: int = 288
    style_side: int = 256
    learning_rate: float = 1e-3
    warmup: int = 50
    clip: float = 1.0
    ema_decay: float = 0.99
    loss: StyleLossConfig = field(default_factory=StyleLossConfig)
    norms_only: bool = False
    seed: int = 0
    validate_every: int = 250
    checkpoint_every: int = 250
    validation_side: int = 256

    def __post_init__(self) -> None:
        for name in ("crop", "validation_side"):
            side = getattr(self, name)
            if side < 32 or side % 4:
                raise ValueError(f"{name} must be a multiple of 4, at least 32, got {side}")
        if self.content_side < self.crop:
            raise ValueError(
                f"content_side must be at least the crop of {self.crop}, got {self.content_side}"
            )
        for name in ("batch_size", "style_side", "validate_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        self.optimisation()  # refuses steps and rates that make no sense

    def optimisation(self) -> OptimisationConfig:
        """The part that the trainer needs."""
        return OptimisationConfig(
            steps=self.steps,
            learning_rate=self.learning_rate,
            warmup=self.warmup,
            clip=self.clip,
            ema_decay=self.ema_decay,
            seed=self.seed,
        )


def style_targets(
    features: FeatureNetwork, styles: Sequence[Tensor], layers: Sequence[str]
) -> dict[str, Tensor]:
    """Gram matrices of (1, 3, H, W) paintings: layer -> (S, C, C)."""
    grams = []
    with torch.no_grad():
        for style in styles:
            seen = features(style)
            grams.append(gram_targets({name: seen[name] for name in layers}))
    return {name: torch.cat([gram[name] for gram in grams]) for name in layers}


def loss_of(
    config: StyleLossConfig,
    features: FeatureNetwork,
    targets: Mapping[str, Tensor],
    *,
    weights: Tensor | None = None,
) -> Loss:
    """The mean objective of a step's crops.

    Args:
        targets: layer -> (S, C, C). weights: (S, styles of the network), what the network is given
            for each of the S; None where they are all of its styles, in its order.
    """
    given = torch.eye(_count(targets)) if weights is None else weights

    def loss(network: nn.Module, batch: Batch, step: int) -> dict[str, Tensor]:  # noqa: ARG001
        parts = objective(network, batch[0], batch[1], config, features, targets, given)
        return {name: value.mean() for name, value in parts.items()}

    return loss


def objective(
    network: nn.Module,
    content: Tensor,
    style: Tensor,
    config: StyleLossConfig,
    features: FeatureNetwork,
    targets: Mapping[str, Tensor],
    weights: Tensor,
) -> dict[str, Tensor]:
    """The parts of the objective for (N, 3, H, W) crops in 0..1, each with a target's number.

    weights: (S, styles of the network), what the network is given for each target.
    """
    features.to(content.device)
    content = content.contiguous(memory_format=torch.channels_last)
    output = network(content, weights.to(content)[style])
    with torch.no_grad():
        wanted = features.up_to(content, config.content_layer)
    own = {name: gram.to(content.device)[style] for name, gram in targets.items()}
    return style_loss(output, features(output), wanted, own, config)


def _count(targets: Mapping[str, Tensor]) -> int:
    """How many styles."""
    return next(iter(targets.values())).shape[0]


@dataclass(frozen=True, kw_only=True, eq=False)
class StyleProblem:
    """A training of the painter at hand: what `tasks.training.fit` asks of a system.

    Args:
        photographs: (H, W, 3) uint8, their shorter side `content_side`.
        validation: (1, 3, h, w) crops of photographs that are never trained on.
        weights: what the network is given for each target, as for `loss_of`.
    """

    network: nn.Module
    loss: Loss
    photographs: Sequence[Pixels]
    validation: Sequence[Tensor]
    config: StyleTraining
    features: FeatureNetwork
    targets: Mapping[str, Tensor]
    weights: Tensor | None = None

    @property
    def given(self) -> Tensor:
        """(S, styles of the network)."""
        return torch.eye(_count(self.targets)) if self.weights is None else self.weights

    def batch(self, step: int, rank: int, processes: int, /) -> Batch:
        """(crops, styles) of that step, this process's share; every style in turn."""
        count = _count(self.targets)
        size, crop = self.config.batch_size, self.config.crop
        random = np.random.default_rng((self.config.seed, step))
        crops, styles = [], []
        for place in range(size):
            photograph = self.photographs[int(random.integers(len(self.photographs)))]
            top = random.integers(photograph.shape[0] - crop + 1)
            left = random.integers(photograph.shape[1] - crop + 1)
            cut = photograph[top : top + crop, left : left + crop]
            cut = cut[:, ::-1] if random.integers(2) else cut
            crops.append(torch.from_numpy(cut.astype(np.float32) / 255).permute(2, 0, 1))
            styles.append((step * size + place) % count)
        mine = slice(rank, None, processes)
        return torch.stack(crops)[mine], torch.tensor(styles)[mine]

    def validate(self, network: nn.Module, /) -> dict[str, float]:
        """The mean objective and its parts over all validation crops and styles."""
        count = _count(self.targets)
        device = next(network.parameters()).device
        sums: dict[str, float] = {}
        with torch.no_grad():
            for photograph in self.validation:
                crops = photograph.to(device).expand(count, -1, -1, -1)
                parts = objective(
                    network,
                    crops,
                    torch.arange(count, device=device),
                    self.config.loss,
                    self.features,
                    self.targets,
                    self.given,
                )
                for name, value in parts.items():
                    key = f"validation_{name}"
                    sums[key] = sums.get(key, 0.0) + float(value.mean()) / len(self.validation)
        return sums

    def pictures(self, network: nn.Module, names: Sequence[str]) -> Picture:
        """A sheet: validation crops, and beside each the styles that are trained, by name."""
        device = next(network.parameters()).device
        rows = []
        with torch.no_grad():
            for photograph in self.validation[:_SHOWN_CROPS]:
                crops = photograph.to(device).expand(len(names), -1, -1, -1)
                painted = network(crops, self.given.to(device))
                shown = [_shown(x) for x in (photograph[0], *painted)][: 1 + _SHOWN_STYLES]
                words = ("photograph", *names)[: 1 + _SHOWN_STYLES]
                rows.append(GridRow(crops=tuple(shown), words=tuple(words)))
        return picture_grid(rows)


def _shown(rgb: Tensor) -> Pixels:
    """(3, H, W) in 0..1 -> the middle 256 pixels, (h, w, 3) uint8."""
    levels = (rgb.detach().cpu() * 255).round().clamp(0, 255).to(torch.uint8)
    return middle(levels.permute(1, 2, 0).numpy(), 256)
