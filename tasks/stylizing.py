"""The stylize job: a request, checked; its plan; one shard of it."""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Literal

from models.images import ImageError, decode
from models.style_inputs import WeightedStyle, parse_styles
from tasks import collection, painters, storage
from tasks.bulk import ShardRun
from tasks.bulk_job import (
    Maker,
    check_common,
    check_range,
    count_only,
    digest_of,
    open_run,
    plan_request,
)
from tasks.collection import OutputFormat, Shard
from tasks.engine_sizing import picture_config
from tasks.failures import RequestError, persistently
from tasks.features import features_digest, locate_features
from tasks.loss_curves import LossCurves
from tasks.picture_stage import PictureStage
from tasks.registry import registry_uri
from tasks.runs import RunProgress, RunSummary
from tasks.tables import ManifestRow, RunRow
from tasks.transform import PictureTransform, Provenance, processors

if TYPE_CHECKING:
    from models.style_optimisation import StyleConfig

STYLES_VERSION = 1
"""Part of every config digest: raise it when the same parameters give other pixels than before."""

Method = Literal["feedforward", "optimise"]


@dataclass(frozen=True, kw_only=True)
class StylizeRequest:
    """What a user asks for; see the command line.

    Args:
        styles: NAME[=WEIGHT] of the model's styles (feedforward), or IMAGE[=WEIGHT] (optimise).
        original_colors: keep each picture's own colours, and take only the style's brightness.
        size: the output's longer side, pixels; by default the picture's own.
        tile: feedforward: the largest side in memory at full size, pixels.
        content_weight ... keep_every: of optimise.
        start: content, noise, or an image's URI.
        masks: one for each style: an image, or a place with one at each picture's path; white is
            where the style applies.
        keep_every: iterations between two pictures kept in Parquet; 0 for none.
    """

    source: str
    destination: str
    styles: tuple[str, ...]
    method: Method = "feedforward"
    model: str | None = None
    registry: str | None = None
    original_colors: bool = False
    size: int | None = None
    tile: int = 1024
    content_weight: float | None = None
    style_weight: float | None = None
    tv_weight: float | None = None
    iterations: int = 300
    start: str = "content"
    masks: tuple[str, ...] = ()
    style_scale: float = 1.0
    keep_every: int = 0
    seed: int = 0
    network: Literal["vgg19", "vgg16", "squeezenet1_0"] | None = None
    features: str | None = None
    format: OutputFormat = "png"
    shard_size: int = 64
    limit: int | None = None
    overwrite: bool = False
    max_failed: float = 0.1

    def weighted(self) -> tuple[WeightedStyle, ...]:
        """The styles and their shares. Raises ValueError."""
        return parse_styles(self.styles)

    def optimisation(self, kind: Literal["vgg19", "vgg16", "squeezenet1_0"]) -> "StyleConfig":
        """The part that the optimiser needs. Raises ValueError."""
        from models.style_optimisation import StyleConfig, gatys_loss

        loss = gatys_loss(kind)
        loss = replace(
            loss,
            content_weight=_given(self.content_weight, loss.content_weight),
            style_weight=_given(self.style_weight, loss.style_weight),
            tv_weight=_given(self.tv_weight, loss.tv_weight),
        )
        known = self.start in ("content", "noise")
        return StyleConfig(
            loss=loss,
            iterations=self.iterations,
            start=self.start if known else "image",  # type: ignore[arg-type]
            original_colors="luminance" if self.original_colors else "none",
            style_scale=self.style_scale,
        )


def _given(value: float | None, default: float) -> float:
    return default if value is None else value


@dataclass(frozen=True, kw_only=True)
class StylizeJob:
    """A checked request and its run: a small record, enough for any process to run a shard."""

    request: StylizeRequest
    run: RunRow
    provenance: Provenance


def check_request(request: StylizeRequest) -> StylizeRequest:
    """The request with whole URIs, after every check that needs no torch.

    Raises:
        RequestError: a value out of range, or options that do not go together.
        ModelError: no such painter, or it has no such style.
        FeaturesError: there are no such weights.
        StorageError: there is no such source or style, or a store cannot be asked.
    """
    try:
        styles = request.weighted()
    except ValueError as error:
        raise RequestError(str(error)) from error
    check_range("size", request.size, 16, 16384)
    check_range("tile", request.tile, 64, 16384)
    check_range("iterations", request.iterations, 1, 100_000)
    check_range("keep-every", request.keep_every, 0, 100_000)
    check_range("style-scale", request.style_scale, 0.05, 20)
    check_range("seed", request.seed, 0, 2**63 - 1)
    for name in ("content_weight", "style_weight", "tv_weight"):
        check_range(name.replace("_", "-"), getattr(request, name), 0, 1e12)
    registry = registry_uri(request.registry)
    source, destination = check_common(request)
    collection.check_exists(source)
    request = replace(request, source=source, destination=destination, registry=registry)
    if request.method == "feedforward":
        return _check_feedforward(request, styles)
    return _check_optimise(request, styles)


