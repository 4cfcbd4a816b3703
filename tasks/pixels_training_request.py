"""What the training of a pixel model is asked to be: the request, checked, and its run's name."""

from dataclasses import asdict, dataclass, field, replace

from models.cards import CheckpointError, read_card
from models.pixel_training import PixelTraining
from models.systems import SYSTEMS, PixelConfig, picture_multiples, pixel_preset
from tasks import pixel_models, storage, versions
from tasks.failures import RequestError
from tasks.pixel_models import SYSTEM
from tasks.pixels_dataset_reading import PixelsDataset, open_pixels_dataset
from tasks.trained import run_folder, run_of


@dataclass(frozen=True, kw_only=True)
class TrainPixelsRequest:
    """What a user asks for.

    start: the model to go on from: a shipped name, NAME[@VERSION] or a checkpoint's URI.
    """

    dataset: str
    registry: str
    name: str
    training: PixelTraining = field(default_factory=PixelTraining)
    start: str | None = None


@dataclass(frozen=True, kw_only=True)
class PixelsTrainingJob:
    """A checked request, and where its run lives: the same request is the same run.

    height, width: of the pictures that the network is shown.
    """

    request: TrainPixelsRequest
    dataset: PixelsDataset
    run: str
    folder: str
    architecture: str
    config: PixelConfig
    height: int
    width: int


def open_job(request: TrainPixelsRequest) -> PixelsTrainingJob:
    """Check a request and give its run a name. Writes nothing.

    Raises:
        RequestError, DatasetError, ModelError: what is wrong with it.
        StorageError: a store cannot be asked.
    """
    request = replace(request, registry=storage.normalise(request.registry))
    versions.champion(request.registry, SYSTEM, request.name)  # refuses what is no name
    dataset, training = open_pixels_dataset(request.dataset), request.training
    for split in ("train", "validation"):
        if not dataset.counts.get(split):
            raise RequestError(
                f"{dataset.uri} has no picture in its {split} split, wanted some: add pictures,"
                " or make another with larger shares (--validation, --test)"
            )
    if training.conditional and not dataset.names:
        raise RequestError(f"conditional wants labels, {dataset.uri} has none")
    start_digest = None
    architecture, config = _chosen(training, dataset)
    if request.start is not None:
        start_digest, architecture, config = _started(request, dataset, architecture, config)
    if config is None:
        raise RequestError("network must be named, e.g. --set network=digits, or --from a model")
    height, width = _shown(training, dataset, config)
    told = {
        "dataset": dataset.digest,
        "start": start_digest,
        "network": [architecture, asdict(config)],
        "training": asdict(training),
    }
    run = run_of(told)
    return PixelsTrainingJob(
        request=request,
        dataset=dataset,
        run=run,
        folder=run_folder(request.registry, SYSTEM, request.name, run),
        architecture=architecture,
        config=config,
        height=height,
        width=width,
    )


def _chosen(training: PixelTraining, dataset: PixelsDataset) -> tuple[str, PixelConfig | None]:
    """The preset that the settings name, for the dataset's pictures; none where they name none."""
    if training.network is None:
        return "", None
    try:
        return pixel_preset(
            training.network,
            channels=dataset.channels,
            levels=dataset.levels,
            classes=len(dataset.names) if training.conditional else 0,
        )
    except ValueError as error:
        raise RequestError(str(error)) from error


def _started(
    request: TrainPixelsRequest,
    dataset: PixelsDataset,
    architecture: str,
    wanted: PixelConfig | None,
) -> tuple[str, str, PixelConfig]:
    """The digest, architecture and config of the model to go on from, which must suit the rest."""
    data = pixel_models.read_pixel_model(request.start, request.registry)
    name = storage.redact(request.start or "")
    try:
        card = read_card(data)
    except CheckpointError as error:
        raise RequestError(f"{name} is damaged: {error}") from error
    if card is None or card.architecture not in pixel_models.ARCHITECTURES:
        raise RequestError(f"{name} is no pixel model of ours: cannot go on from it")
    own: PixelConfig = SYSTEMS[card.architecture].config(**card.config)
    if wanted is not None and (card.architecture, own) != (architecture, wanted):
        raise RequestError(
            f"{name} is a {card.architecture} of other sizes than {request.training.network}:"
            " cannot go on from it; leave network out"
        )
    classes = len(dataset.names) if request.training.conditional else 0
    has = (own.channels, own.levels, getattr(own, "classes", 0))
    if has != (dataset.channels, dataset.levels, classes):
        raise RequestError(
            f"{name} is of {has[0]} channels, {has[1]} levels and {has[2]} classes, wanted"
            f" {dataset.channels}, {dataset.levels} and {classes}: cannot go on from it"
        )
    return versions.weights_digest(data), card.architecture, own


def _shown(training: PixelTraining, dataset: PixelsDataset, config: PixelConfig) -> tuple[int, int]:
    """Height and width of what the network is shown. Raises RequestError: they do not suit it."""
    smaller = min(dataset.height, dataset.width)
    if training.crop > smaller:
        raise RequestError(f"crop must be at most the pictures' {smaller}, got {training.crop}")
    height, width = dataset.height, dataset.width
    if training.crop:
        height = width = training.crop
    down, across = picture_multiples(config)
    if height % down or width % across:
        raise RequestError(
            f"the network wants heights that are multiples of {down} and widths of {across},"
            f" got {height} and {width}"
        )
    return height, width
