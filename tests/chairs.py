"""Small datasets and generators of chairs."""

import math
from dataclasses import asdict
from typing import Any

import torch

from models.cards import Card
from models.chair_networks import ChairGenerator, GeneratorConfig, chair_init_
from models.chair_pictures import ChairPictures
from models.checkpoints import write_checkpoint
from tasks import chairs_dataset, runs, storage, versions
from tasks.chairs_dataset import ChairsRequest
from tasks.runs import RunProgress
from tasks.versions import ModelRecord, Version

TINY = GeneratorConfig(classes=3, size=32, inputs=8, trunk=12, cells=4, widths=(4,))


def chairs_dataset_at(destination: str, **options: Any) -> str:
    """Three chairs of 32 pixels from eight sides."""
    small = {"chairs": 3, "azimuths": 4, "size": 32, "seed": 3, "shard_size": 2}
    job = chairs_dataset.open_job(ChairsRequest(destination=destination, **{**small, **options}))
    progress = RunProgress()
    with runs.recorded(job.run, progress):
        chairs_dataset.begin(job)
        for shard in chairs_dataset.plan(job, progress):
            chairs_dataset.run_shard(job, shard, progress)
        chairs_dataset.finish(job, progress)
    return destination


def tiny_generator(seed: int = 0, config: GeneratorConfig = TINY) -> ChairGenerator:
    """A generator of which every input matters."""
    network = ChairGenerator(config)
    chair_init_(network, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        network.picture.layers[-1].get_parameter("weight").mul_(5)
    return network.eval().requires_grad_(False)


def generator_checkpoint(seed: int = 0, config: GeneratorConfig = TINY) -> bytes:
    """The file of a tiny generator."""
    card = Card(architecture="chair_generator", config=asdict(config), metrics={})
    return write_checkpoint(tiny_generator(seed, config), card)


def published_generator(registry: str, name: str, seed: int = 0) -> Version:
    """A tiny generator in a registry, its champion if it is the first."""
    data = generator_checkpoint(seed)
    record = ModelRecord(
        system="chairs", name=name, run=f"run-{seed}", architecture="chair_generator",
        config=asdict(TINY), dataset="memory://nothing", dataset_digest="d", metrics={},
        parent=None, training={}, code_version="0", digest=versions.weights_digest(data),
        created_at="2026-11-24T02:00:00+00:00",
    )  # fmt: skip
    made = versions.publish(registry, data, record)
    if made.version == 1:
        versions.promote(registry, "chairs", name, 1, reason="test")
    return made


def checkpoint_at(folder: str, seed: int = 0) -> str:
    """The URI of a tiny generator's file in a folder."""
    uri = storage.join(folder, f"generator-{seed}.safetensors")
    storage.write(uri, generator_checkpoint(seed))
    return uri


def discs(chairs: int = 2, azimuths: int = 4, size: int = 32) -> ChairPictures:
    """Views without a renderer: a colored disc for each chair that moves with the azimuth."""
    rgb, mask, told = [], [], []
    ys, xs = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    for chair in range(chairs):
        for k in range(azimuths):
            angle = 2 * math.pi * k / azimuths
            across = size * (0.5 + 0.2 * math.sin(angle))
            down = size * (0.5 + 0.2 * math.cos(angle))
            inside = ((xs - across) ** 2 + (ys - down) ** 2 < (size / 5) ** 2)[None]
            color = torch.tensor([40 + 150 * chair, 200 - 150 * chair, 90])[:, None, None]
            rgb.append(torch.where(inside, color, 255).byte())
            mask.append((inside * 255).byte())
            told.append((chair, k * 360 / azimuths))
    return ChairPictures(
        rgb=torch.stack(rgb),
        mask=torch.stack(mask),
        chair=torch.tensor([c for c, _ in told]),
        azimuth=torch.tensor([a for _, a in told], dtype=torch.float32),
        elevation=torch.full((len(told),), 20.0),
    )
