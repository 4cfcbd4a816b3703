"""A night of retraining: who challenges the champion, and what becomes of it.

REGISTRY/sr/NAME/nights/<night>.json says what a night set out to do, and later how it ended. A
night is known by its dataset's content and its settings: one that was killed is completed by the
next, and one that is over is not done again before there is something new to learn from.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal

from models.sr_training import SrTraining
from tasks import storage, versions
from tasks.failures import RequestError, persistently
from tasks.sr_evaluation import EvaluateRequest, evaluate_sr
from tasks.sr_pairs import open_sr_dataset
from tasks.sr_training import SYSTEM, TrainSrRequest
from tasks.versions import Version

HELD_OUT = "test"


@dataclass(frozen=True, kw_only=True)
class NightlySettings:
    """What `pixelmill nightly --config FILE.toml` reads.

    Args:
        images: the collection that grows: high-resolution pictures.
        dataset: where the dataset made of it is kept.
        registry: where versions and the champion are.
        name: the model's name there.
        start: what the first night goes on from, before there is a champion; None trains anew.
        margin: dB of PSNR-Y on the test split by which a challenger must be better.
        validation, test, seed: the dataset's splits, as `dataset sr` takes them.
        training: the fine-tuning's settings.
        features: VGG weights for a perceptual loss; by default torchvision's.
        processes: how many processes train together.
        max_failed: share of images that cannot be read from which on a night has failed.
    """

    images: str
    dataset: str
    registry: str
    name: str
    scale: Literal[2, 3, 4] = 4
    degradation: Literal["bicubic", "practical"] = "bicubic"
    validation: float = 0.05
    test: float = 0.05
    seed: int = 0
    start: str | None = None
    margin: float = 0.01
    training: SrTraining = field(default_factory=lambda: SrTraining(steps=2000, learning_rate=5e-4))
    features: str | None = None
    processes: int = 1
    max_failed: float = 0.1

    def __post_init__(self) -> None:
        if not self.margin >= 0:
            raise ValueError(f"margin must be at least 0 dB, got {self.margin}")


@dataclass(frozen=True, kw_only=True)
class Night:
    """One night's record; `champion` is NAME@VERSION when it began, or None."""

    night: str
    dataset_digest: str
    champion: str | None
    began_at: str
    outcome: Literal["begun", "promoted", "kept"] = "begun"
    challenger: str | None = None
    champion_psnr: float | None = None
    challenger_psnr: float | None = None
    why: str = ""
    finished_at: str | None = None


@dataclass(frozen=True, kw_only=True)
class NightReport:
    """How a night ended, for its closing line."""

    name: str
    pictures: int
    night: Night
    anything_new: bool
    champion: str | None
    registry: str

    def closing_line(self) -> str:
        """What was done, and where it is, in one line."""
        night = self.night
        if not self.anything_new:
            return (
                f"{self.name}: nothing new among {self.pictures} images since the night of"
                f" {night.began_at[:10]} ({_ended(night)}, {night.why});"
                f" champion {self.champion or 'none'}: {self.registry}"
            )
        return (
            f"{self.name}: {_ended(night)}, {night.why}; champion {self.champion or 'none'},"
            f" {self.pictures} images: {self.registry}"
        )


def _ended(night: Night) -> str:
    return f"{night.challenger} {'promoted' if night.outcome == 'promoted' else 'not promoted'}"


def begin(settings: NightlySettings) -> Night:
    """This night's record: the one that is there, if it began before, or a new one.

    Raises:
        RequestError, DatasetError: no such registry name, no dataset, or none to judge by.
        ValueError: the record is damaged.
        StorageError: a store cannot be asked.
    """
    data = open_sr_dataset(settings.dataset)
    if not data.counts.get(HELD_OUT):
        raise RequestError(
            f"{storage.redact(data.uri)} has no picture in its {HELD_OUT} split, by which a"
            " challenger is judged: wanted some"
        )
    told = json.dumps([data.digest, asdict(_learning(settings))], sort_keys=True)
    key = hashlib.sha256(told.encode()).hexdigest()[:16]
    if (before := _read(settings, key)) is not None:
        return before
    current = versions.champion(settings.registry, SYSTEM, settings.name)
    night = Night(
        night=key,
        dataset_digest=data.digest,
        champion=current.version.ref if current else None,
        began_at=datetime.now(UTC).isoformat(),
    )
    _write(settings, night)
    return night


def _learning(settings: NightlySettings) -> NightlySettings:
    """The settings that decide what is learned and how it is judged, without places."""
    told = replace(settings, images="", dataset="", registry="", features=None)
    return replace(told, processes=1, max_failed=0.0)


