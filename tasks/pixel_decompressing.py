"""The job of restoring compressed pictures: a request, checked, and its plan."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tasks import collection, storage
from tasks.bulk_job import check_common, count_only
from tasks.collection import OutputFormat, Shard, Source
from tasks.failures import RequestError, persistently
from tasks.output_names import output_name
from tasks.pixel_compressing import Packed, packed_pictures, read_index
from tasks.pixel_models import PixelFacts, check_pixel_model
from tasks.pixel_shards import check_steps, open_pixel_run
from tasks.runs import RunProgress, RunSummary
from tasks.storage import Entry
from tasks.tables import RunRow
from tasks.transform import Provenance

SUFFIX = ".pxm"


@dataclass(frozen=True, kw_only=True)
class DecompressRequest:
    """What a user asks for; `source` is a destination of `pixels compress`, or one container."""

    source: str
    destination: str
    model: str | None = None
    registry: str | None = None
    shard_size: int = 1024
    limit: int | None = None
    overwrite: bool = False
    max_failed: float = 0.1
    format: OutputFormat = "png"


@dataclass(frozen=True, kw_only=True)
class DecompressJob:
    """A checked request and its run."""

    request: DecompressRequest
    facts: PixelFacts
    run: RunRow
    provenance: Provenance


@dataclass(frozen=True, kw_only=True)
class ContainerPart:
    """Pictures of one container that are still to be restored: (place in it, channels, source).

    channels: of the restored picture; 0 leaves the model's.
    """

    uri: str
    pictures: tuple[tuple[int, int, Source], ...]


@dataclass(frozen=True, kw_only=True)
class DecompressShard:
    """The unit of work and commit: one or more containers."""

    number: int
    containers: tuple[ContainerPart, ...]

    @property
    def plain(self) -> Shard:
        """The same as a shard of sources."""
        sources = tuple(s for part in self.containers for _, _, s in part.pictures)
        return Shard(number=self.number, sources=sources)


def check_request(request: DecompressRequest) -> DecompressRequest:
    """The request with whole URIs, after every check that needs no torch.

    Raises:
        RequestError: a value out of range, or a model that cannot be run site by site.
        ModelError: no such model.
        StorageError: there is no such source, or a store cannot be asked.
    """
    source, destination = check_common(request)
    if not source.endswith(SUFFIX) and not storage.is_folder(storage.join(source, "manifest")):
        raise RequestError(
            f"{source} is no destination of `pixels compress` (it has no manifest), and no"
            f" {SUFFIX} file"
        )
    collection.check_exists(source)
    check_steps(check_pixel_model(request.model, request.registry), "compression")
    return replace(request, source=source, destination=destination)


def open_job(request: DecompressRequest) -> DecompressJob:
    """Check a request and give the run its name. Writes nothing.

    Raises:
        RequestError, ModelError, StorageError: as in `check_request`.
    """
    request = check_request(request)
    facts = check_pixel_model(request.model, request.registry)
    row, provenance = open_pixel_run("decompress", request, facts, {})
    return DecompressJob(request=request, facts=facts, run=row, provenance=provenance)


def plan(job: DecompressJob, progress: RunProgress) -> Iterator[DecompressShard]:
    """Shards of containers with pictures that are not restored yet."""
    request, waiting, held, number = job.request, list[ContainerPart](), 0, 0
    for part in _to_do(job, progress):
        if waiting and held + len(part.pictures) > request.shard_size:
            yield DecompressShard(number=number, containers=tuple(waiting))
            waiting, held, number = [], 0, number + 1
        waiting.append(part)
        held += len(part.pictures)
    if waiting:
        yield DecompressShard(number=number, containers=tuple(waiting))


def dry_run(job: DecompressJob, progress: RunProgress) -> RunSummary:
    """Plan to the end and count; writes nothing."""
    return count_only((shard.plain for shard in plan(job, progress)), job.run, progress)


def _to_do(job: DecompressJob, progress: RunProgress) -> Iterator[ContainerPart]:
    request, counts = job.request, progress.counts
    done = collection.DoneIndex.empty()
    if not request.overwrite:
        done = collection.read_done(request.destination)
    sensitive = storage.case_sensitive(request.destination)
    for uri, packed in _containers(request.source):
        counts.found += len(packed)
        etag, size = _state(uri)
        entries = [
            Entry(uri=f"{uri}#{one.position}", size=size // len(packed), etag=etag)
            for one in packed
        ]
        finished = done.done(entries, job.provenance.config_digest)
        counts.already_done += int(finished.sum())
        left = [
            (one.position, one.channels, _source(one, entry, sensitive))
            for one, entry, is_done in zip(packed, entries, finished, strict=True)
            if not is_done
        ]
        if request.limit is not None:
            left = left[: request.limit - counts.to_do]
        counts.to_do += len(left)
        if left:
            yield ContainerPart(uri=uri, pictures=tuple(left))


def _containers(source: str) -> Iterator[tuple[str, list[Packed]]]:
    """Each container's URI and what of it is wanted."""
    if source.endswith(SUFFIX):
        yield source, _whole(source)
        return
    by_name: dict[str, list[Packed]] = {}
    for one in packed_pictures(read_index(source)):
        by_name.setdefault(one.container, []).append(one)
    for name, packed in by_name.items():
        yield storage.join(source, name), packed


def _whole(uri: str) -> list[Packed]:
    """The pictures of a container without an index, named by their places.

    One that is no container is one picture: its row says what is wrong.
    """
    # torch takes five seconds to import: only where a container is really opened
    from models.pixel_coding import ContainerError, read_container

    try:
        count = read_container(persistently(lambda: storage.read(uri))).pictures
    except ContainerError:
        count = 1
    stem = uri.rpartition("/")[2].removesuffix(SUFFIX)
    return [
        Packed(
            source=f"{uri}#{n}",
            relative=f"{stem}/{n:06d}.png",
            container="",
            position=n,
            channels=0,
        )
        for n in range(count)
    ]


def _state(uri: str) -> tuple[str, int]:
    """Etag and bytes; of a missing container none: reading it says so in its rows."""
    try:
        entry = persistently(lambda: storage.stat(uri))
    except storage.NotFoundError:
        return "", 0
    return entry.etag, entry.size


def _source(one: Packed, entry: Entry, case_sensitive: bool) -> Source:
    name, chosen = output_name(one.relative, "png", case_sensitive=case_sensitive)
    return Source(
        uri=entry.uri,
        relative=one.relative,
        size=entry.size,
        etag=entry.etag,
        output=f"images/{name}",
        format=chosen,
    )
