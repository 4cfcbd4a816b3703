"""The job of completing pictures: a request, its plan, one shard."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from models.images import ImageError, decode
from models.pixel_exchange import Hiding, Mask, parse_hiding
from tasks import collection, storage
from tasks.bulk_job import check_common, check_range, count_only
from tasks.collection import OutputFormat, Shard
from tasks.failures import RequestError, persistently
from tasks.pixel_models import PixelFacts, check_pixel_model
from tasks.pixel_sampling import Sampler, check_sampler
from tasks.pixel_shards import check_label, open_pixel_run, plan_pictures
from tasks.runs import RunProgress, RunSummary
from tasks.tables import RunRow
from tasks.transform import Provenance


@dataclass(frozen=True, kw_only=True)
class CompleteRequest:
    """What a user asks for; see the command line.

    Args:
        hide: top, bottom, left or right, of which `share` is hidden; or right:16 for 16 pixels.
        mask: instead of it a picture, white where pixels are hidden, of the pictures' size.
        size: the square in a picture's middle, reduced to so many pixels.
        label: a class, for a model that has some; else the dataset's own.
    """

    source: str
    destination: str
    model: str | None = None
    registry: str | None = None
    split: str | None = None
    hide: str = "bottom"
    share: float = 0.5
    mask: str | None = None
    completions: int = 4
    size: int | None = None
    label: int | None = None
    temperature: float = 1.0
    seed: int = 0
    sampler: Sampler | None = None
    sheet: bool = True
    shard_size: int = 64
    limit: int | None = None
    overwrite: bool = False
    max_failed: float = 0.1
    format: OutputFormat = "png"

    def hiding(self) -> Hiding:
        """What is taken away where there is no mask. Raises ValueError."""
        return parse_hiding(self.hide, self.share)


@dataclass(frozen=True, kw_only=True)
class CompleteJob:
    """A checked request and its run."""

    request: CompleteRequest
    facts: PixelFacts
    run: RunRow
    provenance: Provenance


def check_request(request: CompleteRequest) -> CompleteRequest:
    """The request with whole URIs, after every check that needs no torch.

    Raises:
        RequestError: a value out of range, or options that do not go together.
        ModelError: no such model.
        StorageError: there is no such source or mask, or a store cannot be asked.
    """
    source, destination = check_common(request)
    collection.check_exists(source)
    check_range("completions", request.completions, 1, 64)
    check_range("size", request.size, 1, 4096)
    check_range("seed", request.seed, 0, 2**63 - 1)
    facts = check_pixel_model(request.model, request.registry)
    check_label(request.label, facts)
    check_sampler(request.sampler, request.temperature, facts)
    mask = None if request.mask is None else storage.normalise(request.mask)
    try:
        request.hiding()
        if mask is not None:
            read_mask(mask)
    except ValueError as error:
        raise RequestError(str(error)) from error
    return replace(request, source=source, destination=destination, mask=mask)


def read_mask(uri: str) -> Mask:
    """(H, W), true where pixels are hidden: where a picture is lighter than half.

    Raises:
        ImageError: it is no picture, or hides nothing or all.
        StorageError: it cannot be read.
    """
    from models.pixel_exchange import mask_of

    try:
        return mask_of(decode(persistently(lambda: storage.read(uri))))
    except ImageError as error:
        raise ImageError(error.kind, f"the mask {storage.redact(uri)}: {error}") from error


def open_job(request: CompleteRequest) -> CompleteJob:
    """Check a request and give the run its name. Writes nothing.

    Raises:
        RequestError, ModelError, StorageError: as in `check_request`.
    """
    request = check_request(request)
    facts = check_pixel_model(request.model, request.registry)
    shaping: dict[str, object] = {
        name: getattr(request, name)
        for name in ("hide", "share", "completions", "size", "label", "temperature", "seed")
    }
    if request.mask is not None:
        shaping["mask"] = storage.stat(request.mask).etag
    row, provenance = open_pixel_run("complete", request, facts, shaping)
    return CompleteJob(request=request, facts=facts, run=row, provenance=provenance)


def plan(job: CompleteJob, progress: RunProgress) -> Iterator[Shard]:
    """Shards of what this job has still to do, while the source is listed."""
    return plan_pictures(job.request, job.provenance, progress)


def dry_run(job: CompleteJob, progress: RunProgress) -> RunSummary:
    """Plan to the end and count; writes nothing."""
    return count_only(plan(job, progress), job.run, progress)
