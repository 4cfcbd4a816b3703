"""The one table of systems: the name in a checkpoint -> its config and how to build it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from models.super_resolution import Mill, MillConfig, Srcnn, SrcnnConfig


@dataclass(frozen=True, kw_only=True)
class System:
    """One architecture: the type of its config, and config -> network."""

    config: type[Any]
    build: Callable[[Any], nn.Module]


SYSTEMS: dict[str, System] = {
    "mill": System(config=MillConfig, build=Mill),
    "srcnn": System(config=SrcnnConfig, build=Srcnn),
}
