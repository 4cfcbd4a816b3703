"""One shard of drawn chairs: pictures, animation and sheet, then its rows, which commit it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice, product

import numpy as np
import torch
from torch import Tensor

from models.animations import animation
from models.chair_morphs import Scenes, draw, mixture, morph, turntable, views
from models.chair_networks import over_white
from models.chair_views import PARAMETERS, Transformation
from models.images import Picture, encode
from models.picture_grid import GridRow, picture_grid
from models.pixels import Pixels
from tasks import storage, tables
from tasks.chair_models import LoadedGenerator, load_generator
from tasks.chairs_result_tables import GENERATED, GeneratedRow
from tasks.failures import RunAbortedError, persistently
from tasks.generating import GenerateJob, GenerateRequest, GenerateShard, rows_uri
from tasks.runs import RunProgress

_SHEET_COLUMNS, _SHEET_PICTURES = 8, 64


@dataclass(frozen=True, kw_only=True)
class _Scene:
    """One picture to be: chairs by weight, degrees."""

    weights: dict[int, float]
    azimuth: float
    elevation: float


def run_shard(job: GenerateJob, shard: GenerateShard, progress: RunProgress) -> list[GeneratedRow]:
    """Draw the pictures of a shard and commit them; nothing, if the run was asked to stop.

    Raises:
        RunAbortedError: the generator is not the one any more that the request was checked with.
        StorageError: a file cannot be written.
    """
    request = job.request
    generator = load_generator(request.model, request.registry)
    if generator.digest != job.facts.digest:
        raise RunAbortedError(
            f"{generator.name} has the digest {generator.digest}, wanted {job.facts.digest}:"
            " it was replaced while the run began; run it again"
        )
    scenes = scenes_of(request, job.facts.classes, shard)
    color, mask = draw(generator.network, scenes)
    names = _names(request, scenes, shard)
    written: list[GeneratedRow] = []
    for number, name in enumerate(names):
        if progress.stop.is_set():
            progress.ok -= len(written)  # this shard is not committed: the next run's
            return []
        row = _row(job, generator, scenes, number, shard, f"{job.stem}/{name}.png")
        written.append(_written(request, row, color[number], mask[number]))
        progress.ok += 1
        progress.output_bytes += written[-1].output_bytes
        progress.output_pixels += row.width * row.height
    _write_overviews(job, shard, _levels(over_white(color, mask)), written)
    rows = tables.to_parquet(written, GENERATED)
    persistently(lambda: storage.write(rows_uri(job, shard), rows))
    return written


def scenes_of(request: GenerateRequest, classes: int, shard: GenerateShard) -> Scenes:
    """What a shard's pictures are of."""
    told = Transformation(**request.transformation).parameters()
    if request.kind == "view":
        return _views(request, classes, shard, told)
    azimuth, elevation = request.azimuths[0], request.elevations[0]
    if request.turntable is not None:
        (chair,) = _chairs(request, classes)
        return turntable(chair, request.turntable, azimuth, elevation, told)
    to_azimuth = azimuth if request.to_azimuth is None else request.to_azimuth
    to_elevation = elevation if request.to_elevation is None else request.to_elevation
    first, last = (list(_chairs(request, classes)) * 2)[:2]
    return morph(
        (first, last), (azimuth, to_azimuth), (elevation, to_elevation), request.steps, told
    )


def _chairs(request: GenerateRequest, classes: int) -> Iterator[Tensor]:
    """The class vectors that a request names: chairs, then a blend; or the two of a morph."""
    for number in request.morph or request.chairs:
        yield mixture({number: 1.0}, classes)
    if request.blend:
        weights: dict[int, float] = {}
        for number, weight in request.blend:
            weights[number] = weights.get(number, 0.0) + weight
        yield mixture(weights, classes)


def _views(request: GenerateRequest, classes: int, shard: GenerateShard, told: Tensor) -> Scenes:
    """By chair, then elevation, then azimuth; only those of the shard are made."""
    every = product(_chairs(request, classes), request.elevations, request.azimuths)
    parts = [
        views([chair], [azimuth], [elevation], told)
        for chair, elevation, azimuth in islice(every, shard.first, shard.last)
    ]
    return Scenes(
        chair=torch.cat([p.chair for p in parts]),
        azimuth=torch.cat([p.azimuth for p in parts]),
        elevation=torch.cat([p.elevation for p in parts]),
        transformation=torch.cat([p.transformation for p in parts]),
    )


