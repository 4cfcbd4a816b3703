"""The job of drawing chairs by a generator: a request, checked; its plan; one shard of it."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal

from tasks import storage
from tasks.bulk_job import check_range, digest_of
from tasks.chair_models import GeneratorFacts, check_generator
from tasks.chairs_result_tables import Kind
from tasks.failures import RequestError
from tasks.runs import RunProgress, new_run_id, software_versions
from tasks.tables import RunRow

PIXELS_VERSION = 1
"""Part of every config digest: raise it when the same request gives other pixels than before."""

_MOST_FRAMES = 2000


@dataclass(frozen=True, kw_only=True)
class GenerateRequest:
    """What a user asks for; see the command line.

    Args:
        model: a shipped name, NAME[@VERSION] in the registry, or a checkpoint's URI.
        chairs: classes, each drawn from every azimuth and elevation.
        blend: of chairs and weights: one more chair, mixed of several.
        morph: from one chair to another, in `steps` pictures.
        turntable: so many pictures of one chair that turns.
        to_azimuth, to_elevation: where a morph's view ends; alone they are a morph of views.
        transformation: values of `chair_views.Transformation` that are not its defaults.
        pixels: rgba has the mask as alpha; rgb is on white, masks have files of their own.
    """

    destination: str
    model: str | None = None
    registry: str | None = None
    chairs: tuple[int, ...] = ()
    azimuths: tuple[float, ...] = (30.0,)
    elevations: tuple[float, ...] = (20.0,)
    blend: tuple[tuple[int, float], ...] = ()
    morph: tuple[int, int] | None = None
    turntable: int | None = None
    to_azimuth: float | None = None
    to_elevation: float | None = None
    steps: int = 16
    transformation: dict[str, float] = field(default_factory=dict)
    pixels: Literal["rgba", "rgb"] = "rgba"
    animation: Literal["gif", "webp", "none"] = "gif"
    sheet: bool = True
    shard_size: int = 512
    overwrite: bool = False

    @property
    def kind(self) -> Kind:
        """What the pictures are of one another."""
        if self.turntable is not None:
            return "turntable"
        return "morph" if self.morph or self.turns else "view"

    @property
    def turns(self) -> bool:
        """Whether the view ends elsewhere than it begins."""
        return self.to_azimuth is not None or self.to_elevation is not None

    @property
    def frames(self) -> int:
        """How many pictures."""
        if self.kind == "view":
            chairs = len(self.chairs) + bool(self.blend)
            return chairs * len(self.azimuths) * len(self.elevations)
        return self.turntable or self.steps


@dataclass(frozen=True, kw_only=True)
class GenerateShard:
    """Pictures first to last - 1."""

    number: int
    first: int
    last: int


@dataclass(frozen=True, kw_only=True)
class GenerateJob:
    """A checked request, its run, and the name that all of its files begin with."""

    request: GenerateRequest
    facts: GeneratorFacts
    run: RunRow
    stem: str


def check_request(request: GenerateRequest) -> GenerateRequest:
    """The request with a whole URI, after every check that needs no torch.

    Raises:
        RequestError: a value out of range, or options that do not go together.
        ModelError: no such generator.
        StorageError: a store cannot be asked.
    """
    _check_kind(request)
    check_range("steps", request.steps, 2, _MOST_FRAMES)
    check_range("turntable", request.turntable, 2, _MOST_FRAMES)
    check_range("shard-size", request.shard_size, 1, 100_000)
    for elevation in (*request.elevations, request.to_elevation):
        check_range("elevation", elevation, -90, 90)
    for azimuth in (*request.azimuths, request.to_azimuth):
        check_range("azimuth", azimuth, -3600, 3600)
    facts = check_generator(request.model, request.registry)
    named = [*request.chairs, *(request.morph or ()), *(number for number, _ in request.blend)]
    for number in named:
        if not 0 <= number < facts.classes:
            raise RequestError(
                f"{facts.name} knows the chairs 0 to {facts.classes - 1}, got {number}"
            )
    weights = [weight for _, weight in request.blend]
    if request.blend and not (min(weights) >= 0 and 0 < sum(weights) < float("inf")):
        raise RequestError(f"the weights of a blend must be 0 or more, one above 0, got {weights}")
    if request.transformation:
        _check_transformation(request.transformation)
    return replace(request, destination=storage.normalise(request.destination))


def _check_kind(request: GenerateRequest) -> None:
    if not (request.chairs or request.blend or request.morph):
        raise RequestError("which chair? give --chair, --blend or --morph")
    if not request.azimuths or not request.elevations:
        raise RequestError("there must be an azimuth and an elevation, got none")
    if request.morph and (request.chairs or request.blend):
        raise RequestError("a morph names its own two chairs, got --chair or --blend beside it")
    if request.turntable is not None and (request.morph or request.turns):
        raise RequestError("a turntable turns one chair once, got a morph beside it")
    if request.kind == "view":
        return
    many = {
        "chair": len(request.chairs) + bool(request.blend) + bool(request.morph),
        "azimuth": len(request.azimuths),
        "elevation": len(request.elevations),
    }
    for name, count in many.items():
        if count > 1:
            raise RequestError(f"a {request.kind} begins with one {name}, got {count}")


def _check_transformation(values: dict[str, float]) -> None:
    from models.chair_views import Transformation
    from tasks.settings import typed

    typed(Transformation, values)


def open_job(request: GenerateRequest) -> GenerateJob:
    """Check a request and give the run its name. Writes nothing.

    Raises:
        RequestError, ModelError, StorageError: as in `check_request`.
    """
    request = check_request(request)
    facts = check_generator(request.model, request.registry)
    shaping = asdict(request)
    for name in ("destination", "model", "registry", "overwrite"):
        del shaping[name]
    digest = digest_of(
        {"job": "generate", "pixels_version": PIXELS_VERSION, "generator": facts.digest, **shaping}
    )
    row = RunRow(
        run=new_run_id(),
        job="generate",
        status="running",
        source="",
        destination=request.destination,
        parameters=storage.redact(json.dumps(asdict(request), sort_keys=True)),
        model=facts.name,
        model_digest=facts.digest,
        config_digest=digest,
        device="",
        precision="fp32",
        started_at=datetime.now(UTC),
        versions=software_versions(),
    )
    stem = f"{_told(request)}-{digest[:8]}"
    return GenerateJob(request=request, facts=facts, run=row, stem=stem)


def _told(request: GenerateRequest) -> str:
    """A name for people: morph-3-17, chair-3-turntable."""
    if request.morph:
        return "morph-{}-{}".format(*request.morph)
    if request.blend:
        what = "-".join(str(number) for number, _ in request.blend[:4])
        base = f"blend-{what}"
    else:
        base = f"chair-{request.chairs[0]}" if len(request.chairs) == 1 else "chairs"
    return base if request.kind == "view" else f"{base}-{request.kind}"


def plan(job: GenerateJob, progress: RunProgress) -> Iterator[GenerateShard]:
    """The shards that are not done, until somebody asks the run to stop.

    A turntable or a morph is one shard: its animation has all of its pictures.
    """
    request, counts = job.request, progress.counts
    size = request.shard_size if request.kind == "view" else request.frames
    firsts = range(0, request.frames, size)
    shards = [
        GenerateShard(number=n, first=first, last=min(first + size, request.frames))
        for n, first in enumerate(firsts)
    ]
    to_do = []
    for shard in shards:
        held = shard.last - shard.first
        counts.found += held
        if not request.overwrite and storage.exists(rows_uri(job, shard)):
            counts.already_done += held
        else:
            counts.to_do += held
            to_do.append(shard)
    for shard in to_do:
        if not progress.stop.is_set():
            yield shard


def rows_uri(job: GenerateJob, shard: GenerateShard) -> str:
    """Where a shard's rows are: its commit."""
    name = f"generated/{job.stem}/shard-{shard.number:05d}.parquet"
    return storage.join(job.request.destination, name)
