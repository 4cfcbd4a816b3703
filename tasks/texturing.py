"""The texture job: a request, checked; its plan; one shard of it."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Literal

from tasks import collection, storage
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
from tasks.failures import RequestError
from tasks.features import features_digest, locate_features
from tasks.loss_curves import LossCurves
from tasks.picture_stage import PictureStage
from tasks.runs import RunProgress, RunSummary
from tasks.tables import ManifestRow, RunRow
from tasks.transform import Provenance, processors

if TYPE_CHECKING:
    from models.texture import CopyingConfig
    from models.texture_gram import GramConfig

TEXTURES_VERSION = 1
"""Part of every config digest: raise it when the same parameters give other pixels than before."""

Method = Literal["efros-leung", "wei-levoy", "coherence", "gram"]
Network = Literal["vgg19", "vgg16", "squeezenet1_0", "random"]


@dataclass(frozen=True, kw_only=True)
class TextureRequest:
    """What a user asks for; see the command line.

    Args:
        size: "512" or "640x480" pixels; by default twice the exemplar's sides.
        seed: with the picture's own pixels it decides the output.
        window, k: of the methods that copy pixels.
        layers ... network: of gram.
        exemplars: further pictures to copy from (coherence).
        inpaint: "alpha" fills each picture's transparent places; else a place that has a mask at
            each picture's path, white where it is to be filled (coherence).
        labels, guide: texture by numbers: a place with a label picture at each picture's path, and
            the label picture of the output (coherence).
    """

    source: str
    destination: str
    method: Method = "coherence"
    size: str | None = None
    tileable: bool = False
    seed: int = 0
    window: int | None = None
    k: int = 4
    layers: tuple[str, ...] | None = None
    layer_weights: tuple[float, ...] | None = None
    iterations: int = 500
    loss: Literal["gram", "sliced_wasserstein"] = "gram"
    pooling: Literal["max", "average"] = "average"
    tv_weight: float = 0.0
    histogram: bool = False
    network: Network | None = None
    features: str | None = None
    exemplars: tuple[str, ...] = ()
    inpaint: str | None = None
    labels: str | None = None
    guide: str | None = None
    format: OutputFormat = "png"
    shard_size: int = 16
    limit: int | None = None
    overwrite: bool = False
    max_failed: float = 0.1

    def copying(self) -> "CopyingConfig":
        """The part that the methods need that copy pixels. Raises ValueError."""
        from models.texture import CopyingConfig

        method = "coherence" if self.method == "gram" else self.method
        return CopyingConfig(method=method, tileable=self.tileable, window=self.window, k=self.k)

    def gram(self) -> "GramConfig":
        """The part that gram needs. Raises ValueError."""
        from models.texture_gram import GramConfig

        return GramConfig(
            layers=self.layers,
            layer_weights=self.layer_weights,
            loss=self.loss,
            iterations=self.iterations,
            tv_weight=self.tv_weight,
            histogram=self.histogram,
            tileable=self.tileable,
        )


@dataclass(frozen=True, kw_only=True)
class TextureJob:
    """A checked request and its run: a small record, enough for any process to run a shard."""

    request: TextureRequest
    run: RunRow
    provenance: Provenance


def check_request(request: TextureRequest) -> TextureRequest:
    """The request with whole URIs, after every check that needs no torch.

    Raises:
        RequestError: a value out of range, or options that do not go together.
        FeaturesError: there are no such weights.
        StorageError: there is no such source, or a store cannot be asked.
    """
    from models.texture import parse_size

    check_range("seed", request.seed, 0, 2**63 - 1)
    check_range("iterations", request.iterations, 1, 100_000)
    copies = ("exemplars", "inpaint", "labels", "guide")
    used = [name for name in copies if getattr(request, name)]
    if used and request.method != "coherence":
        raise RequestError(f"{used[0]} needs the method coherence, got {request.method}")
    if (request.labels is None) != (request.guide is None):
        raise RequestError("a guide needs labels, and labels need a guide, got one of the two")
    if request.inpaint and (request.size or request.guide):
        raise RequestError("inpaint keeps each picture's size, got a size or a guide beside it")
    try:
        parse_size(request.size)
        request.copying()
    except ValueError as error:
        raise RequestError(str(error)) from error
    source, destination = check_common(request)
    collection.check_exists(source)
    if request.method == "gram" and request.network != "random":
        locate_features(request.features, request.network)
    return replace(
        request,
        source=source,
        destination=destination,
        exemplars=tuple(storage.normalise(uri) for uri in request.exemplars),
        inpaint=request.inpaint if request.inpaint == "alpha" else _normalised(request.inpaint),
        labels=_normalised(request.labels),
        guide=_normalised(request.guide),
    )


def _normalised(uri: str | None) -> str | None:
    return None if uri is None else storage.normalise(uri)


def open_job(request: TextureRequest) -> TextureJob:
    """Check a request and give the run its name. Writes nothing.

    Raises:
        RequestError, FeaturesError, StorageError: as in `check_request`.
    """
    request = check_request(request)
    if request.method == "gram":
        try:
            request.gram()
        except ValueError as error:
            raise RequestError(str(error)) from error
    maker = Maker(name=_maker_name(request), digest=_maker_digest(request))
    row, provenance = open_run("texture", request, maker, config_digest(request, maker))
    return TextureJob(request=request, run=row, provenance=provenance)


def _maker_name(request: TextureRequest) -> str:
    if request.method != "gram":
        return request.method
    if request.network == "random":
        return "gram-random"
    return f"gram-{locate_features(request.features, request.network).kind}"


def _maker_digest(request: TextureRequest) -> str:
    if request.method != "gram" or request.network == "random":
        return digest_of({"method": request.method, "version": TEXTURES_VERSION})
    return features_digest(request.features, kind=request.network)


_NOT_SHAPING = ("source", "destination", "shard_size", "limit", "overwrite", "max_failed")
_OF_COPYING = ("window", "k", "exemplars", "inpaint", "labels", "guide")
_OF_GRAM = ("layers", "layer_weights", "iterations", "loss", "pooling", "tv_weight", "histogram",
            "network", "features")  # fmt: skip


def config_digest(request: TextureRequest, maker: Maker) -> str:
    """A digest of all that shapes an output; what the method does not look at is left out."""
    ignored = {*_NOT_SHAPING, "features", *(_OF_COPYING if request.method == "gram" else _OF_GRAM)}
    shaping = {name: value for name, value in asdict(request).items() if name not in ignored}
    return digest_of(
        {"job": "texture", "pixels": TEXTURES_VERSION, "maker": maker.digest, **shaping}
    )


def plan(job: TextureJob, progress: RunProgress) -> Iterator[Shard]:
    """Shards of what this job has still to do, while the source is listed."""
    return plan_request(job.request, job.provenance.config_digest, progress)


def dry_run(job: TextureJob, progress: RunProgress) -> RunSummary:
    """Plan to the end and count; writes nothing."""
    return count_only(plan(job, progress), job.run, progress)


def run_shard(job: TextureJob, shard: Shard, progress: RunProgress) -> list[ManifestRow]:
    """Synthesise the textures of one shard and commit it.

    Raises:
        RunAbortedError: the store fails every image.
    """
    from tasks.texture_transform import TextureTransform

    request = job.request
    curves = LossCurves(run=job.provenance.run, destination=request.destination)
    # one picture alone has all processors; several have one each
    threads = processors() if collection.is_single(request.source) else 1
    config = picture_config("cpu", threads=threads)
    transform = TextureTransform(request, curves=curves, progress=progress, threads=threads)
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


def names(values: Sequence[str] | None) -> tuple[str, ...] | None:
    """ "relu1_1,relu2_1" or several options -> each name; None for None."""
    if not values:
        return None
    return tuple(name.strip() for value in values for name in value.split(",") if name.strip())
