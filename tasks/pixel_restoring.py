"""One shard of compressed pictures: containers in, PNGs and a manifest part out."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

from models.images import encode
from models.pixel_coding import ContainerError, decompress
from models.pixel_exchange import restored
from models.pixel_pictures import Bytes
from tasks import storage
from tasks.collection import Source
from tasks.failures import RunAbortedError, explain, persistently
from tasks.pixel_decompressing import ContainerPart, DecompressJob, DecompressShard
from tasks.pixel_models import LoadedPixelModel
from tasks.pixel_shards import failed_row, format_of, load_checked, manifest_row, write_manifest
from tasks.runs import RunProgress
from tasks.tables import MANIFEST, ManifestRow


def run_shard(
    job: DecompressJob, shard: DecompressShard, progress: RunProgress
) -> list[ManifestRow]:
    """Restore the pictures of one shard and commit it; a bad container costs its rows alone.

    Raises:
        RunAbortedError: the store cannot be reached, or the model was replaced.
        StorageError: the destination cannot be written.
    """
    loaded = load_checked(job.request.model, job.request.registry, job.provenance)
    rows: list[ManifestRow] = []

    def commit() -> None:
        run = job.provenance.run
        write_manifest(job.request.destination, run, shard.number, rows, MANIFEST)

    try:
        for part in shard.containers:
            if progress.stop.is_set():
                break
            for row in _restored(job, loaded, shard.number, part):
                rows.append(row)
                progress.add(row)
    except storage.StorageUnavailableError as error:
        commit()
        raise RunAbortedError(explain(error)) from error
    commit()
    return rows


def _restored(
    job: DecompressJob, loaded: LoadedPixelModel, shard: int, part: ContainerPart
) -> Iterator[ManifestRow]:
    """The row of every wanted picture of a container, its PNG written."""
    rows = [manifest_row(source, job.provenance, shard) for _, _, source in part.pictures]
    try:
        data = persistently(lambda: storage.read(part.uri))
        images = decompress(loaded.network, data, digest=job.facts.digest.encode())
    except (ContainerError, MemoryError, storage.NotFoundError, storage.AccessDeniedError) as error:
        yield from (failed_row(row, error) for row in rows)
        return
    levels = images.permute(0, 2, 3, 1).contiguous().numpy()
    for (place, channels, source), row in zip(part.pictures, rows, strict=True):
        if place >= len(levels):
            missing = ContainerError(f"the container has {len(levels)} pictures, wanted {place}")
            yield failed_row(row, missing)
        else:
            yield _written(job, row, source, levels[place], channels)


def _written(
    job: DecompressJob, row: ManifestRow, source: Source, levels: Bytes, channels: int
) -> ManifestRow:
    wanted = format_of(job.facts)
    picture = restored(levels, wanted, channels or wanted.channels)
    data, target = encode(picture, "png"), storage.join(job.request.destination, source.output)
    persistently(lambda: storage.write(target, data))
    height, width = picture.pixels.shape[:2]
    return replace(
        row,
        output=source.output,
        output_bytes=len(data),
        width=width,
        height=height,
        output_width=width,
        output_height=height,
        finished_at=datetime.now(UTC),
    )
