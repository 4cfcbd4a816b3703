"""What the layers of published classification networks say about an image: VGG and SqueezeNet.

Sources: configurations D and E of Simonyan & Zisserman 2014 (VGG16, VGG19, arXiv:1409.1556) and
SqueezeNet 1.0 of Iandola et al. 2016 (arXiv:1602.07360), both without their classifiers. Weights
have torchvision's names and take its normalisation of RGB.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FeatureKind = Literal["vgg16", "vgg19", "squeezenet1_0"]
Pooling = Literal["max", "average"]

_VGG_WIDTHS = (64, 128, 256, 512, 512)
_VGG_DEPTHS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
# width of the squeeze layer, and of each of the two expand layers; the pools are after 1, 4 and 8
_FIRES = ((2, 16, 64), (3, 16, 64), (4, 32, 128), (5, 32, 128), (6, 48, 192), (7, 48, 192),
          (8, 64, 256), (9, 64, 256))  # fmt: skip

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class _Step:
    """One layer: its name here, its position in torchvision's `features`, its channels."""

    name: str
    index: int
    what: Literal["conv", "relu", "pool", "fire"]
    into: int
    out: int
    window: int = 0
    stride: int = 1
    padding: int = 0
    squeeze: int = 0
    ceil: bool = False  # whether a pool keeps a window that reaches over the edge

    def convolutions(self) -> dict[str, tuple[int, int, int, int]]:
        """The names of its convolutions below its position, and their weights' shapes."""
        if self.what == "conv":
            return {"": (self.out, self.into, self.window, self.window)}
        if self.what == "fire":
            half = self.out // 2
            return {
                "squeeze.": (self.squeeze, self.into, 1, 1),
                "expand1x1.": (half, self.squeeze, 1, 1),
                "expand3x3.": (half, self.squeeze, 3, 3),
            }
        return {}

    def side(self, side: int) -> int:
        """A picture's side behind this layer; below 1 there is nothing left."""
        if self.what not in ("conv", "pool"):
            return side
        steps = side + 2 * self.padding - self.window
        return (-(-steps // self.stride) if self.ceil else steps // self.stride) + 1


class _Fire(nn.Module):
    """relu(squeeze), then 1x1 and 3x3 convolutions side by side, rectified."""

    def __init__(self, step: _Step) -> None:
        super().__init__()
        half = step.out // 2
        self.squeeze = nn.Conv2d(step.into, step.squeeze, 1)
        self.expand1x1 = nn.Conv2d(step.squeeze, half, 1)
        self.expand3x3 = nn.Conv2d(step.squeeze, half, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x))
        return F.relu(torch.cat([self.expand1x1(x), self.expand3x3(x)], dim=1))


class FeatureNetwork(nn.Module):
    """The wanted layers of a classification network, its parameters frozen.

    Differs from the papers where asked: `pooling="average"` replaces every max pool by the mean
    of the same window, as Gatys et al. 2015 do for texture (arXiv:1505.07376).

    Args:
        state: weights under torchvision's names, with or without `features.`; the classifier's
            are not looked at. Any floating type; used as float32, and shared where it already is.
        layers: names out of `layer_names(kind)`; nothing behind the deepest is built or run.
    Raises:
        ValueError: an unknown layer or none, or a state that is not this network's.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        kind: FeatureKind,
        state: Mapping[str, Tensor],
        *,
        layers: Sequence[str],
        pooling: Pooling = "max",
    ) -> None:
        super().__init__()
        if pooling not in get_args(Pooling):
            raise ValueError(f"pooling must be max or average, got {pooling!r}")
        if not layers:
            raise ValueError(f"at least one layer of {kind} must be wanted, got none")
        by_name = {step.name: number for number, step in enumerate(_steps(kind))}
        depth = 1 + max(by_name[_known(kind, layer)] for layer in layers)
        steps = _steps(kind)[:depth]
        self.kind: FeatureKind = kind
        self.layers = tuple(dict.fromkeys(layers))
        self.minimum_side = _minimum_side(steps)
        self._names = [step.name for step in steps]
        with torch.device("meta"):  # no time or random numbers for weights that are replaced
            self.features = nn.ModuleDict({str(s.index): _module(s, pooling) for s in steps})
        self.features.load_state_dict(_weights_of(steps, _checked(kind, state)), assign=True)
        self.register_buffer("mean", torch.tensor(_IMAGENET_MEAN).view(1, 3, 1, 1), False)
        self.register_buffer("std", torch.tensor(_IMAGENET_STD).view(1, 3, 1, 1), False)
        self.requires_grad_(False)
        self.eval()

    def forward(self, rgb: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) in 0..1 -> {layer: (N, C, h, w)}, in the order the layers were asked for.

        ImageNet's normalisation is done here. Gradients flow back to the image.

        Raises:
            ValueError: it is no RGB, or smaller than one value of the deepest layer.
        """
        found = self._run(rgb, self.layers)
        return {name: found[name] for name in self.layers}

    def up_to(self, rgb: Tensor, layer: str) -> Tensor:
        """One of the layers alone, and nothing computed behind it: (N, C, h, w).

        Raises:
            ValueError: it is none of `layers`, or as for `forward`.
        """
        if layer not in self.layers:
            raise ValueError(f"layer must be one of {', '.join(self.layers)}, got {layer!r}")
        return self._run(rgb, (layer,))[layer]

    def _run(self, rgb: Tensor, wanted: Sequence[str]) -> dict[str, Tensor]:
        if rgb.ndim != 4 or rgb.shape[1] != 3:
            raise ValueError(f"rgb must be (N, 3, H, W), got {tuple(rgb.shape)}")
        if min(rgb.shape[-2:]) < self.minimum_side:
            raise ValueError(
                f"{self.kind} up to {self._names[-1]} needs {self.minimum_side} pixels a side,"
                f" got {rgb.shape[-1]}x{rgb.shape[-2]}"
            )
        x = (rgb - self.mean) / self.std
        found: dict[str, Tensor] = {}
        for name, module in zip(self._names, self.features.values(), strict=True):
            x = module(x)
            if name in wanted:
                found[name] = x
                if len(found) == len(wanted):
                    break
        return found


def layer_names(kind: FeatureKind) -> tuple[str, ...]:
    """Every layer's name, shallowest first: conv1_1, relu1_1 ... pool5; or conv1 ... fire9.

    SqueezeNet's pools have the number of the layer before them: pool1, pool4, pool8.
    """
    return tuple(step.name for step in _steps(kind))


def channels_of(kind: FeatureKind, layer: str) -> int:
    """How many feature maps a layer has. Raises ValueError for an unknown one."""
    _known(kind, layer)
    return next(step.out for step in _steps(kind) if step.name == layer)


def random_state(kind: FeatureKind, generator: torch.Generator) -> dict[str, Tensor]:
    """Weights for where there are none: He's normal distribution for rectifiers, no biases.

    Source: He et al. 2015, arXiv:1502.01852.
    """
    state = {}
    for prefix, shape in _shapes(kind).items():
        fan_in = shape[1] * shape[2] * shape[3]
        values = torch.randn(shape, generator=generator, device=generator.device)
        state[f"features.{prefix}weight"] = values * (2 / fan_in) ** 0.5
        state[f"features.{prefix}bias"] = torch.zeros(shape[0], device=generator.device)
    return state


@lru_cache(maxsize=8)
def _steps(kind: FeatureKind) -> tuple[_Step, ...]:
    if kind in _VGG_DEPTHS:
        return tuple(_vgg_steps(_VGG_DEPTHS[kind]))
    if kind == "squeezenet1_0":
        return tuple(_squeezenet_steps())
    raise ValueError(f"kind must be one of {', '.join(get_args(FeatureKind))}, got {kind!r}")


def _vgg_steps(depths: tuple[int, ...]) -> Iterator[_Step]:
    index, into = 0, 3
    for block, (width, depth) in enumerate(zip(_VGG_WIDTHS, depths, strict=True), start=1):
        for layer in range(1, depth + 1):
            own = f"{block}_{layer}"
            yield _Step(name=f"conv{own}", index=index, what="conv", into=into, out=width,
                        window=3, padding=1)  # fmt: skip
            yield _Step(name=f"relu{own}", index=index + 1, what="relu", into=width, out=width)
            index, into = index + 2, width
        yield _Step(name=f"pool{block}", index=index, what="pool", into=width, out=width,
                    window=2, stride=2)  # fmt: skip
        index += 1


def _squeezenet_steps() -> Iterator[_Step]:
    yield _Step(name="conv1", index=0, what="conv", into=3, out=96, window=7, stride=2)
    yield _Step(name="relu1", index=1, what="relu", into=96, out=96)
    yield _squeezenet_pool(1, index=2, width=96)
    index, into = 3, 96
    for number, squeeze, half in _FIRES:
        out = 2 * half
        yield _Step(name=f"fire{number}", index=index, what="fire", into=into, out=out,
                    squeeze=squeeze)  # fmt: skip
        index, into = index + 1, out
        if number in (4, 8):
            yield _squeezenet_pool(number, index=index, width=out)
            index += 1


def _squeezenet_pool(number: int, *, index: int, width: int) -> _Step:
    return _Step(name=f"pool{number}", index=index, what="pool", into=width, out=width,
                 window=3, stride=2, ceil=True)  # fmt: skip


def _module(step: _Step, pooling: Pooling) -> nn.Module:
    if step.what == "conv":
        return nn.Conv2d(step.into, step.out, step.window, stride=step.stride, padding=step.padding)
    if step.what == "fire":
        return _Fire(step)
    if step.what == "relu":
        return nn.ReLU()  # not in place: the convolution before it may be wanted, too
    if pooling == "average":
        return nn.AvgPool2d(step.window, step.stride, ceil_mode=step.ceil)
    return nn.MaxPool2d(step.window, step.stride, ceil_mode=step.ceil)


def _known(kind: FeatureKind, layer: str) -> str:
    if layer not in layer_names(kind):
        known = ", ".join(layer_names(kind))
        raise ValueError(f"{kind} has no layer {layer!r}; wanted one of {known}")
    return layer


def _minimum_side(steps: Sequence[_Step]) -> int:
    """The smallest picture of which every layer leaves a value."""
    for wanted in range(1, 1024):
        side = wanted
        for step in steps:
            side = step.side(side)
            if side < 1:
                break
        else:
            return wanted
    raise ValueError(f"no picture is large enough for {steps[-1].name}")


def _shapes(kind: FeatureKind) -> dict[str, tuple[int, int, int, int]]:
    return {
        f"{step.index}.{part}": shape
        for step in _steps(kind)
        for part, shape in step.convolutions().items()
    }


def _checked(kind: FeatureKind, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state without prefix and classifier. Raises ValueError for what is not this network's."""
    shapes: dict[str, tuple[int, ...]] = {}
    for prefix, shape in _shapes(kind).items():
        shapes |= {f"{prefix}weight": shape, f"{prefix}bias": shape[:1]}
    own = {}
    for key, value in state.items():
        if key.startswith("classifier."):
            continue
        short = key.removeprefix("features.")
        if short not in shapes:
            raise ValueError(f"the weights are not {kind}'s: it has nothing named {key!r}")
        if not isinstance(value, Tensor) or value.shape != shapes[short]:
            got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(
                f"the weights are not {kind}'s: {key} must be {shapes[short]}, got {got}"
            )
        own[short] = value
    return own


def _weights_of(steps: Sequence[_Step], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What these layers need of a checked state, in float32; a file may be cut behind them."""
    wanted = {}
    for step in steps:
        for part in step.convolutions():
            for leaf in ("weight", "bias"):
                key = f"{step.index}.{part}{leaf}"
                if key not in state:
                    raise ValueError(f"the weights lack features.{key}, which {step.name} needs")
                wanted[key] = state[key].detach().float()
    return wanted