def _uri(settings: NightlySettings, key: str) -> str:
    registry = storage.normalise(settings.registry)
    return storage.join(registry, SYSTEM, settings.name, "nights", f"{key}.json")


def _read(settings: NightlySettings, key: str) -> Night | None:
    uri = _uri(settings, key)
    try:
        data = persistently(lambda: storage.read(uri))
    except storage.NotFoundError:
        return None
    try:
        return Night(**json.loads(data))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{storage.redact(uri)} is damaged: {error}") from error


def _write(settings: NightlySettings, night: Night) -> None:
    data = json.dumps(asdict(night), indent=2, allow_nan=False).encode()
    persistently(lambda: storage.write(_uri(settings, night.night), data))


def challenge(settings: NightlySettings, night: Night) -> TrainSrRequest:
    """The training of this night's challenger: from the champion, where there is one."""
    return TrainSrRequest(
        dataset=settings.dataset,
        registry=settings.registry,
        name=settings.name,
        training=settings.training,
        start=night.champion or settings.start,
        features=settings.features,
        processes=settings.processes,
    )


def verdict(champion: float, challenger: float, margin: float) -> tuple[bool, str]:
    """Whether the challenger is promoted, and why or why not.

    Args:
        champion, challenger: mean PSNR-Y on the same held-out pictures, in dB.
    """
    gain = challenger - champion
    figures = f"{challenger:.3f} dB against {champion:.3f} ({gain:+.3f}, margin {margin:g})"
    return (True, f"better: {figures}") if gain > margin else (False, f"not better: {figures}")


def decide(settings: NightlySettings, night: Night, challenger: Version) -> Night:
    """Judge both on the held-out split, promote the better one, write the night's end.

    Raises:
        RequestError: the split is empty.
        StorageError: a store cannot be read or written.
    """
    opponent = _opponent(settings, night, challenger)
    scores = _mean_psnr(settings, [challenger.ref, *([opponent] if opponent else [])])
    new, old = scores[challenger.ref], scores.get(opponent or "")
    promoted, why = (
        (True, f"the first version, {new:.3f} dB")
        if old is None
        else verdict(old, new, settings.margin)
    )
    if promoted:
        place = (settings.registry, SYSTEM, settings.name)
        versions.promote(*place, challenger.version, reason=f"night {night.night}: {why}")
    over = replace(
        night,
        outcome="promoted" if promoted else "kept",
        challenger=challenger.ref,
        champion_psnr=old,
        challenger_psnr=new,
        why=why,
        finished_at=datetime.now(UTC).isoformat(),
    )
    _write(settings, over)
    return over


def _opponent(settings: NightlySettings, night: Night, challenger: Version) -> str | None:
    """Whom to beat: who is champion now, for somebody may have promoted another meanwhile.

    If that is the challenger itself, a night was killed after it promoted: the one before.
    """
    current = versions.champion(settings.registry, SYSTEM, settings.name)
    if current is None or current.version.ref == challenger.ref:
        return night.champion
    return current.version.ref


def _mean_psnr(settings: NightlySettings, refs: list[str]) -> dict[str, float]:
    report = evaluate_sr(
        EvaluateRequest(
            model=refs[0],
            compare=tuple(refs[1:]),
            dataset=settings.dataset,
            split=HELD_OUT,
            registry=settings.registry,
        )
    )
    return {ref: report.means[ref]["psnr"] for ref in refs}


def report(settings: NightlySettings, night: Night, *, anything_new: bool) -> NightReport:
    """The report of a night that is over."""
    current = versions.champion(settings.registry, SYSTEM, settings.name)
    return NightReport(
        name=settings.name,
        pictures=sum(open_sr_dataset(settings.dataset).counts.values()),
        night=night,
        anything_new=anything_new,
        champion=current.version.ref if current else None,
        registry=storage.redact(storage.normalise(settings.registry)),
    )


def check_settings(settings: NightlySettings) -> NightlySettings:
    """The settings with whole URIs.

    Raises:
        RequestError: the dataset or the registry lies among the images, or the name is none.
        StorageError: the registry cannot be asked.
    """
    images, dataset = storage.normalise(settings.images), storage.normalise(settings.dataset)
    registry = storage.normalise(settings.registry)
    # what a night leaves in either (the curve is a picture) would be the next one's news
    for what, place in (("dataset", dataset), ("registry", registry)):
        if storage.is_within(place, images):
            raise RequestError(
                f"the {what} must not lie inside the images, got"
                f" {storage.redact(place)} in {storage.redact(images)}"
            )
    versions.champion(registry, SYSTEM, settings.name)
    return replace(settings, images=images, dataset=dataset, registry=registry)
