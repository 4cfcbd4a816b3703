"""Small models put into a registry."""

import torch

from models.cards import Card
from models.checkpoints import write_checkpoint
from models.super_resolution import Mill, MillConfig
from tasks import versions
from tasks.versions import ModelRecord, Version


def tiny_checkpoint(seed: int) -> bytes:
    """A network that enlarges twice, with weights of its seed."""
    network = Mill(MillConfig(scale=2, width=4, blocks=1))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(0.1 * torch.randn(weight.shape, generator=generator))
    config = {"scale": 2, "width": 4, "blocks": 1}
    return write_checkpoint(network, Card(architecture="mill", config=config, metrics={}))


def publish(registry: str, name: str, seed: int) -> Version:
    """A tiny checkpoint as the next version of a name."""
    data = tiny_checkpoint(seed)
    record = ModelRecord(
        system="sr",
        name=name,
        run=f"run-{seed}",
        architecture="mill",
        config={"scale": 2, "width": 4, "blocks": 1},
        dataset="memory://nothing",
        dataset_digest="d",
        metrics={"psnr_y": 30.0 + seed},
        parent=None,
        training={"steps": 0},
        code_version="0",
        digest=versions.weights_digest(data),
        created_at="2026-11-24T02:00:00+00:00",
    )
    return versions.publish(registry, data, record)
