"""The stylize job without Prefect around it."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import save

from models.cards import Card
from models.checkpoints import write_checkpoint
from models.features import random_state
from models.images import Picture, decode, encode
from models.style_feedforward import Painter, PainterConfig, painter_init_
from tasks import runs, storage, tables
from tasks.failures import RequestError
from tasks.runs import RunProgress, RunSummary
from tasks.stylizing import StylizeRequest, check_request, open_job, plan, run_shard
from tests import collections as c
from tests.corpus import smooth_noise

STYLES = ("dots", "lines")


def _png(pixels: np.ndarray) -> bytes:
    return encode(Picture(pixels=pixels), "png")


def tiny_painter() -> bytes:
    """A checkpoint of an untrained painter whose two styles differ."""
    config = PainterConfig(styles=STYLES, width=2, blocks=1)
    painter, generator = Painter(config), torch.Generator().manual_seed(0)
    painter_init_(painter, generator)
    with torch.no_grad():
        for parameter in painter.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    card = Card(
        architecture="painter", config={"styles": list(STYLES), "width": 2, "blocks": 1}, metrics={}
    )
    return write_checkpoint(painter, card)


SIZES = {"a.png": (20, 33, 3), "b.png": (24, 24, 1), "c.png": (40, 21, 4), "d.png": (24, 24, 3)}
GOOD = {name: _png(smooth_noise(n, *shape)) for n, (name, shape) in enumerate(SIZES.items())}


def _request(store: str, **options: object) -> StylizeRequest:
    """Feed-forward by the tiny painter, whatever the options do not say."""
    model = storage.join(store, "painter.safetensors")
    if options.get("method") == "optimise":
        own: dict[str, object] = {
            "styles": (storage.join(store, "style.png"),),
            "features": storage.join(store, "squeezenet1_0.safetensors"),
            "iterations": 3,
        }
    else:
        own = {"model": model, "styles": ("dots",)}
    place = {"source": storage.join(store, "in"), "destination": storage.join(store, "out")}
    return StylizeRequest(**{**place, **own, **options})  # type: ignore[arg-type]


def _fill(store: str) -> None:
    c.put(storage.join(store, "in"), GOOD)
    state = random_state("squeezenet1_0", torch.Generator().manual_seed(0))
    own = {
        "painter.safetensors": tiny_painter(),
        "style.png": _png(smooth_noise(9, 32, 32)),
        "other.png": _png(smooth_noise(10, 32, 32)),
        "squeezenet1_0.safetensors": save(state),
        "text.png": b"no picture",
    }
    c.put(store, own)


def _run(request: StylizeRequest) -> RunSummary:
    job, progress = open_job(request), RunProgress()
    with runs.recorded(job.run, progress):
        for shard in runs.until_stopped(plan(job, progress), progress):
            run_shard(job, shard, progress)
    return runs.summarise(job.run, progress)


def _outputs(store: str) -> dict[str, np.ndarray]:
    found = c.outputs(storage.join(store, "out"))
    return {name.removeprefix("images/"): decode(data).pixels for name, data in found.items()}


def test_pictures_of_mixed_sizes_are_painted_and_a_second_run_does_nothing(store: str) -> None:
    _fill(store)
    first = _run(_request(store))
    assert (first.ok, first.failed) == (4, 0)
    assert "4 images stylized by" in first.closing_line()
    for name, pixels in _outputs(store).items():
        height, width, channels = SIZES[name]
        assert pixels.shape == (height, width, max(3, channels))
        source = decode(GOOD[name]).pixels
        assert channels < 4 or (pixels[..., 3] == source[..., 3]).all()
    again = _run(_request(store))
    assert (again.ok, again.already_done) == (0, 4)
    assert _run(_request(store, styles=("lines",))).ok == 4


def test_a_blend_of_one_is_that_style_and_its_weight_does_not_matter(tmp_path: Path) -> None:
    store = str(tmp_path)
    _fill(store)
    digests = {
        open_job(_request(store, styles=styles)).provenance.config_digest
        for styles in (("dots",), ("dots=7",))
    }
    assert len(digests) == 1
    _run(_request(store, styles=("dots", "lines=0")))
    blended = _outputs(store)
    _run(_request(store, styles=("dots",), overwrite=True))
    for name, pixels in _outputs(store).items():
        assert (pixels == blended[name]).all()


def test_own_colours_are_kept_and_gray_stays_gray(tmp_path: Path) -> None:
    store = str(tmp_path)
    _fill(store)
    _run(_request(store, original_colors=True))
    made = _outputs(store)
    assert made["b.png"].shape == (24, 24, 1)
    chroma, own = (
        pixels[..., 0].astype(int) - pixels[..., 2].astype(int)
        for pixels in (made["d.png"], decode(GOOD["d.png"]).pixels)
    )
    assert np.abs(chroma - own).max() <= 1


def test_a_size_is_the_longer_side_of_every_output(tmp_path: Path) -> None:
    store = str(tmp_path)
    _fill(store)
    _run(_request(store, size=48))
    assert {max(pixels.shape[:2]) for pixels in _outputs(store).values()} == {48}


def _rows(store: str, folder: str) -> list[dict[str, object]]:
    place = storage.join(store, f"out/{folder}")
    parts = [e.uri for page in storage.list_pages(place) for e in page]
    return pa.concat_tables(tables.from_parquet(storage.read(uri)) for uri in parts).to_pylist()


def test_optimising_leaves_loss_curves_and_pictures_on_the_way(tmp_path: Path) -> None:
    store = str(tmp_path)
    _fill(store)
    summary = _run(_request(store, method="optimise", keep_every=2, source=f"{store}/in/a.png"))
    assert (summary.ok, summary.failed) == (1, 0), summary.pictures
    totals = [row["value"] for row in _rows(store, "curves") if row["metric"] == "total"]
    assert totals == sorted(totals, reverse=True)  # type: ignore[type-var]
    steps = _rows(store, "steps")
    assert [row["step"] for row in steps] == [0, 2]
    picture = decode(steps[0]["image"]["bytes"])  # type: ignore[index]
    assert (picture.pixels == decode(GOOD["a.png"]).pixels).all()


def test_no_style_weight_returns_the_picture(tmp_path: Path) -> None:
    store = str(tmp_path)
    _fill(store)
    weights = {"style_weight": 0.0, "tv_weight": 0.0}
    _run(_request(store, method="optimise", source=f"{store}/in/a.png", **weights))
    assert (_outputs(store)["a.png"] == decode(GOOD["a.png"]).pixels).all()


def test_a_mask_for_each_style_lies_at_the_pictures_path_or_is_one_for_all(tmp_path: Path) -> None:
    store = str(tmp_path)
    _fill(store)
    left = np.zeros((20, 33, 1), np.uint8)
    left[:, :16] = 255
    c.put(f"{store}/left", {"a.png": _png(left)})
    c.put(store, {"right.png": _png(255 - left)})
    request = _request(
        store,
        method="optimise",
        source=f"{store}/in/a.png",
        styles=(f"{store}/style.png", f"{store}/other.png"),
        masks=(f"{store}/left", f"{store}/right.png"),
    )
    summary = _run(request)
    assert (summary.ok, summary.failed) == (1, 0), summary.pictures
    metrics = {row["metric"] for row in _rows(store, "curves")}
    assert {"style_1", "style_2"} <= metrics


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"styles": ("waves",)}, "paints dots, lines, got waves"),
        ({"styles": ("dots=0",)}, "weights must be at least 0 with a sum above 0"),
        ({"styles": ()}, "at least one style"),
        ({"size": 4}, "size must be 16 to 16384"),
        ({"masks": ("m.png",)}, "need --method optimise"),
        ({"method": "optimise", "model": "painter"}, "needs --method feedforward"),
        ({"method": "optimise", "styles": ("{}/text.png",)}, "is no picture"),
        ({"method": "optimise", "styles": ("{}/absent.png",)}, "there is no style at"),
        ({"method": "optimise", "masks": ("a", "b")}, "each of the 1 styles needs a mask"),
        ({"method": "optimise", "start": "{}/absent.png"}, "there is no start at"),
        ({"method": "optimise", "iterations": 0}, "iterations must be 1"),
    ],
)
def test_a_wrong_request_is_one_sentence(
    tmp_path: Path, options: dict[str, object], sentence: str
) -> None:
    store = str(tmp_path)
    _fill(store)
    for name in ("styles", "start"):
        value = options.get(name)
        if isinstance(value, tuple):
            options = {**options, name: tuple(str(v).format(store) for v in value)}
        elif value is not None:
            options = {**options, name: str(value).format(store)}
    with pytest.raises(RequestError, match=sentence):
        check_request(_request(store, **options))


def test_missing_features_are_one_sentence(tmp_path: Path) -> None:
    store = str(tmp_path)
    _fill(store)
    request = _request(store, method="optimise", features=f"{store}/vgg16.safetensors")
    with pytest.raises(ValueError, match="there are no feature weights"):
        check_request(request)
