"""The job of rendering a dataset of parametric chairs; and how to read one."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from tasks import chairs_parts, chairs_request, dataset_parts, storage
from tasks.chairs_card import ChairsContent, ChairsSummary
from tasks.chairs_parts import png, splits_of
from tasks.chairs_reading import ChairsDataset, ChairView, open_chairs_dataset, read_chairs
from tasks.chairs_tables import CHAIRS, ChairRow
from tasks.failures import RequestError
from tasks.prefetch import prefetched
from tasks.runs import RunProgress, new_run_id
from tasks.tables import RunRow
from tasks.transform import processors

__all__ = [
    "ChairView",
    "ChairsDataset",
    "ChairsJob",
    "ChairsRequest",
    "ChairsShard",
    "begin",
    "check_request",
    "finish",
    "open_chairs_dataset",
    "open_job",
    "plan",
    "read_chairs",
    "run_shard",
]

PIXELS_VERSION = 1
"""Part of every config digest: raise it when the same request gives other pixels than before."""


@dataclass(frozen=True, kw_only=True)
class ChairsRequest:
    """What a user asks for; see the command line. azimuths: views round the chair, evenly spaced.

    elevations: degrees. validation, test: shares of each chair's views. shard_size: chairs.
    """

    destination: str
    chairs: int = 809
    azimuths: int = 31
    elevations: tuple[float, ...] = (20.0, 30.0)
    size: int = 128
    seed: int = 0
    samples: int = 3
    validation: float = 0.05
    test: float = 0.1
    shard_size: int = 16


@dataclass(frozen=True, kw_only=True)
class ChairsShard:
    """The chairs first to last - 1."""

    number: int
    first: int
    last: int


@dataclass(frozen=True, kw_only=True)
class ChairsJob:
    """A checked request, its run, and the numbers of the shards that are done."""

    request: ChairsRequest
    run: RunRow
    done: frozenset[int]


def check_request(request: ChairsRequest) -> ChairsRequest:
    """The request with a whole URI, after every check.

    Raises:
        RequestError: a value out of range, or another dataset is there.
        StorageError: the store cannot be asked.
    """
    ranges = {
        "chairs": (1, 1_000_000),
        "azimuths": (1, 3600),
        "size": (8, 2048),
        "seed": (0, 2**63),
        "samples": (1, 8),
        "shard_size": (1, 10_000),
    }
    for name, (low, high) in ranges.items():
        value = getattr(request, name)
        if not low <= value <= high:
            raise RequestError(f"{name.replace('_', '-')} must be {low} to {high}, got {value}")
    elevations = tuple(float(e) for e in request.elevations)
    if not elevations or not all(-90 <= e <= 90 for e in elevations):
        raise RequestError(f"elevations must be -90 to 90 degrees, got {list(elevations)}")
    if len(set(elevations)) < len(elevations):
        raise RequestError(f"elevations must differ, got {list(elevations)}")
    chairs_request.check_shares(request.validation, request.test)
    destination = storage.normalise(request.destination)
    request = replace(request, destination=destination, elevations=elevations)
    chairs_request.check_same(destination, _shaping(request))
    return request


def _shaping(request: ChairsRequest) -> dict[str, Any]:
    """What a user chooses that shapes a row, or the file it is in."""
    return {
        "job": "dataset-chairs",
        "pixels": PIXELS_VERSION,
        "chairs": request.chairs,
        "azimuths": request.azimuths,
        "elevations": list(request.elevations),
        "size": request.size,
        "seed": request.seed,
        "samples": request.samples,
        "validation": float(request.validation),
        "test": float(request.test),
        "shard_size": request.shard_size,
    }


def open_job(request: ChairsRequest) -> ChairsJob:
    """Check a request, see which shards are done, and give the run its name. Writes nothing.

    Raises:
        RequestError, StorageError: as in `check_request`.
    """
    request = check_request(request)
    digest = chairs_request.config_digest(_shaping(request))
    run = chairs_request.run_row(new_run_id(), "dataset-chairs", request, digest, source="")
    records = dataset_parts.finished_shards(request.destination)
    done = frozenset(n for n, record in records.items() if record.fingerprint == digest)
    return ChairsJob(request=request, run=run, done=done)


def begin(job: ChairsJob) -> None:
    """Claim the destination. Raises RequestError: it was meanwhile begun otherwise."""
    chairs_request.begin(job.request.destination, _shaping(job.request))


def plan(job: ChairsJob, progress: RunProgress) -> Iterator[ChairsShard]:
    """The shards that are not done, until somebody asks the run to stop."""
    request, counts = job.request, progress.counts
    views = request.azimuths * len(request.elevations)
    shards = [
        ChairsShard(number=n, first=first, last=min(first + request.shard_size, request.chairs))
        for n, first in enumerate(range(0, request.chairs, request.shard_size))
    ]
    for shard in shards:
        held = (shard.last - shard.first) * views
        counts.found += held
        if shard.number in job.done:
            counts.already_done += held
        else:
            counts.to_do += held
    for shard in shards:
        if shard.number not in job.done and not progress.stop.is_set():
            yield shard


def run_shard(job: ChairsJob, shard: ChairsShard, progress: RunProgress) -> None:
    """Render the chairs of a shard, by threads, and commit them.

    Raises:
        StorageError: a part cannot be written.
    """
    made = prefetched(
        lambda number: _rows(job.request, number),
        range(shard.first, shard.last),
        workers=processors(),
        ahead=2 * processors(),
    )
    rows: list[ChairRow] = []
    for own in made:
        rows += own
        progress.ok += len(own)
        progress.output_bytes += sum(len(r.image["bytes"]) + len(r.mask["bytes"]) for r in own)
        progress.output_pixels += len(own) * job.request.size**2
        if progress.stop.is_set():
            progress.ok -= len(rows)  # this shard is not committed: the next run's
            return
    dataset_parts.write_shard(
        job.request.destination, shard.number, job.run.config_digest, rows, (), CHAIRS
    )


def _rows(request: ChairsRequest, number: int) -> list[ChairRow]:
    """Every view of one chair."""
    from models.chair_shapes import chair_mesh, chair_parameters
    from models.rendering import render

    mesh, name = chair_mesh(chair_parameters(number, request.seed)), chair_name(number)
    views = [(a, e) for e in request.elevations for a in azimuths_of(request.azimuths)]
    splits = splits_of(
        name, views, seed=request.seed, validation=request.validation, test=request.test
    )
    rows = []
    for (azimuth, elevation), split in zip(views, splits, strict=True):
        rgb, mask = render(
            mesh, azimuth=azimuth, elevation=elevation, size=request.size, samples=request.samples
        )
        path = f"{name}/e{elevation:g}-a{azimuth:.2f}"
        row = ChairRow(
            image={"bytes": png(rgb), "path": f"{path}.png"},
            mask={"bytes": png(mask), "path": f"{path}-mask.png"},
            chair=number,
            name=name,
            azimuth=azimuth,
            elevation=elevation,
            split=split,
        )
        rows.append(row)
    return rows


def chair_name(number: int) -> str:
    """The name of a parametric chair's class."""
    return f"chair-{number:04d}"


def azimuths_of(count: int) -> tuple[float, ...]:
    """Degrees of `count` views round the chair: k * 360 / count."""
    return tuple(k * 360 / count for k in range(count))


def finish(job: ChairsJob, progress: RunProgress) -> ChairsSummary:
    """Write what the dataset is now; dataset.json, the last, commits it.

    Raises:
        ValueError: a shard is not finished.
    """
    request = job.request
    content = ChairsContent(
        request=_shaping(request),
        config_digest=job.run.config_digest,
        size=request.size,
        names=tuple(chair_name(number) for number in range(request.chairs)),
        azimuths=azimuths_of(request.azimuths),
        elevations=request.elevations,
        made_by=f"pixelmill dataset chairs DESTINATION --chairs {request.chairs}"
        f" --azimuths {request.azimuths} --size {request.size} --seed {request.seed}",
    )
    shards = -(-request.chairs // request.shard_size)
    return chairs_parts.close(request.destination, content, shards, (), progress, job.run.run)
