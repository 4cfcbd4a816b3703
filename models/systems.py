"""The one table of systems: the name in a checkpoint -> its config and how to build it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, get_args

import torch
from torch import nn

from models.chair_networks import ChairGenerator, GeneratorConfig, chair_init_
from models.classic_upscalers import (
    Espcn,
    EspcnConfig,
    Fsrcnn,
    FsrcnnConfig,
    ResidualFcn,
    ResidualFcnConfig,
    classic_init_,
)
from models.pixelcnn import (
    GatedPixelCnn,
    GatedPixelCnnConfig,
    PixelCnn,
    PixelCnnConfig,
    pixelcnn_init_,
)
from models.pixelcnn_pp import PixelCnnPp, PixelCnnPpConfig, pixelcnn_pp_init_
from models.pixelrnn import PixelRnn, PixelRnnConfig
from models.style_feedforward import Painter, PainterConfig, painter_init_
from models.super_resolution import (
    Mill,
    MillConfig,
    Scale,
    Srcnn,
    SrcnnConfig,
    small_init_,
    srcnn_init_,
)


@dataclass(frozen=True, kw_only=True)
class System:
    """One architecture: the type of its config, config -> network, and the weights to begin with.

    `initialise` draws the network's weights in place, so that training starts near bicubic.
    """

    config: type[Any]
    build: Callable[[Any], nn.Module]
    initialise: Callable[[Any, torch.Generator], None]


SYSTEMS: dict[str, System] = {
    "mill": System(config=MillConfig, build=Mill, initialise=small_init_),
    "srcnn": System(config=SrcnnConfig, build=Srcnn, initialise=srcnn_init_),
    "espcn": System(config=EspcnConfig, build=Espcn, initialise=classic_init_),
    "fsrcnn": System(config=FsrcnnConfig, build=Fsrcnn, initialise=classic_init_),
    "residual_fcn": System(config=ResidualFcnConfig, build=ResidualFcn, initialise=classic_init_),
    "painter": System(config=PainterConfig, build=Painter, initialise=painter_init_),
    "chair_generator": System(config=GeneratorConfig, build=ChairGenerator, initialise=chair_init_),
    "pixelcnn": System(config=PixelCnnConfig, build=PixelCnn, initialise=pixelcnn_init_),
    "gated_pixelcnn": System(
        config=GatedPixelCnnConfig, build=GatedPixelCnn, initialise=pixelcnn_init_
    ),
    "pixelcnn_pp": System(config=PixelCnnPpConfig, build=PixelCnnPp, initialise=pixelcnn_pp_init_),
    "pixelrnn": System(config=PixelRnnConfig, build=PixelRnn, initialise=pixelcnn_init_),
}

PRESETS: dict[str, tuple[str, Any]] = {
    "mill": ("mill", MillConfig(width=32, blocks=4)),
    "mill-small": ("mill", MillConfig(width=16, blocks=4)),
    "mill-medium": ("mill", MillConfig(width=24, blocks=4)),
    "mill-large": ("mill", MillConfig(width=64, blocks=12)),
    "srcnn-9-1-5": ("srcnn", SrcnnConfig(kernels=(9, 1, 5))),
    "srcnn-9-5-5": ("srcnn", SrcnnConfig(kernels=(9, 5, 5))),
    "espcn": ("espcn", EspcnConfig()),
    "fsrcnn": ("fsrcnn", FsrcnnConfig()),
    "residual-bicubic": ("residual_fcn", ResidualFcnConfig(upsampling="bicubic")),
    "residual-unpool": ("residual_fcn", ResidualFcnConfig(upsampling="unpool")),
    "residual-transposed": ("residual_fcn", ResidualFcnConfig(upsampling="transposed")),
    "residual-pixelshuffle": ("residual_fcn", ResidualFcnConfig(upsampling="pixelshuffle")),
}
"""What a user can train by name: (architecture, config); the scale is put in by `preset`."""

PixelConfig: TypeAlias = PixelCnnConfig | GatedPixelCnnConfig | PixelCnnPpConfig | PixelRnnConfig

_SMALL = PixelCnnPpConfig(
    filters=(32, 48), blocks=(2, 3), entry_shortcuts=False, activation="elu", dropout=0.0
)

PIXEL_PRESETS: dict[str, tuple[str, PixelConfig]] = {
    "digits": ("pixelcnn_pp", replace(_SMALL, channels=1, levels=2, run=2, head="joint")),
    "patches": ("pixelcnn_pp", replace(_SMALL, head="mixture", mixtures=5)),
    "pixelcnn": ("pixelcnn", PixelCnnConfig()),
    "pixelcnn-mnist": ("pixelcnn", PixelCnnConfig(width=32, head_width=32)),
    "gated-pixelcnn": ("gated_pixelcnn", GatedPixelCnnConfig()),
    "gated-pixelcnn-mnist": ("gated_pixelcnn", GatedPixelCnnConfig(width=32, head_width=32)),
    "row-lstm": ("pixelrnn", PixelRnnConfig(recurrence="row")),
    "row-lstm-mnist": (
        "pixelrnn",
        PixelRnnConfig(recurrence="row", width=16, layers=7, head_width=32),
    ),
    "diagonal-bilstm": ("pixelrnn", PixelRnnConfig(recurrence="diagonal")),
    "diagonal-bilstm-mnist": (
        "pixelrnn",
        PixelRnnConfig(recurrence="diagonal", width=16, layers=7, head_width=32),
    ),
    "pixelcnn++": ("pixelcnn_pp", PixelCnnPpConfig()),
}
"""Pixel networks that a user can train by name; `pixel_preset` puts in what the pictures are.

digits and patches are our own sizes, the others the papers'; of the gated PixelCNN and the Row LSTM
no sizes for MNIST are published: these are PixelCNN's and the Diagonal BiLSTM's.
"""


def preset(name: str, scale: int) -> tuple[str, Any]:
    """The architecture and the config behind a preset's name, at a scale.

    Raises:
        ValueError: there is no such preset or scale.
    """
    if name not in PRESETS:
        raise ValueError(f"a network must be one of {', '.join(PRESETS)}, got {name!r}")
    if scale not in get_args(Scale):
        raise ValueError(f"scale must be 2, 3 or 4, got {scale}")
    architecture, config = PRESETS[name]
    return architecture, replace(config, scale=scale)


def pixel_preset(
    name: str, *, channels: int, levels: int, classes: int = 0
) -> tuple[str, PixelConfig]:
    """The architecture and the config behind a preset's name, for pictures of that kind.

    Raises:
        ValueError: there is no such preset, or it does not suit such pictures.
    """
    if name not in PIXEL_PRESETS:
        raise ValueError(f"network must be one of {', '.join(PIXEL_PRESETS)}, got {name!r}")
    architecture, config = PIXEL_PRESETS[name]
    if classes and isinstance(config, PixelCnnConfig | PixelRnnConfig):
        raise ValueError(f"{name} cannot be conditioned by classes, got {classes}")
    try:
        made = replace(config, channels=channels, levels=levels)
        if isinstance(made, GatedPixelCnnConfig | PixelCnnPpConfig):
            made = replace(made, classes=classes)
    except ValueError as error:
        raise ValueError(
            f"{name} does not suit pictures of {channels} channels and {levels} levels: {error}"
        ) from error
    return architecture, made


def picture_multiples(config: PixelConfig) -> tuple[int, int]:
    """What the heights and the widths of a pixel network's pictures must be multiples of."""
    step = 2 ** (len(config.filters) - 1) if isinstance(config, PixelCnnPpConfig) else 1
    return step, step * config.run
