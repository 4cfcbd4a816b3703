"""Checkpoint bytes -> a network: our own safetensors, or an upscaler that spandrel recognises."""

import io
import json
import pickle
from collections.abc import Mapping

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn

from models.cards import Card, CheckpointError, read_card
from models.receptive_field import receptive_radius
from models.systems import SYSTEMS
from models.upscaling import RADIUS_LIMIT, Upscaler, luma_upscaler


def write_checkpoint(network: nn.Module, card: Card) -> bytes:
    """Serialise weights and card as safetensors; equal ones give equal bytes."""
    tensors = {name: value.contiguous() for name, value in network.state_dict().items()}
    body = {"config": card.config, "metrics": card.metrics}
    said = {"architecture": card.architecture, "card": json.dumps(body, sort_keys=True)}
    return _canonical(save_safetensors(tensors, metadata=said))


def _canonical(data: bytes) -> bytes:
    """The same file with its header's keys in order: safetensors writes metadata in any order."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # tensors begin at a multiple of 8
    return len(header).to_bytes(8, "little") + header + data[end:]


def network_of(architecture: str, config: Mapping[str, object]) -> nn.Module:
    """The network of a card, with weights that mean nothing yet.

    Raises:
        CheckpointError: no such architecture, or it has no such config.
    """
    if architecture not in SYSTEMS:
        known = ", ".join(sorted(SYSTEMS))
        raise CheckpointError(f"the architecture is {architecture!r}, this version knows: {known}")
    system = SYSTEMS[architecture]
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
    try:
        return system.build(system.config(**values))
    except (RuntimeError, TypeError, ValueError, ArithmeticError) as error:
        raise CheckpointError(f"the {architecture} is damaged: {_reason(error)}") from error


def take_weights_(network: nn.Module, data: bytes) -> tuple[int, int]:
    """Copy a checkpoint's tensors into the network where name and shape are the same.

    So a network for another scale takes over all but its last layer.

    Returns:
        How many tensors were taken, and of how many.
    Raises:
        CheckpointError: none fits.
    """
    own, given = network.state_dict(), load_safetensors(data)
    fit = {k: v for k, v in given.items() if k in own and own[k].shape == v.shape}
    if not fit:
        raise CheckpointError("no tensor of the checkpoint has a place in the network")
    network.load_state_dict({**own, **fit})
    return len(fit), len(own)


def load_upscaler(data: bytes, *, name: str) -> Upscaler:
    """Build the upscaler that a checkpoint describes, on the CPU in fp32.

    Args:
        data: the whole file; safetensors, or a PyTorch pickle, which is loaded with weights only.
        name: what messages and results call it.
    Raises:
        CheckpointError: damaged, of an unknown architecture, or holding code.
    """
    if not data:
        raise CheckpointError(f"{name} is empty, wanted a checkpoint")
    if _looks_like_safetensors(data):
        try:
            card = read_card(data)
        except CheckpointError as error:
            raise CheckpointError(f"{name} cannot be read: {error}") from error
        if card is not None:
            return _load_own(data, card, name)
    return _load_foreign(_read_tensors(data, name), name)


def _looks_like_safetensors(data: bytes) -> bool:
    return len(data) > 9 and data[8:9] == b"{" and int.from_bytes(data[:8], "little") < len(data)


def _load_own(data: bytes, card: Card, name: str) -> Upscaler:
    if "scale" not in card.config:
        raise CheckpointError(f"{name} is a {card.architecture}, no super-resolution model")
    return luma_upscaler(name, _built(data, card, name), scale=card.config["scale"])


def _built(data: bytes, card: Card, name: str) -> nn.Module:
    try:
        network = network_of(card.architecture, card.config)
        network.load_state_dict(load_safetensors(data))
    except CheckpointError as error:
        raise CheckpointError(f"{name}: {error}") from error
    except (SafetensorError, RuntimeError) as error:
        raise CheckpointError(f"{name} is damaged: {_reason(error)}") from error
    return network


def load_network(data: bytes, *, architecture: str, name: str) -> nn.Module:
    """The network of one of our own checkpoints, on the CPU in fp32, whatever its file holds.

    Args:
        architecture: what it must be; a name of `systems.SYSTEMS`.
        name: what messages call it.
    Raises:
        CheckpointError: damaged, not ours, or of another architecture.
    """
    try:
        card = read_card(data) if _looks_like_safetensors(data) else None
    except CheckpointError as error:
        raise CheckpointError(f"{name} cannot be read: {error}") from error
    if card is None:
        raise CheckpointError(f"{name} is no checkpoint of ours, wanted a {architecture}")
    if card.architecture != architecture:
        raise CheckpointError(f"{name} is a {card.architecture}, wanted a {architecture}")
    return _built(data, card, name)


def _reason(error: Exception) -> str:
    """The first line that says something: torch puts a title above what does not fit."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.endswith(":")] or lines
    return telling[0] if telling else type(error).__name__


def _read_tensors(data: bytes, name: str) -> dict[str, Tensor]:
    """The state dict of a foreign file; pickles never execute anything."""
    try:
        if _looks_like_safetensors(data):
            return load_safetensors(data)
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "GLOBAL" in str(error):
            raise CheckpointError(
                f"{name} holds code besides weights; it was not executed, and is refused"
            ) from error
        raise CheckpointError(
            f"{name} is no checkpoint, is damaged, or holds more than weights"
        ) from error
    except Exception as error:  # torch meets a damaged pickle with whatever breaks first
        raise CheckpointError(f"{name} is no checkpoint, or is damaged") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{name} holds a {type(state).__name__}, wanted a dict of weights")
    return state


def _load_foreign(state: dict[str, Tensor], name: str) -> Upscaler:
    """A community checkpoint, recognised by its weights' names and shapes."""
    # importing spandrel brings torchvision in, five seconds that our own models do not need
    from spandrel import ImageModelDescriptor, ModelLoader, UnsupportedModelError

    try:
        model = ModelLoader().load_from_state_dict(state)
    except UnsupportedModelError as error:
        raise CheckpointError(
            f"{name} is of an architecture that is not known as an image model"
        ) from error
    except (RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{name} could not be built from its weights: {_reason(error)}"
        ) from error
    if not isinstance(model, ImageModelDescriptor) or model.purpose != "SR" or model.scale < 2:
        raise CheckpointError(f"{name} ({model.architecture.name}) is no super-resolution model")
    if model.input_channels not in (1, 3) or model.output_channels != model.input_channels:
        raise CheckpointError(
            f"{name} takes {model.input_channels} channels and gives {model.output_channels},"
            " wanted gray or RGB on both sides"
        )
    network = model.model.eval().requires_grad_(False)
    size = model.size_requirements
    return Upscaler(
        name=name,
        scale=model.scale,
        radius=_foreign_radius(network, model.input_channels, model.scale, size.multiple_of or 1),
        network=network.to(memory_format=torch.channels_last),
        inputs="rgb" if model.input_channels == 3 else "gray",
        multiple=size.multiple_of or 1,
        minimum=size.minimum or 1,
        square=size.square,
    )


def _foreign_radius(network: nn.Module, channels: int, scale: int, multiple: int) -> int:
    """A margin that is a multiple of the network's cells, and reaches from any place in them."""
    try:
        seen = receptive_radius(network, channels=channels, scale=scale, limit=RADIUS_LIMIT)
    except (RuntimeError, ValueError):
        # an architecture that does not run in float64, or not at this size: the widest margin
        seen = RADIUS_LIMIT
    return -(-(seen + multiple - 1) // multiple) * multiple
