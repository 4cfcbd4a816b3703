"""The study of depth and weights: one exemplar in, one labeled sheet out."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from models.images import Format, ImageError, Picture, decode, encode
from models.texture import alike, colour_and_mask
from tasks import storage
from tasks.bulk_job import check_range
from tasks.failures import RequestError, persistently
from tasks.features import load_features, locate_features
from tasks.output_names import suffix_of

_FORMATS: dict[str, Format] = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
_COLUMNS = 3


@dataclass(frozen=True, kw_only=True)
class StudyRequest:
    """What a user asks for.

    Args:
        exemplar: one picture. output: the sheet, .png, .jpg or .webp.
        size: side of each picture on the sheet, pixels.
        layers: from shallow to deep; by default those that textures are matched in.
    """

    exemplar: str
    output: str
    size: int = 160
    iterations: int = 150
    layers: tuple[str, ...] | None = None
    network: Literal["vgg19", "vgg16", "squeezenet1_0"] | None = None
    features: str | None = None
    seed: int = 0


def check_request(request: StudyRequest) -> None:
    """Refuse what cannot be done before torch is imported.

    Raises:
        RequestError: a value out of range, or a sheet of an unknown format.
        FeaturesError: there are no such weights.
    """
    check_range("size", request.size, 16, 256)
    check_range("iterations", request.iterations, 1, 100_000)
    if suffix_of(request.output) not in _FORMATS:
        raise RequestError(f"output must end in .png, .jpg or .webp, got {request.output}")
    locate_features(request.features, request.network)


def make_study(request: StudyRequest, tell: Callable[[str], None]) -> str:
    """Make the sheet; `tell` gets a line for each of its pictures. Returns where it is.

    Raises:
        RequestError: the exemplar is no picture, or a layer is unknown.
        StorageError: a store cannot be read or written.
    """
    from models.picture_grid import GridRow, picture_grid
    from models.texture_gram import GramConfig
    from models.texture_objective import texture_layers
    from models.texture_study import depth_study

    check_request(request)
    kind = locate_features(request.features, request.network).kind
    layers = request.layers or texture_layers(kind)
    uri = storage.normalise(request.exemplar)
    try:
        data = persistently(lambda: storage.read(uri))
        colour, usable = colour_and_mask(decode(data).pixels)
        made = depth_study(
            alike(colour, 3),
            (request.size, request.size),
            lambda own: load_features(request.features, kind=kind, layers=own, pooling="average"),
            GramConfig(layers=layers, iterations=request.iterations),
            seed=request.seed,
            valid=usable,
            progress=_told(tell, request.iterations),
        )
    except (ImageError, ValueError) as error:
        if isinstance(error, storage.StorageError):
            raise
        raise RequestError(str(error)) from error
    side = min(256, *colour.shape[:2])
    pictures = [alike(colour, 3)[:side, :side], *(picture.pixels for picture in made)]
    words = ["the exemplar", *(picture.words for picture in made)]
    while len(pictures) % _COLUMNS:
        pictures.append(pictures[0] * 0 + 255)
        words.append("")
    rows = [
        GridRow(crops=tuple(pictures[n : n + _COLUMNS]), words=tuple(words[n : n + _COLUMNS]))
        for n in range(0, len(pictures), _COLUMNS)
    ]
    sheet = encode(Picture(pixels=picture_grid(rows).pixels), _FORMATS[suffix_of(request.output)])
    target = storage.normalise(request.output)
    persistently(lambda: storage.write(target, sheet))
    return target


def _told(
    tell: Callable[[str], None], iterations: int
) -> Callable[[str, int, dict[str, float]], None]:
    first: dict[str, float] = {}

    def told(words: str, step: int, losses: dict[str, float]) -> None:
        begun = first.setdefault(words, losses["total"])
        if step == iterations:
            fall = begun / losses["total"] if losses["total"] else math.inf
            tell(f"{words}: the loss fell by a factor {fall:.0f}")

    return told
