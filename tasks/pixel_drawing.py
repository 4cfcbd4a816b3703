"""One shard of drawn pictures: images and a sheet, then its rows, which commit it."""

import hashlib
from datetime import UTC, datetime
from functools import partial

import torch
from torch import Tensor

from models.images import Picture, encode
from models.picture_grid import GridRow, picture_grid
from models.pixel_exchange import as_rgb, in_lines
from models.pixel_likelihood import PixelNetwork, bits_per_dimension, nats
from models.pixel_pictures import Bytes, shown
from models.pixel_sampling import draw_noise, sample
from tasks import storage, tables
from tasks.failures import RunAbortedError, persistently
from tasks.pixel_models import load_pixel_model
from tasks.pixel_sampling import SampleJob, SampleShard, chosen_sampler, rows_uri
from tasks.pixel_tables import SAMPLES, SampleRow
from tasks.runs import RunProgress

_BATCH = 16
_SHEET_COLUMNS, _SHEET_PICTURES, _SHEET_SIDE = 8, 64, 256


def run_shard(job: SampleJob, shard: SampleShard, progress: RunProgress) -> list[SampleRow]:
    """Draw the pictures of a shard and commit them; nothing, if the run was asked to stop.

    Raises:
        RunAbortedError: the model is not the one any more that the request was checked with.
        StorageError: a file cannot be written.
    """
    request = job.request
    loaded = load_pixel_model(request.model, request.registry)
    if loaded.digest != job.facts.digest:
        raise RunAbortedError(
            f"{loaded.name} has the digest {loaded.digest}, wanted {job.facts.digest}:"
            " it was replaced while the run began; run it again"
        )
    rows: list[SampleRow] = []
    pictures: list[Bytes] = []
    for first in range(shard.first, shard.last, _BATCH):
        if progress.stop.is_set():
            progress.ok -= len(rows)  # this shard is not committed: the next run's
            return []
        numbers = range(first, min(first + _BATCH, shard.last))
        made, own = _drawn(job, loaded.network, numbers)
        for number, levels, score in zip(numbers, made, own.tolist(), strict=True):
            row = _written(job, number, levels, score)
            rows.append(row)
            pictures.append(levels)
            progress.ok += 1
            progress.output_bytes += row.output_bytes
            progress.output_pixels += row.width * row.height
    if request.sheet and max(job.height, job.width) <= _SHEET_SIDE:
        name = f"sheets/{job.stem}-{shard.number:05d}.png"
        _write(job, name, encode(_sheet(job, pictures, rows), "png"))
    data = tables.to_parquet(rows, SAMPLES)
    persistently(lambda: storage.write(rows_uri(job, shard), data))
    return rows


def _drawn(job: SampleJob, network: PixelNetwork, numbers: range) -> tuple[list[Bytes], Tensor]:
    """Levels (H, W, C) and nats of each: a picture's noise depends on its number alone."""
    request, channels = job.request, job.facts.channels
    shape = (1, channels, job.height, job.width)
    noise = torch.cat([draw_noise(shape, _generator(request.seed, n)) for n in numbers])
    labels = None
    if network.classes:
        labels = torch.tensor([_label(job, number) for number in numbers])
    images = sample(
        network,
        noise,
        labels=labels,
        temperature=request.temperature,
        sampler=chosen_sampler(request.sampler, job.facts),
    )
    with torch.inference_mode():
        scores = nats(network, images, labels)
    return list(images.permute(0, 2, 3, 1).contiguous().numpy()), scores


def _generator(seed: int, number: int) -> torch.Generator:
    told = hashlib.blake2b(f"{seed}:{number}".encode(), digest_size=7).digest()
    return torch.Generator().manual_seed(int.from_bytes(told, "big"))


def _label(job: SampleJob, number: int) -> int | None:
    if not job.facts.classes:
        return None
    return number % job.facts.classes if job.request.label is None else job.request.label


def _written(job: SampleJob, number: int, levels: Bytes, score: float) -> SampleRow:
    """Write a picture."""
    name = f"images/{job.stem}/{number:06d}.png"
    data = encode(Picture(pixels=shown(levels, job.facts.levels)), "png")
    _write(job, name, data)
    return SampleRow(
        output=name,
        output_bytes=len(data),
        number=number,
        seed=job.request.seed,
        label=_label(job, number),
        temperature=job.request.temperature,
        width=job.width,
        height=job.height,
        nats=score,
        bits_per_dim=float(bits_per_dimension(torch.tensor(score), levels.size)),
        model=job.facts.name,
        model_digest=job.facts.digest,
        config_digest=job.run.config_digest,
        run=job.run.run,
        finished_at=datetime.now(UTC),
    )


def _write(job: SampleJob, name: str, data: bytes) -> None:
    persistently(partial(storage.write, storage.join(job.request.destination, name), data))


def _sheet(job: SampleJob, pictures: list[Bytes], rows: list[SampleRow]) -> Picture:
    """Eight in a row, with their numbers; of more than 64 the first ones."""
    cells = [as_rgb(levels, job.facts.levels) for levels in pictures[:_SHEET_PICTURES]]
    columns = min(_SHEET_COLUMNS, len(cells))
    words = [_words(row) for row in rows[: len(cells)]] + [""] * (-len(cells) % columns)
    lines = in_lines(cells, columns)
    return picture_grid(
        [
            GridRow(crops=tuple(line), words=tuple(words[n * columns : (n + 1) * columns]))
            for n, line in enumerate(lines)
        ]
    )


def _words(row: SampleRow) -> str:
    what = f"{row.number}" if row.label is None else f"{row.number}  class {row.label}"
    return f"{what}  {row.bits_per_dim:.3f} bits/dim"
