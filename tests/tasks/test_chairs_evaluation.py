"""The evaluation of generators of chairs without Prefect."""

from pathlib import Path
from typing import Any

import pytest
import torch

from models.chair_scores import generator_scores, nearest_scores
from models.images import decode
from tasks import storage, tables
from tasks.chairs_evaluation import EvaluateChairsRequest, check_request, evaluate_chairs
from tasks.chairs_reading import open_chairs_dataset
from tasks.chairs_training import pictures
from tasks.failures import RequestError
from tests.chairs import chairs_dataset_at, checkpoint_at, published_generator, tiny_generator


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    return chairs_dataset_at(str(tmp_path_factory.mktemp("chairs") / "made"), chairs=4)


def request(dataset: str, store: str, **options: Any) -> EvaluateChairsRequest:
    told = {"model": checkpoint_at(store), "registry": "", "morphs": 1, "steps": 3, **options}
    return EvaluateChairsRequest(dataset=dataset, **told)


def test_views_are_judged_beside_the_nearest_training_views(dataset: str, store: str) -> None:
    output, seen = storage.join(store, "results"), []
    report = evaluate_chairs(request(dataset, store, output=output), on_judged=seen.append)
    # the dataset has a fourth chair, which the generator does not know
    own = open_chairs_dataset(dataset)
    views, known = (pictures(own, split, chairs=3, size=32) for split in ("test", "train"))
    scores = torch.cat([generator_scores(tiny_generator(), views), nearest_scores(views, known)], 1)
    assert report.views == len(views) == seen[-1]
    assert list(report.means.values()) == pytest.approx(scores.mean(0).tolist(), abs=1e-5)
    assert [row.mask_iou for row in report.scores] == pytest.approx(scores[:, 2].tolist(), abs=1e-5)
    assert [row.chair for row in report.by_chair] == [0, 1, 2]
    assert sum(row.views for row in report.by_chair) == len(views)
    assert sum(row.views for row in report.by_view) == len(views)
    first = views.chair == 0
    assert report.by_chair[0].rgb_mse == pytest.approx(float(scores[first, 0].mean()), abs=1e-5)
    assert {row.chair for row in report.by_view} == {None}

    table = tables.from_parquet(storage.read(storage.join(output, "views.parquet")))
    assert table.column("name").to_pylist() == [own.names[int(c)] for c in views.chair]
    for name in ("chairs.parquet", "directions.parquet", "metrics.parquet"):
        assert tables.from_parquet(storage.read(storage.join(output, name))).num_rows
    assert decode(storage.read(storage.join(output, "grid.png"))).pixels.shape[1] == 3 * 260 + 4
    assert decode(storage.read(storage.join(output, "morphs.png"))).pixels.shape[1] == 3 * 260 + 4
    assert f"{len(views)} test views of 3 chairs by " in report.closing_line()


def test_morphs_are_judged_where_the_truth_is_known(dataset: str, tmp_path: Path) -> None:
    report = evaluate_chairs(request(dataset, str(tmp_path), limit=2))
    assert report.morphs["morph_rgb_mse"] > 0
    assert report.notes == ()
    without = evaluate_chairs(request(dataset, str(tmp_path), limit=1))
    assert without.morphs == {}
    assert [row.chair for row in without.by_chair] == [0]


def test_another_dataset_than_it_was_trained_on_is_told(dataset: str, tmp_path: Path) -> None:
    published_generator(str(tmp_path), "own")
    asked = request(dataset, str(tmp_path), model="own", registry=str(tmp_path), morphs=0)
    digest = open_chairs_dataset(dataset).digest
    assert evaluate_chairs(asked).notes == (
        f"own@1 was trained on the dataset d, this is {digest}",
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"split": "nightly"}, r"has no views of the split 'nightly'; it has train \d+"),
        ({"limit": 0}, "limit must be 1 to"),
        ({"steps": 1}, "steps must be 2 to 1000, got 1"),
    ],
)
def test_a_wrong_request_is_told_in_a_sentence(
    dataset: str, tmp_path: Path, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(RequestError, match=sentence):
        check_request(request(dataset, str(tmp_path), **options))


def test_results_do_not_become_part_of_the_dataset_nor_sizes_differ(
    dataset: str, tmp_path: Path
) -> None:
    with pytest.raises(RequestError, match="the output must not lie inside the dataset"):
        check_request(request(dataset, str(tmp_path), output=f"{dataset}/results"))
    small = chairs_dataset_at(str(tmp_path / "small"), size=24, chairs=1)
    with pytest.raises(RequestError, match="draws 32 pixels, which do not divide the dataset's 24"):
        check_request(request(small, str(tmp_path)))
