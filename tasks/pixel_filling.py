"""One shard of completed pictures: images, a sheet, then its manifest part."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch

from models.images import ImageError, Picture, encode
from models.picture_grid import GridRow, picture_grid
from models.pixel_completion import Completions, complete
from models.pixel_exchange import Mask, as_rgb, with_gap
from models.pixel_pictures import Bytes, shown
from models.pixels import Pixels
from tasks import storage, tables
from tasks.collection import Shard
from tasks.failures import persistently
from tasks.pixel_completing import CompleteJob, read_mask
from tasks.pixel_reading import PixelPicture
from tasks.pixel_results import current_manifest
from tasks.pixel_sampling import chosen_sampler
from tasks.pixel_shards import (
    Batches,
    labels_of,
    load_checked,
    manifest_row,
    near_pictures,
    stacked,
    values_of,
    work_through,
    write_manifest,
)
from tasks.pixel_tables import COMPLETED, CompletedRow
from tasks.runs import RunProgress

_SHEET_PICTURES, _SHEET_SIDE = 16, 256


def run_shard(job: CompleteJob, shard: Shard, progress: RunProgress) -> list[CompletedRow]:
    """Complete the pictures of one shard and commit it.

    Raises:
        RunAbortedError: the store cannot be reached, or the model was replaced.
        StorageError: the destination cannot be written.
    """
    filling = _Filling(job, shard)
    return work_through(
        near_pictures(shard, job.request, job.facts),
        progress,
        batches=Batches(pictures=1),
        row=filling.row,
        work=filling.fill,
        commit=filling.commit,
    )


class _Filling:
    """The completions of one shard, and what its sheet shows."""

    def __init__(self, job: CompleteJob, shard: Shard) -> None:
        request = job.request
        self._job = job
        self._shard = shard.number
        self._network = load_checked(request.model, request.registry, job.provenance).network
        self._mask = None if request.mask is None else read_mask(request.mask)
        self._lines: list[GridRow] = []

    def row(self, picture: PixelPicture) -> CompletedRow:
        """A picture's row before it is completed."""
        row = manifest_row(picture.source, self._job.provenance, self._shard)
        return CompletedRow(**values_of(row))  # type: ignore[arg-type]

    def fill(
        self, pictures: Sequence[PixelPicture], rows: Sequence[CompletedRow]
    ) -> Sequence[CompletedRow]:
        """Complete one picture and write its files: its noise depends on its name, not on company.

        Raises:
            ImageError: it has not the mask's size.
        """
        (picture,), (row,), request = pictures, rows, self._job.request
        missing = self._missing(*picture.size)
        made = complete(
            self._network,
            stacked(pictures),
            torch.from_numpy(missing),
            torch.Generator().manual_seed(_seed(request.seed, picture.source.relative)),
            completions=request.completions,
            labels=labels_of(pictures, self._network.classes),
            temperature=request.temperature,
            sampler=chosen_sampler(request.sampler, self._job.facts),
        )
        drawn = list(made.images[0].permute(0, 2, 3, 1).contiguous().numpy())
        outputs, size = self._written(picture, drawn)
        self._show(picture, missing, drawn)
        height, width = picture.size
        return [
            replace(
                row,
                output=outputs[0],
                outputs=outputs,
                output_bytes=size,
                width=width,
                height=height,
                output_width=width,
                output_height=height,
                hidden_pixels=int(missing.sum()),
                exact=_exact(made),
            )
        ]

    def _missing(self, height: int, width: int) -> Mask:
        if self._mask is None:
            return self._job.request.hiding().mask(height, width)
        if self._mask.shape != (height, width):
            own = "x".join(map(str, reversed(self._mask.shape)))
            raise ImageError(
                "unsuitable", f"{width}x{height} pixels, the mask has {own}; --size cuts pictures"
            )
        return self._mask

    def _written(
        self, picture: PixelPicture, drawn: Sequence[Bytes]
    ) -> tuple[tuple[str, ...], int]:
        """Paths below the destination, images/<k>/<path of the source>; and bytes in all."""
        own = picture.source.output.removeprefix("images/")
        names = tuple(f"images/{k}/{own}" for k in range(len(drawn)))
        size = 0
        for name, levels in zip(names, drawn, strict=True):
            pixels = shown(levels, self._job.facts.levels)
            data = encode(Picture(pixels=pixels), "png")
            target = storage.join(self._job.request.destination, name)
            persistently(partial(storage.write, target, data))
            size += len(data)
        return names, size

    def _show(self, picture: PixelPicture, missing: Mask, drawn: Sequence[Bytes]) -> None:
        """Keep a line of the sheet: the original, what is left of it, completions."""
        full = len(self._lines) >= _SHEET_PICTURES or max(picture.size) > _SHEET_SIDE
        # a sheet's lines are equally long; pictures of other sizes fit, but not another count
        if full or not self._job.request.sheet:
            return
        depth = self._job.facts.levels
        cells: list[Pixels] = [
            as_rgb(picture.pixels, depth),
            with_gap(picture.pixels, missing, depth),
            *(as_rgb(levels, depth) for levels in drawn),
        ]
        name = picture.source.relative.rpartition("/")[2]
        words = (name, "given", *(f"completion {k}" for k in range(len(drawn))))
        self._lines.append(GridRow(crops=tuple(cells), words=words))

    def commit(self, rows: Sequence[CompletedRow]) -> None:
        """The sheet, then the manifest part."""
        job, number = self._job, self._shard
        run, destination = job.provenance.run, job.request.destination
        if self._lines:
            target = storage.join(destination, f"sheets/run={run}/shard-{number:06d}.png")
            data = encode(picture_grid(self._lines), "png")
            persistently(lambda: storage.write(target, data))
        write_manifest(destination, run, number, rows, COMPLETED)


def _exact(made: Completions) -> bool:
    return bool(made.exact.all())


def _seed(seed: int, name: str) -> int:
    told = hashlib.blake2b(f"{seed}:{tables.storable(name)}".encode(), digest_size=7)
    return int.from_bytes(told.digest(), "big")


def told(job: CompleteJob) -> str:
    """Whether the draws are the model's exact conditionals, by the manifest."""
    rows = current_manifest(job.request.destination, COMPLETED, job.run.config_digest)
    known = [exact for exact in rows.column("exact").to_pylist() if exact is not None]
    if not known:
        return ""
    if all(known):
        return "exact draws from the model's conditional distribution"
    some = "" if not any(known) else f" for {len(known) - sum(known)} of {len(known)} pictures"
    return (
        f"no exact draws{some}: what is hidden comes before something that is given, which the"
        " model does not look at"
    )
