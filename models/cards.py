"""What our checkpoints say of themselves, read without torch.

A safetensors file begins with a JSON header; ours carry two metadata entries in it: `architecture`,
a name of `systems.SYSTEMS`, and `card`, JSON with `config` and `metrics`.
"""

import json
from dataclasses import dataclass
from typing import Any


class CheckpointError(ValueError):
    """The bytes are no checkpoint that pixelmill can run; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """What our checkpoints say of themselves."""

    architecture: str
    config: dict[str, Any]
    metrics: dict[str, float]


def read_card(data: bytes) -> Card | None:
    """The card in our own checkpoint's header; None for anybody else's.

    Raises:
        CheckpointError: the header is damaged.
    """
    try:
        length = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + length]).get("__metadata__") or {}
        if "architecture" not in metadata:
            return None
        card = json.loads(metadata["card"])
        return Card(
            architecture=metadata["architecture"],
            config=dict(card["config"]),
            metrics=dict(card.get("metrics", {})),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"the checkpoint's header is damaged ({error})") from error
