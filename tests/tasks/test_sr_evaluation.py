"""The judging of super-resolution: what is measured, on what, and what is left of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save as save_safetensors

from models.features import FeatureNetwork, random_state
from models.images import decode
from models.metrics import score_against_reference
from models.perceptual_distance import LAYERS
from models.pixels import Pixels
from tasks import sr_dataset, storage, tables
from tasks.failures import RequestError
from tasks.features import FeaturesError
from tasks.picture_pairs import PairSource, PicturePair, decode_colour, degrade
from tasks.registry import ModelError, load_model
from tasks.runs import RunProgress
from tasks.sr_evaluation import EvaluateRequest, check_request, evaluate_sr
from tasks.sr_judging import judge, mean_gain, mean_scores
from tasks.sr_request import SrDatasetRequest
from tasks.tables import SrScore
from tests import collections as c
from tests.corpus import bad_images, good_image, saved, smooth_noise

IMAGES = Path(__file__).parents[1] / "images"
GOOD = {f"sub/{i:03d}.{'jpg' if i % 2 else 'png'}": good_image(i, (61, 47)) for i in range(4)}


@pytest.fixture(autouse=True)
def _no_registry_and_features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIXELMILL_REGISTRY", raising=False)
    monkeypatch.delenv("PIXELMILL_FEATURES", raising=False)


def pair_source(truth: Pixels, scale: int, name: str = "a.png") -> PairSource:
    def load() -> PicturePair:
        cut, low = degrade(truth, scale)
        return PicturePair(source=name, source_digest="d", truth=cut, low=low)

    return PairSource(source=name, load=load)


def built(request: SrDatasetRequest) -> None:
    """The dataset flow without Prefect around it."""
    job, progress = sr_dataset.open_job(request), RunProgress()
    sr_dataset.begin(job)
    for shard in sr_dataset.plan(job, progress):
        sr_dataset.run_shard(job, shard, progress)
    sr_dataset.finish(job, progress)


def score(model: str, source: str, psnr: float, bicubic: float, **options: object) -> SrScore:
    values = {"ssim": 0.9, "perceptual": None, "infer_s": 1.0, **options}
    return SrScore(model=model, model_digest="m", source=source, source_digest="s", scale=4,
                   psnr=psnr, bicubic_psnr=bicubic, width=8, height=8, run="r",
                   at=datetime.now(UTC), **values)  # type: ignore[arg-type]  # fmt: skip


class TestWhatIsMeasured:
    """The published protocol, on the pixels that `upscale` writes."""

    @pytest.mark.parametrize("scale", [2, 3, 4])
    @pytest.mark.parametrize("name", ["astronaut.png", "chelsea.jpg"])
    def test_bicubic_has_the_protocol_s_values(self, name: str, scale: int) -> None:
        truth = decode_colour((IMAGES / name).read_bytes())
        judged = judge([pair_source(truth, scale)], [load_model("bicubic", scale, "fp32")], run="r")
        height, width = (side // scale * scale for side in truth.shape[:2])
        x = torch.from_numpy(truth[:height, :width].copy()).permute(2, 0, 1)[None].float()

        def resized(planes: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
            done = F.interpolate(planes, size, mode="bicubic", antialias=True, align_corners=False)
            return done.round().clamp(0, 255)

        small = resized(x, (height // scale, width // scale))
        large = resized(small, (height, width))[0].permute(1, 2, 0).to(torch.uint8).numpy()
        expected, _ = score_against_reference(large, truth[:height, :width], border=scale)
        (found,) = judged.scores
        assert found.psnr == pytest.approx(expected, abs=0.02)
        assert found.psnr == found.bicubic_psnr
        assert (found.width, found.height) == (width, height)

    @pytest.mark.parametrize("scale", [2, 3, 4])
    def test_degradation_is_pixel_for_pixel_the_protocol_s(self, scale: int) -> None:
        truth = decode_colour((IMAGES / "coffee.jpg").read_bytes())
        cut, low = degrade(truth, scale)
        x = torch.from_numpy(cut).permute(2, 0, 1)[None].float()
        expected = F.interpolate(x, scale_factor=1 / scale, mode="bicubic", antialias=True)
        np.testing.assert_array_equal(
            low, expected.round().clamp(0, 255)[0].permute(1, 2, 0).to(torch.uint8).numpy()
        )
        np.testing.assert_array_equal(cut, truth[: cut.shape[0], : cut.shape[1]])
        assert all(0 <= truth.shape[i] - cut.shape[i] < scale for i in (0, 1))

    @pytest.mark.parametrize("model", ["bicubic", "mill-x2"])
    def test_what_is_judged_is_what_upscale_writes(self, model: str, tmp_path: Path) -> None:
        truths = [smooth_noise(i, 70 + i, 90, 3 if i else 1) for i in range(3)]
        lows = {
            f"{i}.png": Image.fromarray(degrade(t, 2)[1].squeeze()) for i, t in enumerate(truths)
        }
        c.put(str(tmp_path / "in"), {name: saved(low, "PNG") for name, low in lows.items()})
        c.run(c.request(str(tmp_path / "in"), str(tmp_path / "out"), model=model))
        written = {k.removeprefix("images/"): decode(v).pixels
                   for k, v in c.outputs(str(tmp_path / "out")).items()}  # fmt: skip
        judged: dict[str, Pixels] = {}

        def keep(pair: PicturePair, enlarged: Mapping[str, Pixels], _: Sequence[SrScore]) -> None:
            judged[pair.source] = enlarged[model]

        names = dict.fromkeys(("bicubic", model))
        judge(
            [pair_source(t, 2, f"{i}.png") for i, t in enumerate(truths)],
            [load_model(name, 2, "fp32") for name in names],
            run="r",
            on_pair=keep,
        )
        assert set(judged) == set(written) == {"0.png", "1.png", "2.png"}
        for name, pixels in judged.items():
            np.testing.assert_array_equal(pixels, written[name])

    def test_gray_is_scored_as_it_is_and_alpha_and_depth_do_not_count(self) -> None:
        gray = smooth_noise(5, 48, 44, 1)
        wide = Image.fromarray(gray[..., 0].astype(np.uint16) * 257)
        clear = np.concatenate([gray, np.zeros_like(gray)], axis=2)
        for data in (saved(Image.fromarray(gray[..., 0]), "PNG"), saved(wide, "PNG"),
                     saved(Image.fromarray(clear), "PNG")):  # fmt: skip
            np.testing.assert_array_equal(decode_colour(data), gray)
        model = load_model("bicubic", 2, "fp32")
        found = judge([pair_source(gray, 2)], [model], run="r").scores[0].psnr
        equal = judge([pair_source(gray.repeat(3, 2), 2)], [model], run="r").scores[0].psnr
        assert found == pytest.approx(equal - 20 * math.log10(255 / 219), abs=0.1)

    def test_the_perceptual_distance_needs_features_and_follows_them(self) -> None:
        state = random_state("vgg16", torch.Generator().manual_seed(0))
        features = FeatureNetwork("vgg16", state, layers=LAYERS)
        models = [load_model(name, 2, "fp32") for name in ("bicubic", "mill-x2")]
        pairs = [pair_source(smooth_noise(1, 64, 64), 2)]
        without = judge(pairs, models, run="r").scores
        having = judge(pairs, models, run="r", features=features).scores
        assert [s.perceptual for s in without] == [None, None]
        assert all(s.perceptual is not None and 0 < s.perceptual < 1 for s in having)
        assert "perceptual" not in mean_scores(without)["bicubic"]
        assert mean_scores(having)["bicubic"]["perceptual"] == having[0].perceptual

    def test_models_that_cannot_be_compared_are_refused(self) -> None:
        two, four = load_model("bicubic", 2, "fp32"), load_model("mill-x4", 4, "fp32")
        for models in ([four], [two, four], [two, two], []):
            with pytest.raises(ValueError, match="models of one scale and distinct names"):
                judge([], models, run="r")


class TestMeans:
    """Means over pictures, of each model."""

    def test_they_are_the_arithmetic_means_and_the_gain_is_paired(self) -> None:
        scores = [score("m", "a", 30, 28, ssim=0.8), score("m", "b", 34, 31, ssim=None)]
        assert mean_scores(scores) == {
            "m": {"psnr": 32, "psnr_gain": 2.5, "ssim": 0.8, "infer_s": 1.0}
        }
        assert mean_gain(scores, "m") == 2.5
        with pytest.raises(ValueError, match="scores of other"):
            mean_gain(scores, "other")

    def test_a_picture_that_one_model_restores_exactly_counts_for_no_model(self) -> None:
        scores = [
            score("bicubic", "flat", 90, 90), score("m", "flat", math.inf, 90),
            score("bicubic", "a", 28, 28), score("m", "a", 30, 28),
        ]  # fmt: skip
        means = mean_scores(scores)
        assert (means["bicubic"]["psnr"], means["m"]["psnr"]) == (28, 30)
        assert mean_gain(scores, "m") == means["m"]["psnr_gain"] == 2
        assert "psnr" not in mean_scores(scores[:2])["m"]


class TestACollection:
    """Any pictures, made small here."""

    def test_it_leaves_rows_metrics_and_a_grid(self, store: str) -> None:
        source, output = storage.join(store, "hr"), storage.join(store, "out")
        c.put(source, GOOD | {"bad.png": b"", "notes.txt": b"x", ".hidden.png": b"x"})
        request = EvaluateRequest(model="mill-x2", dataset=source, output=output)
        counts: list[int] = []
        report = evaluate_sr(request, on_judged=counts.append)

        assert counts == [1, 2, 3, 4]
        assert (report.pictures, report.scale, report.models) == (4, 2, ("bicubic", "mill-x2"))
        (failed,) = report.failed
        assert failed.endswith("bad.png")
        rows = tables.from_parquet(storage.read(storage.join(output, "results.parquet")))
        assert rows.schema.equals(tables.SR_SCORES)
        assert rows.column_names == [
            "model", "model_digest", "source", "source_digest", "scale", "psnr", "ssim",
            "bicubic_psnr", "perceptual", "infer_s", "width", "height", "run", "at",
        ]  # fmt: skip
        assert {(r["model"], r["source"]) for r in rows.to_pylist()} == {
            (m, s) for m in report.models for s in c.sources(source, GOOD)
        }
        metrics = tables.from_parquet(storage.read(storage.join(output, "metrics.parquet")))
        assert metrics.schema.equals(tables.METRICS)
        kept = {r["metric"]: r["value"] for r in metrics.to_pylist()}
        assert kept["mill-x2/psnr"] == report.means["mill-x2"]["psnr"] > kept["bicubic/psnr"]
        assert kept["mill-x2/parameters"] > 1000
        assert set(metrics.column("run").to_pylist()) == {report.run}
        grid = decode(storage.read(storage.join(output, "grid.png"))).pixels
        assert grid.shape[1] == 3 * 260 + 4  # ground truth, bicubic, mill

    def test_a_glob_a_list_and_one_image_do_too(self, tmp_path: Path) -> None:
        c.put(str(tmp_path), GOOD)
        listed = tmp_path / "list.csv"
        listed.write_text("uri\nsub/000.png\nsub/gone.png\n")
        for dataset, pictures, failed in ((f"{tmp_path}/sub/*.png", 2, 0), (str(listed), 1, 1),
                                          (f"{tmp_path}/sub/001.jpg", 1, 0)):  # fmt: skip
            report = evaluate_sr(EvaluateRequest(model="bicubic", dataset=dataset, scale=3))
            assert (report.pictures, len(report.failed)) == (pictures, failed)
            assert report.means["bicubic"]["psnr_gain"] == 0
            assert report.closing_line().startswith(f"{pictures} image")

    def test_what_can_be_converted_is_judged_and_the_rest_is_told(self, tmp_path: Path) -> None:
        odd = bad_images()
        c.put(str(tmp_path), {name: data for name, (data, _) in odd.items()})
        report = evaluate_sr(EvaluateRequest(model="bicubic", dataset=str(tmp_path), scale=2))
        judged = {Path(s.source).relative_to(tmp_path).as_posix() for s in report.scores}
        broken = {Path(s).relative_to(tmp_path).as_posix() for s in report.failed}
        assert broken >= {name for name, (_, ok) in odd.items() if not ok}
        assert judged | broken == set(odd)
        for name in broken & {name for name, (_, ok) in odd.items() if ok}:
            assert "too small" in report.failed[str(tmp_path / name)]

    def test_the_scale_is_the_model_s_else_4_and_a_limit_is_kept(self, tmp_path: Path) -> None:
        c.put(str(tmp_path), GOOD)
        ask = EvaluateRequest(model="bicubic", dataset=str(tmp_path), limit=1)
        assert evaluate_sr(ask).scale == 4
        compared = evaluate_sr(replace(ask, compare=("mill-x3", "bicubic", "mill-x3")))
        assert (compared.scale, compared.pictures) == (3, 1)
        assert compared.models == ("bicubic", "mill-x3")
        assert any("not measured" in note for note in compared.notes)

    def test_large_pictures_go_tile_by_tile(self, tmp_path: Path) -> None:
        c.put(str(tmp_path), {"large.png": good_image(0, (900, 40))})
        report = evaluate_sr(EvaluateRequest(model="mill-x2", dataset=str(tmp_path)))
        assert report.means["mill-x2"]["psnr_gain"] > 0

    def test_nothing_to_judge_is_one_sentence(self, tmp_path: Path) -> None:
        for name, data, words in (
            ("notes.txt", b"x", "no image to judge"),
            ("bad.png", b"", r"none of the 1 images .*bad\.png: "),
            ("dot.png", good_image(0, (3, 3)), "too small to be made 4 times smaller"),
            ("flat.png", good_image(0, (7, 7)), "nothing is left"),
        ):
            c.put(str(tmp_path / name.partition(".")[0]), {name: data})
            request = EvaluateRequest(
                model="bicubic", dataset=str(tmp_path / name.partition(".")[0])
            )
            with pytest.raises(ValueError, match=words):
                evaluate_sr(request)


class TestADataset:
    """What `pixelmill dataset sr` made: pairs as they are, one split of them."""

    def test_its_split_is_judged_as_it_was_made(self, store: str) -> None:
        source, dataset = storage.join(store, "hr"), storage.join(store, "pairs")
        pictures = {f"{i}.png": good_image(2 * i, (70, 66)) for i in range(4)}
        c.put(source, pictures)
        built(SrDatasetRequest(source=source, destination=dataset, scale=2, test=1, validation=0))
        there = evaluate_sr(EvaluateRequest(model="mill-x2", dataset=dataset))
        plain = evaluate_sr(EvaluateRequest(model="mill-x2", dataset=source))
        assert (there.pictures, there.scale, there.split, plain.split) == (4, 2, "test", "all")
        for metric in ("psnr", "psnr_gain", "ssim"):  # by the same protocol
            assert there.means["mill-x2"][metric] == pytest.approx(plain.means["mill-x2"][metric])
        assert {s.source for s in there.scores} == {s.source for s in plain.scores}

    def test_its_own_degradation_counts(self, tmp_path: Path) -> None:
        source, dataset = str(tmp_path / "hr"), str(tmp_path / "pairs")
        c.put(source, {"0.png": good_image(0, (70, 66))})
        built(SrDatasetRequest(source=source, destination=dataset, scale=2, test=1, validation=0,
                               degradation="practical"))  # fmt: skip
        there = evaluate_sr(EvaluateRequest(model="bicubic", dataset=dataset))
        plain = evaluate_sr(EvaluateRequest(model="bicubic", dataset=source, scale=2))
        assert there.means["bicubic"]["psnr"] < plain.means["bicubic"]["psnr"] - 1

    def test_another_scale_or_an_empty_split_is_refused(self, tmp_path: Path) -> None:
        source, dataset = str(tmp_path / "hr"), str(tmp_path / "pairs")
        c.put(source, {"0.png": good_image(0, (70, 66))})
        built(SrDatasetRequest(source=source, destination=dataset, scale=2, test=1, validation=0))
        request = EvaluateRequest(model="bicubic", dataset=dataset)
        with pytest.raises(RequestError, match="was made 2 times smaller, got scale 4"):
            check_request(replace(request, scale=4))
        with pytest.raises(ModelError, match="mill-x4 enlarges 4 times, got scale 2"):
            check_request(replace(request, model="mill-x4"))
        for split in ("validation", "other"):
            with pytest.raises(RequestError, match=f"split '{split}'; it has test 1"):
                check_request(replace(request, split=split))


class TestFeatures:
    """The perceptual distance is measured where weights are named, and nothing is downloaded."""

    def test_from_an_option_or_the_environment(
        self, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        weights = storage.join(store, "weights/vgg16_random.safetensors")
        state = random_state("vgg16", torch.Generator().manual_seed(0))
        shallow = {k: v for k, v in state.items() if int(k.split(".")[1]) < 16}
        storage.write(weights, save_safetensors(shallow))
        c.put(str(tmp_path / "hr"), {"0.png": good_image(0, (48, 40))})
        request = EvaluateRequest(model="mill-x2", dataset=str(tmp_path / "hr"))
        by_option = evaluate_sr(replace(request, features=weights))
        monkeypatch.setenv("PIXELMILL_FEATURES", weights)
        by_environment = evaluate_sr(request)
        assert by_option.notes == by_environment.notes == ()
        for model in ("bicubic", "mill-x2"):
            distance = by_option.means[model]["perceptual"]
            assert 0 < distance == by_environment.means[model]["perceptual"] < 1

    def test_weights_that_are_not_there_are_told_before_anything_is_done(
        self, tmp_path: Path
    ) -> None:
        c.put(str(tmp_path / "hr"), {"0.png": good_image(0, (48, 40))})
        with pytest.raises(FeaturesError, match=r"no feature weights at .*gone\.pth"):
            check_request(EvaluateRequest(model="bicubic", dataset=str(tmp_path / "hr"),
                                          features=str(tmp_path / "gone.pth")))  # fmt: skip


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"scale": 9}, RequestError, "scale must be"),
        ({"limit": 0}, RequestError, "limit must be at least 1"),
        ({"model": "mill-x4", "scale": 2}, ModelError, "enlarges 4 times, got scale 2"),
        ({"model": "magic"}, ModelError, "no model named 'magic'"),
        ({"compare": ("magic",)}, ModelError, "no model named 'magic'"),
        ({"dataset": "nowhere"}, storage.NotFoundError, "nowhere"),
        ({"output": "sub/out"}, RequestError, "must not lie inside the dataset"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_done(
    tmp_path: Path, options: dict[str, object], error: type[Exception], words: str
) -> None:
    c.put(str(tmp_path), GOOD)
    inside = {"output": str(tmp_path / "sub/out")} if "output" in options else {}
    request = {"model": "bicubic", "dataset": str(tmp_path), **options, **inside}
    with pytest.raises(error, match=words):
        check_request(EvaluateRequest(**request))  # type: ignore[arg-type]
