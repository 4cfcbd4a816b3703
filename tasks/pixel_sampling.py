"""The job of drawing pictures from a pixel model: a request, checked; its plan."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from models.images import ImageError
from tasks import storage
from tasks.bulk_job import check_range, digest_of
from tasks.failures import RequestError
from tasks.pixel_models import PixelFacts, check_pixel_model
from tasks.pixel_shards import PIXEL_JOBS_VERSION, check_label, format_of
from tasks.runs import RunProgress, new_run_id, software_versions
from tasks.tables import RunRow

Sampler = Literal["cached", "predictive", "naive"]


@dataclass(frozen=True, kw_only=True)
class SampleRequest:
    """What a user asks for; see the command line.

    Args:
        size: "28" or "48x32" pixels, width first; None is 28 for a binary model, else 32.
        label: a class; None takes each in turn, for a model that has some.
        seed: with a picture's number it decides the picture.
        sampler: None is cached where the network can, else predictive; all give the same pictures.
    """

    destination: str
    model: str | None = None
    registry: str | None = None
    count: int = 64
    size: str | None = None
    label: int | None = None
    temperature: float = 1.0
    seed: int = 0
    sampler: Sampler | None = None
    sheet: bool = True
    shard_size: int = 64
    overwrite: bool = False


@dataclass(frozen=True, kw_only=True)
class SampleShard:
    """Pictures first to last - 1."""

    number: int
    first: int
    last: int


@dataclass(frozen=True, kw_only=True)
class SampleJob:
    """A checked request, its run, the pictures' sides, the name that its files begin with."""

    request: SampleRequest
    facts: PixelFacts
    run: RunRow
    height: int
    width: int
    stem: str


def check_request(request: SampleRequest) -> SampleRequest:
    """The request with a whole URI, after every check that needs no torch.

    Raises:
        RequestError: a value out of range, or one that the model does not fit.
        ModelError: no such model.
        StorageError: a store cannot be asked.
    """
    check_range("count", request.count, 1, 10**9)
    check_range("seed", request.seed, 0, 2**63 - 1)
    check_range("shard-size", request.shard_size, 1, 100_000)
    facts = check_pixel_model(request.model, request.registry)
    check_label(request.label, facts)
    check_sampler(request.sampler, request.temperature, facts)
    _sides(request, facts)
    return replace(request, destination=storage.normalise(request.destination))


def check_sampler(sampler: Sampler | None, temperature: float, facts: PixelFacts) -> None:
    """Raises RequestError: a sampler that cannot run the model, or a temperature out of range."""
    check_range("temperature", temperature, 0.01, 100)
    if sampler == "cached" and facts.architecture == "pixelrnn":
        raise RequestError(
            f"the cached sampler runs convolutional models alone, {facts.name} is a PixelRNN;"
            " wanted predictive or naive"
        )


def chosen_sampler(sampler: Sampler | None, facts: PixelFacts) -> Sampler:
    """What no sampler means: the fastest that runs the model."""
    return sampler or ("predictive" if facts.architecture == "pixelrnn" else "cached")


def _sides(request: SampleRequest, facts: PixelFacts) -> tuple[int, int]:
    from models.texture import parse_size

    side = 28 if facts.levels == 2 else 32
    try:
        height, width = parse_size(request.size) or (side, side)
        format_of(facts).check_size(height, width)
    except (ImageError, ValueError) as error:
        raise RequestError(str(error).removesuffix("; --size cuts pictures")) from error
    return height, width


def open_job(request: SampleRequest) -> SampleJob:
    """Check a request and give the run its name. Writes nothing.

    Raises:
        RequestError, ModelError, StorageError: as in `check_request`.
    """
    request = check_request(request)
    facts = check_pixel_model(request.model, request.registry)
    height, width = _sides(request, facts)
    names = ("count", "label", "temperature", "seed", "sheet", "shard_size")
    shaping = {name: getattr(request, name) for name in names}
    told = {"job": "sample", "version": PIXEL_JOBS_VERSION, "model": facts.digest}
    digest = digest_of({**told, "height": height, "width": width, **shaping})
    row = RunRow(
        run=new_run_id(),
        job="sample",
        status="running",
        source="",
        destination=request.destination,
        parameters=storage.redact(json.dumps(asdict(request), sort_keys=True)),
        model=facts.name,
        model_digest=facts.digest,
        config_digest=digest,
        device="cpu",
        precision="fp32",
        started_at=datetime.now(UTC),
        versions=software_versions(),
    )
    stem = f"{width}x{height}-seed-{request.seed}-{digest[:8]}"
    return SampleJob(request=request, facts=facts, run=row, height=height, width=width, stem=stem)


def plan(job: SampleJob, progress: RunProgress) -> Iterator[SampleShard]:
    """The shards that are not done, until somebody asks the run to stop."""
    request, counts = job.request, progress.counts
    firsts = range(0, request.count, request.shard_size)
    for number, first in enumerate(firsts):
        last = min(first + request.shard_size, request.count)
        shard = SampleShard(number=number, first=first, last=last)
        counts.found += last - first
        if not request.overwrite and storage.exists(rows_uri(job, shard)):
            counts.already_done += last - first
            continue
        counts.to_do += last - first
        if progress.stop.is_set():
            return
        yield shard


def rows_uri(job: SampleJob, shard: SampleShard) -> str:
    """Where a shard's rows are: its commit."""
    name = f"samples/{job.stem}/shard-{shard.number:05d}.parquet"
    return storage.join(job.request.destination, name)