def _check_feedforward(
    request: StylizeRequest, styles: tuple[WeightedStyle, ...]
) -> StylizeRequest:
    if request.masks or request.start != "content" or request.keep_every:
        raise RequestError(
            "masks, a start and kept pictures need --method optimise, got feedforward"
        )
    known = painters.check_painter(request.model, (), request.registry)
    for style in styles:
        if style.name not in known:
            raise RequestError(
                f"{request.model or painters.DEFAULT} paints {', '.join(known)}, got {style.name};"
                " any image is a style with --method optimise"
            )
    return request


def _check_optimise(request: StylizeRequest, styles: tuple[WeightedStyle, ...]) -> StylizeRequest:
    if request.model is not None:
        raise RequestError("a model needs --method feedforward, got optimise")
    if request.masks and len(request.masks) != len(styles):
        raise RequestError(
            f"each of the {len(styles)} styles needs a mask, got {len(request.masks)} masks"
        )
    whole = tuple(f"{storage.normalise(s.name)}={s.weight!r}" for s in styles)
    request = replace(
        request,
        styles=whole,
        masks=tuple(storage.normalise(uri) for uri in request.masks),
    )
    for style in request.weighted():
        read_picture(style.name, "style")
    if request.start not in ("content", "noise"):
        request = replace(request, start=storage.normalise(request.start))
        read_picture(request.start, "start")
    locate_features(request.features, request.network)
    return request


def read_picture(uri: str, what: str) -> bytes:
    """The bytes of an image that an option names.

    Raises:
        RequestError: there is none, or it is no image.
        StorageError: the store cannot be asked.
    """
    try:
        data = persistently(lambda: storage.read(uri))
        decode(data)
    except storage.NotFoundError as error:
        raise RequestError(f"there is no {what} at {storage.redact(uri)}") from error
    except ImageError as error:
        raise RequestError(f"the {what} {storage.redact(uri)} is no picture: {error}") from error
    return data


def open_job(request: StylizeRequest) -> StylizeJob:
    """Check a request, find what will paint, and give the run its name. Writes nothing.

    Raises:
        RequestError, ModelError, FeaturesError, StorageError: as in `check_request`.
    """
    request = check_request(request)
    if request.method == "feedforward":
        painter = painters.load_painter(request.model, request.registry)
        identity = painter.digest
        if painter.version is not None and "@" not in (request.model or ""):
            identity = f"{painter.version.name}@champion"
        maker = Maker(name=painter.name, digest=painter.digest, device=painter.device)
        if painter.version is not None:
            request = replace(request, model=painter.version.ref)
    else:
        kind = locate_features(request.features, request.network).kind
        identity = features_digest(request.features, kind=request.network)
        maker = Maker(name=f"optimise-{kind}", digest=identity)
    digest = config_digest(request, identity)
    row, provenance = open_run("stylize", request, maker, digest)
    return StylizeJob(request=request, run=row, provenance=provenance)


_NOT_SHAPING = frozenset({"source", "destination", "shard_size", "limit", "overwrite",
                          "max_failed", "model", "registry", "features", "keep_every"})  # fmt: skip
_OF_OPTIMISE = frozenset({"content_weight", "style_weight", "tv_weight", "iterations", "start",
                          "masks", "style_scale", "seed", "network"})  # fmt: skip


def config_digest(request: StylizeRequest, identity: str) -> str:
    """A digest of all that shapes an output; a style's image counts, and not its name.

    Args:
        identity: the digest of what paints.
    """
    ignored = _NOT_SHAPING | (_OF_OPTIMISE if request.method == "feedforward" else {"tile"})
    shaping = {name: value for name, value in asdict(request).items() if name not in ignored}
    shaping["styles"] = [[_identity(request, s.name), s.weight] for s in request.weighted()]
    return digest_of({"job": "stylize", "pixels": STYLES_VERSION, "identity": identity, **shaping})


def _identity(request: StylizeRequest, name: str) -> str:
    if request.method == "feedforward":
        return name
    return hashlib.sha256(read_picture(name, "style")).hexdigest()


def plan(job: StylizeJob, progress: RunProgress) -> Iterator[Shard]:
    """Shards of what this job has still to do, while the source is listed."""
    return plan_request(job.request, job.provenance.config_digest, progress)


def dry_run(job: StylizeJob, progress: RunProgress) -> RunSummary:
    """Plan to the end and count; writes nothing."""
    return count_only(plan(job, progress), job.run, progress)


def run_shard(job: StylizeJob, shard: Shard, progress: RunProgress) -> list[ManifestRow]:
    """Stylize the pictures of one shard and commit it.

    Raises:
        RunAbortedError: the store fails every image.
    """
    from tasks.style_transforms import OptimiseTransform, PaintTransform

    request = job.request
    curves = LossCurves(
        run=job.provenance.run,
        destination=request.destination,
        picture_every=request.keep_every,
    )
    # one picture alone has all processors; several have one each
    alone = request.method == "optimise" and collection.is_single(request.source)
    config = picture_config(job.run.device, threads=processors() if alone else 1)
    transform: PictureTransform
    if request.method == "feedforward":
        transform = PaintTransform(request)
    else:
        transform = OptimiseTransform(request, curves=curves, progress=progress)
    engine = ShardRun(
        destination=request.destination,
        stage=PictureStage(transform, config),
        config=config,
        provenance=job.provenance,
        stop=progress.stop,
        on_row=progress.add,
        before_commit=curves.write,
    )
    return engine.run(shard)