def _names(request: GenerateRequest, scenes: Scenes, shard: GenerateShard) -> list[str]:
    """Of the pictures' files: what is seen for single views, else the frame's number."""
    if request.kind != "view":
        return [f"{number:04d}" for number in range(shard.first, shard.last)]
    found = []
    for number in range(len(scenes)):
        chairs, _ = _mixed(scenes.chair[number])
        what = f"chair-{chairs[0]}" if len(chairs) == 1 else "blend"
        azimuth, elevation = float(scenes.azimuth[number]), float(scenes.elevation[number])
        # the number tells apart what is asked for twice
        found.append(f"{shard.first + number:05d}-{what}-e{elevation:g}-a{azimuth:.5g}")
    return found


def _mixed(vector: Tensor) -> tuple[list[int], list[float]]:
    """The chairs of a class vector and their weights."""
    chairs = vector.nonzero()[:, 0].tolist()
    return chairs, [float(vector[number]) for number in chairs]


def _row(
    job: GenerateJob,
    generator: LoadedGenerator,
    scenes: Scenes,
    number: int,
    shard: GenerateShard,
    path: str,
) -> GeneratedRow:
    chairs, weights = _mixed(scenes.chair[number])
    size = generator.network.config.size
    told = dict(zip(PARAMETERS, scenes.transformation[number].tolist(), strict=True))
    return GeneratedRow(
        output=f"images/{path}",
        mask_output=f"masks/{path}" if job.request.pixels == "rgb" else None,
        output_bytes=0,
        kind=job.request.kind,
        frame=shard.first + number,
        frames=job.request.frames,
        chairs=chairs,
        weights=weights,
        azimuth=float(scenes.azimuth[number]),
        elevation=float(scenes.elevation[number]),
        **told,
        width=size,
        height=size,
        model=generator.name,
        model_digest=generator.digest,
        config_digest=job.run.config_digest,
        run=job.run.run,
        finished_at=datetime.now(UTC),
    )


def _written(
    request: GenerateRequest, row: GeneratedRow, color: Tensor, mask: Tensor
) -> GeneratedRow:
    """Write a picture, and its mask where that has a file of its own."""
    if row.mask_output is None:
        files = {row.output: torch.cat([color, mask])[None]}
    else:
        files = {row.output: over_white(color, mask)[None], row.mask_output: mask[None]}
    size = 0
    for name, values in files.items():
        data = encode(Picture(pixels=_levels(values)[0]), "png")
        size += len(data)
        persistently(partial(storage.write, storage.join(request.destination, name), data))
    return replace(row, output_bytes=size)


def _levels(values: Tensor) -> Pixels:
    """(N, C, H, W) of 0..1 -> (N, H, W, C) uint8."""
    levels = (values * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    return np.ascontiguousarray(levels.numpy())


def _write_overviews(
    job: GenerateJob, shard: GenerateShard, shown: Pixels, rows: Sequence[GeneratedRow]
) -> None:
    """An animation of what moves, and a contact sheet of the first pictures."""
    request = job.request
    files: dict[str, bytes] = {}
    if request.kind != "view" and request.animation != "none":
        back = request.kind == "morph"
        moving = animation(list(shown), request.animation, there_and_back=back)
        files[f"animations/{job.stem}.{request.animation}"] = moving
    if request.sheet:
        name = job.stem if request.kind != "view" else f"{job.stem}-{shard.number:05d}"
        files[f"sheets/{name}.png"] = encode(contact_sheet(shown, rows), "png")
    for name, data in files.items():
        persistently(partial(storage.write, storage.join(request.destination, name), data))


def contact_sheet(pictures: Pixels, rows: Sequence[GeneratedRow]) -> Picture:
    """Pictures (N, H, W, 3), eight in a row, with words; of more than 64, so many of them."""
    count = min(len(pictures), _SHEET_PICTURES)
    chosen = np.linspace(0, len(pictures) - 1, count).round().astype(int)
    columns = min(_SHEET_COLUMNS, count)
    cells = [(pictures[k], _words(rows[k])) for k in chosen]
    blank = np.full_like(pictures[0], 255)
    cells += [(blank, "")] * (-count % columns)
    lines = [cells[k : k + columns] for k in range(0, len(cells), columns)]
    return picture_grid(
        [
            GridRow(crops=tuple(c for c, _ in line), words=tuple(w for _, w in line))
            for line in lines
        ]
    )


def _words(row: GeneratedRow) -> str:
    if len(row.chairs) == 1:
        what = f"chair {row.chairs[0]}"
    else:
        parts = zip(row.chairs, row.weights, strict=True)
        what = " ".join(f"{chair}:{weight:.2f}" for chair, weight in parts)
    return f"{what}  {row.azimuth:.0f} / {row.elevation:.0f}"
