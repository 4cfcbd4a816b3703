"""The evaluation of a generator of chairs: on views that it has not seen, and on morphs."""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from tasks import storage, tables
from tasks.bulk_job import check_range
from tasks.chair_models import LoadedGenerator, check_generator, load_generator
from tasks.chairs_reading import ChairsDataset, ChairView, open_chairs_dataset, read_chairs
from tasks.chairs_result_tables import CHAIR_SCORES, ChairScoreRow
from tasks.dataset_parts import SPLITS
from tasks.failures import RequestError, persistently
from tasks.runs import new_run_id
from tasks.tables import MetricRow

if TYPE_CHECKING:  # torch takes five seconds to import
    import torch

    from models.chair_morph_scores import MorphScores
    from models.chair_pictures import ChairPictures
    from models.picture_grid import GridRow

_GRID_ROWS = 8
_MEASURES = (
    "rgb_mse", "masked_rgb_mse", "mask_iou",
    "nearest_rgb_mse", "nearest_masked_rgb_mse", "nearest_mask_iou",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class EvaluateChairsRequest:
    """What a user asks for.

    limit: judge the first so many chairs. morphs: of so many pairs of chairs, where the dataset is
    of our own renderer, which knows what lies between two chairs; steps: pictures of each.
    """

    model: str
    dataset: str
    split: str = "test"
    output: str | None = None
    registry: str | None = None
    limit: int | None = None
    morphs: int = 8
    steps: int = 17


@dataclass(frozen=True, kw_only=True)
class ChairsReport:
    """What an evaluation found; errors are of levels 0..1.

    means: of all views, see `_MEASURES`. by_chair, by_view: rows of means. morphs: of all morphs,
    see `models.chair_morph_scores`; none where there is no truth.
    """

    run: str
    model: str
    dataset: str
    split: str
    views: int
    means: dict[str, float]
    by_chair: tuple[ChairScoreRow, ...]
    by_view: tuple[ChairScoreRow, ...]
    scores: tuple[ChairScoreRow, ...]
    morphs: dict[str, float]
    notes: tuple[str, ...]
    output: str | None
    seconds: float

    def closing_line(self) -> str:
        """What was judged, and where it is, in one line."""
        told = self.means
        return (
            f"{self.views} {self.split} views of {len(self.by_chair)} chairs by {self.model}:"
            f" mask IoU {told['mask_iou']:.3f} (nearest view {told['nearest_mask_iou']:.3f}),"
            f" RGB MSE {told['rgb_mse']:.5f} ({told['nearest_rgb_mse']:.5f});"
            f" {self.seconds:.1f} s: {self.output or self.dataset}"
        )


def check_request(request: EvaluateChairsRequest) -> EvaluateChairsRequest:
    """The request with whole URIs, after every check that needs no torch.

    Raises:
        RequestError: a value out of range, a split without views, a size that is none of the
            generator's, or results that would become part of what is judged.
        ModelError, DatasetError: no such generator or dataset, or a damaged one.
        StorageError: a store cannot be asked.
    """
    check_range("limit", request.limit, 1, 10**9)
    check_range("morphs", request.morphs, 0, 1000)
    check_range("steps", request.steps, 2, 1000)
    place = storage.normalise(request.dataset)
    output = storage.normalise(request.output) if request.output else None
    if output is not None and storage.is_within(output, place):
        raise RequestError(f"the output must not lie inside the dataset, got {output}")
    facts = check_generator(request.model, request.registry)
    dataset = open_chairs_dataset(place)
    if request.split not in SPLITS or not dataset.counts.get(request.split):
        has = ", ".join(f"{split} {count}" for split, count in dataset.counts.items() if count)
        raise RequestError(
            f"{storage.redact(place)} has no views of the split {request.split!r}; it has {has}"
        )
    if dataset.size % facts.size:
        raise RequestError(
            f"{facts.name} draws {facts.size} pixels, which do not divide the dataset's"
            f" {dataset.size}"
        )
    return replace(request, dataset=place, output=output)


def evaluate_chairs(
    request: EvaluateChairsRequest, *, on_judged: Callable[[int], None] | None = None
) -> ChairsReport:
    """Judge a generator on a split's views beside the nearest training view; write the results.

    Args:
        on_judged: told how many views have been judged.
    Raises:
        RequestError, ModelError, DatasetError, StorageError: as in `check_request`.
        ValueError: no view of a chair that the generator knows.
    """
    began, request = time.monotonic(), check_request(request)
    generator = load_generator(request.model, request.registry)
    dataset = open_chairs_dataset(request.dataset)
    run = new_run_id()
    judged = _Judged(generator=generator, dataset=dataset, run=run, on_judged=on_judged)
    chairs = min(dataset.chairs, generator.network.config.classes, request.limit or 10**9)
    for views, known in _by_chair(dataset, request.split, chairs, generator.network.config.size):
        judged.add(views, known)
    if not judged.rows:
        raise ValueError(f"there is no {request.split} view of the first {chairs} chairs")
    morphs, notes = _morphs(request, generator, dataset, chairs)
    report = ChairsReport(
        run=run,
        model=generator.name,
        dataset=storage.redact(request.dataset),
        split=request.split,
        views=len(judged.rows),
        means=_means(judged.rows),
        by_chair=_grouped(judged.rows, by="chair"),
        by_view=_grouped(judged.rows, by="view"),
        scores=tuple(judged.rows),
        morphs=morphs.means if morphs else {},
        notes=(*_strange(generator, dataset), *notes),
        output=request.output,
        seconds=time.monotonic() - began,
    )
    if request.output:
        _write(request.output, report, judged.grid, morphs.sheet if morphs else [])
    return report


def _by_chair(
    dataset: ChairsDataset, split: str, chairs: int, size: int
) -> "Iterator[tuple[ChairPictures, ChairPictures]]":
    """The views of a split and the training views, of one chair after the other."""
    from models.chair_pictures import gathered

    def number(view: ChairView) -> int:
        return view.chair

    known = itertools.groupby(read_chairs(dataset, "train"), number)
    chair, training = next(known, (None, iter(())))
    for wanted, views in itertools.groupby(read_chairs(dataset, split), number):
        if wanted >= chairs:
            return
        while chair is not None and chair < wanted:
            chair, training = next(known, (None, iter(())))
        if chair == wanted:  # else it has nothing to be compared with
            yield gathered(views, size), gathered(training, size)


@dataclass(kw_only=True)
class _Judged:
    """The rows and the sheet of a running evaluation."""

    generator: LoadedGenerator
    dataset: ChairsDataset
    run: str
    on_judged: Callable[[int], None] | None
    rows: list[ChairScoreRow] = field(default_factory=list)
    grid: "list[GridRow]" = field(default_factory=list)

    def add(self, views: "ChairPictures", known: "ChairPictures") -> None:
        from models.chair_scores import generator_scores, nearest_scores

        own = generator_scores(self.generator.network, views)
        nearest = nearest_scores(views, known)
        for k in range(len(views)):
            chair = int(views.chair[k])
            self.rows.append(
                ChairScoreRow(
                    model=self.generator.name,
                    model_digest=self.generator.digest,
                    chair=chair,
                    name=self.dataset.names[chair],
                    azimuth=float(views.azimuth[k]),
                    elevation=float(views.elevation[k]),
                    views=1,
                    **_scored(own[k], nearest[k]),
                    run=self.run,
                    at=datetime.now(UTC),
                )
            )
        if len(self.grid) < _GRID_ROWS:
            self.grid.append(self._grid_row(views, known, self.rows[-len(views)]))
        if self.on_judged is not None:
            self.on_judged(len(self.rows))

    def _grid_row(
        self, views: "ChairPictures", known: "ChairPictures", row: ChairScoreRow
    ) -> "GridRow":
        """The chair's first view: true, generated, and the nearest training view."""
        from models.chair_scores import generated, nearest_views
        from models.picture_grid import GridRow

        first = views.take([0])
        rgb, _ = generated(self.generator.network, first)
        nearest = known.take(nearest_views(first, known))
        shown = (first.floats()[0], rgb, nearest.floats()[0])
        return GridRow(
            crops=tuple((p[0] * 255).round().byte().permute(1, 2, 0).numpy() for p in shown),
            words=(
                f"chair {row.chair}  {row.azimuth:.0f} / {row.elevation:.0f}",
                f"generated  IoU {row.mask_iou:.3f}  MSE {row.rgb_mse:.4f}",
                f"nearest  IoU {row.nearest_mask_iou:.3f}  MSE {row.nearest_rgb_mse:.4f}",
            ),
        )


def _scored(own: "torch.Tensor", nearest: "torch.Tensor") -> dict[str, float]:
    values = (*own.tolist(), *nearest.tolist())
    return dict(zip(_MEASURES, values, strict=True))


def _means(rows: Sequence[ChairScoreRow]) -> dict[str, float]:
    return {name: sum(getattr(row, name) for row in rows) / len(rows) for name in _MEASURES}


def _grouped(rows: Sequence[ChairScoreRow], *, by: str) -> tuple[ChairScoreRow, ...]:
    """Means by chair, or by the direction that is looked from."""
    groups: dict[tuple[float | int | None, ...], list[ChairScoreRow]] = {}
    for row in rows:
        key = (row.chair,) if by == "chair" else (row.elevation, row.azimuth)
        groups.setdefault(key, []).append(row)
    nothing: dict[str, None] = (
        {"azimuth": None, "elevation": None} if by == "chair" else {"chair": None, "name": None}
    )
    return tuple(
        replace(own[0], views=len(own), **nothing, **_means(own))  # type: ignore[arg-type]
        for _, own in sorted(groups.items())
    )


def _strange(generator: LoadedGenerator, dataset: ChairsDataset) -> list[str]:
    """A word of warning, where the generator was trained on another dataset."""
    from tasks import versions

    if generator.version is None:
        return []
    trained_on = versions.read_record(generator.version).dataset_digest
    if trained_on == dataset.digest:
        return []
    return [f"{generator.name} was trained on the dataset {trained_on}, this is {dataset.digest}"]


def _morphs(
    request: EvaluateChairsRequest, generator: LoadedGenerator, dataset: ChairsDataset, chairs: int
) -> "tuple[MorphScores | None, list[str]]":
    if dataset.request.get("job") != "dataset-chairs":
        return None, ["morphs: not judged, the dataset is of other renderings than ours"]
    pairs = [(2 * k, 2 * k + 1) for k in range(min(request.morphs, chairs // 2))]
    if not pairs:
        return None, []
    from models.chair_morph_scores import judge_morphs

    scores = judge_morphs(
        generator.network,
        pairs,
        seed=int(dataset.request["seed"]),
        elevation=dataset.elevations[0],
        steps=request.steps,
    )
    return scores, []


def _write(
    output: str, report: ChairsReport, grid: "list[GridRow]", morphs: "list[GridRow]"
) -> None:
    """views.parquet, chairs.parquet, directions.parquet, metrics.parquet and the sheets."""
    from models.images import encode
    from models.picture_grid import picture_grid

    at = datetime.now(UTC)
    metrics = [
        MetricRow(run=report.run, step=0, split=report.split, metric=name, value=value, at=at)
        for name, value in (report.means | report.morphs).items()
    ]
    files = {
        "grid.png": encode(picture_grid(grid), "png"),
        "metrics.parquet": tables.to_parquet(metrics, tables.METRICS),
        "views.parquet": tables.to_parquet(report.scores, CHAIR_SCORES),
        "chairs.parquet": tables.to_parquet(report.by_chair, CHAIR_SCORES),
        "directions.parquet": tables.to_parquet(report.by_view, CHAIR_SCORES),
    }
    if morphs:
        files["morphs.png"] = encode(picture_grid(morphs), "png")
    for name, data in files.items():
        persistently(partial(storage.write, storage.join(output, name), data))
