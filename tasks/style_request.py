"""What a user asks of a painter's training, checked: photographs, styles, settings."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

from models.cards import CheckpointError, read_card
from models.images import ImageError
from models.pixels import Pixels
from models.style_feedforward import PainterConfig
from models.style_training import StyleTraining
from tasks import painters, storage, versions
from tasks.failures import RequestError, explain, persistently
from tasks.features import FeaturesError, features_digest
from tasks.painters import SYSTEM
from tasks.photographs import PhotographSplit, split_photographs
from tasks.picture_pairs import decode_colour
from tasks.trained import run_folder, run_of

_NAMED = re.compile(r"([a-z0-9_-]+)=(.+)", re.DOTALL)
_NOT_IN_A_NAME = re.compile(r"[^a-z0-9_-]+")


@dataclass(frozen=True, kw_only=True)
class TrainStyleRequest:
    """What a user asks for.

    Args:
        dataset: photographs: a prefix, a glob, or a Parquet or CSV list.
        styles: pictures, as IMAGE, which is named after its file, or NAME=IMAGE.
        start: the painter to go on from: `painter`, NAME[@VERSION] or a checkpoint's URI.
        features: where the weights of `training.loss.network` are; by default torchvision's.
    """

    dataset: str
    registry: str
    name: str
    styles: tuple[str, ...]
    training: StyleTraining = field(default_factory=StyleTraining)
    start: str | None = None
    features: str | None = None


@dataclass(frozen=True, kw_only=True)
class StyleImage:
    """A picture to paint like; `digest` is of its file's bytes."""

    name: str
    uri: str
    digest: str


@dataclass(frozen=True, kw_only=True)
class StyleTrainingJob:
    """A checked request, and where its run lives: the same request is the same run.

    `judge` is of all that its held-out objective depends on besides the network: two versions
    may be compared by it if they have the same.
    """

    request: TrainStyleRequest
    run: str
    folder: str
    config: PainterConfig
    styles: tuple[StyleImage, ...]
    dataset_digest: str
    judge: str

    @property
    def rows(self) -> tuple[int, ...]:
        """Which of the network's styles are trained."""
        return tuple(self.config.styles.index(style.name) for style in self.styles)


def open_job(request: TrainStyleRequest) -> StyleTrainingJob:
    """Check a request and give its run a name. Writes nothing.

    Raises:
        RequestError, ModelError: what is wrong with it.
        StorageError: a store cannot be asked.
    """
    request = replace(request, registry=storage.normalise(request.registry))
    versions.champion(request.registry, SYSTEM, request.name)  # refuses what is no name
    styles = read_styles(request.styles)
    config, start_digest = _network_of(request, [style.name for style in styles])
    split = split_photographs(request.dataset)
    judge = _judge(request, split, styles)
    told = {
        "dataset": split.digest,
        "start": start_digest,
        "network": asdict(config),
        "training": asdict(request.training),
        "judge": judge,
    }
    run = run_of(told)
    return StyleTrainingJob(
        request=request,
        run=run,
        folder=run_folder(request.registry, SYSTEM, request.name, run),
        config=config,
        styles=styles,
        dataset_digest=split.digest,
        judge=judge,
    )


def _judge(request: TrainStyleRequest, split: PhotographSplit, styles: Sequence[StyleImage]) -> str:
    training = request.training
    try:
        features = features_digest(request.features, kind=training.loss.network)
    except FeaturesError as error:
        raise RequestError(str(error)) from error
    return run_of(
        {
            "held out": split.held_out_digest,
            "styles": [(style.name, style.digest) for style in styles],
            "loss": asdict(training.loss),
            "sides": [training.content_side, training.style_side, training.validation_side],
            "features": features,
        }
    )


def read_styles(words: Sequence[str]) -> tuple[StyleImage, ...]:
    """The style pictures of IMAGE and NAME=IMAGE words, each decoded once to see that it is one.

    Raises:
        RequestError: none, two of one name, no such file, or no image.
        StorageError: a store cannot be asked.
    """
    if not words:
        raise RequestError("at least one style is needed: --style IMAGE or --style NAME=IMAGE")
    styles = tuple(_style(word) for word in words)
    names = [style.name for style in styles]
    if twice := [name for name in names if names.count(name) > 1]:
        raise RequestError(f"two styles are named {twice[0]!r}: name one with --style NAME=IMAGE")
    return styles


def _style(word: str) -> StyleImage:
    named = _NAMED.fullmatch(word)
    uri = storage.normalise(named[2] if named else word)
    stem = uri.rsplit("/", 1)[-1].rsplit(".", 1)[0].lower()
    name = named[1] if named else _NOT_IN_A_NAME.sub("_", stem).strip("_")
    if not name:
        raise RequestError(f"no name can be made of {storage.redact(word)}: write NAME=IMAGE")
    data = read_image(uri)
    style_pixels(uri, data)
    return StyleImage(name=name, uri=uri, digest=hashlib.sha256(data).hexdigest()[:16])


def read_image(uri: str) -> bytes:
    """The file of a style. Raises RequestError where there is none, StorageError."""
    try:
        return persistently(lambda: storage.read(uri))
    except storage.NotFoundError as error:
        raise RequestError(f"there is no style picture at {storage.redact(uri)}") from error


def style_pixels(uri: str, data: bytes) -> Pixels:
    """(H, W, 1 or 3) uint8. Raises RequestError where it is no image."""
    try:
        return decode_colour(data)
    except ImageError as error:
        raise RequestError(
            f"the style {storage.redact(uri)} is no picture to paint like: {explain(error)}"
        ) from error


def _network_of(
    request: TrainStyleRequest, names: Sequence[str]
) -> tuple[PainterConfig, str | None]:
    """The network's config, and the digest of the one to go on from."""
    training = request.training
    if request.start is None:
        if training.norms_only:
            raise RequestError("norms_only adds a style to a painter: name it with --from")
        return PainterConfig(
            styles=tuple(names), width=training.width, blocks=training.blocks
        ), None
    old = painters.check_painter(request.start, (), request.registry)
    data = painters.read_painter(request.start, request.registry)
    digest = versions.weights_digest(data)
    try:
        card = read_card(data)
    except CheckpointError as error:
        raise RequestError(f"{request.start}: {error}") from error
    if card is None:
        raise RequestError(f"{request.start} is no checkpoint of ours: cannot go on from it")
    config = PainterConfig(**{**card.config, "styles": old})
    if not training.norms_only:
        return replace(config, styles=tuple(names)), digest
    if known := [name for name in names if name in old]:
        raise RequestError(
            f"{request.start} has a style {known[0]!r} already: give the new one another name,"
            " or train it anew without norms_only"
        )
    return replace(config, styles=(*old, *names)), digest
