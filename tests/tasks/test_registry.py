"""Laws of model references: what a name means, and what is said when it means nothing."""

import hashlib
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import pytest

from models.cards import Card, read_card
from models.checkpoints import write_checkpoint
from models.super_resolution import Mill, MillConfig
from tasks import registry
from tasks.registry import ModelError, PrecisionChoice, check_model, load_model, shipped_models

PRECISIONS: tuple[PrecisionChoice, ...] = ("auto", "fp32", "bf16")


def shipped_bytes(name: str) -> bytes:
    return (resources.files("models") / "weights" / f"{name}.safetensors").read_bytes()


def with_weights() -> list[str]:
    return [name for name in shipped_models() if name != "bicubic"]


def checkpoint(path: Path, cost: float | None = 0.0) -> Path:
    metrics = {} if cost is None else {"bf16_cost_db": cost}
    config = {"scale": 2, "width": 4, "blocks": 1}
    card = Card(architecture="mill", config=config, metrics=metrics)
    path.write_bytes(write_checkpoint(Mill(MillConfig(scale=2, width=4, blocks=1)), card))
    return path


def check(ref: str | None, scale: int | None) -> None:
    check_model(ref, scale)


def load(ref: str | None, scale: int | None) -> None:
    load_model(ref, scale, "fp32")


both = pytest.mark.parametrize("ask", [check, load])
Ask = Callable[[str | None, int | None], None]


def test_bicubic_and_mill_are_shipped() -> None:
    assert shipped_models()[0] == "bicubic"
    assert "mill-x4" in shipped_models()
    assert len(set(shipped_models())) == len(shipped_models())


@pytest.mark.parametrize("name", shipped_models())
def test_shipped_models_load_by_name_with_their_own_scale(name: str) -> None:
    loaded = load_model(name, None, "fp32")
    assert loaded.name == name
    assert loaded.upscaler.name == name
    assert loaded.upscaler.scale == (4 if name == "bicubic" else int(name[-1]))
    check_model(name, loaded.upscaler.scale)


@pytest.mark.parametrize("scale", [None, 4])
def test_without_a_name_the_model_is_mill_at_that_scale(scale: int | None) -> None:
    assert load_model(None, scale, "fp32").name == "mill-x4"


@pytest.mark.parametrize("scale", [2, 3, 5, 8])
def test_bicubic_takes_any_scale(scale: int) -> None:
    assert load_model("bicubic", scale, "fp32").upscaler.scale == scale


@both
@pytest.mark.parametrize("scale", [0, 1, 9, 100])
def test_bicubic_refuses_a_scale_out_of_range(ask: Ask, scale: int) -> None:
    with pytest.raises(ModelError, match="scale must be 2 to 8"):
        ask("bicubic", scale)


@both
def test_a_scale_that_is_not_the_model_s_is_refused(ask: Ask) -> None:
    with pytest.raises(ModelError, match="mill-x4 enlarges 4 times, got scale 2"):
        ask("mill-x4", 2)


@pytest.mark.parametrize("scale", [3, 4])
def test_a_scale_that_is_not_the_file_s_is_refused(tmp_path: Path, scale: int) -> None:
    path = checkpoint(tmp_path / "m.safetensors")
    with pytest.raises(ModelError, match=f"enlarges 2 times, got scale {scale}"):
        load(str(path), scale)


@both
@pytest.mark.parametrize("scale", [1, 5, 7])
def test_without_a_name_a_scale_nothing_is_shipped_for_is_refused(ask: Ask, scale: int) -> None:
    with pytest.raises(ModelError, match=f"got {scale}"):
        ask(None, scale)


@both
@pytest.mark.parametrize("name", ["mill", "mill-x9", "Bicubic", "esrgan"])
def test_an_unknown_name_is_refused_and_the_known_are_said(ask: Ask, name: str) -> None:
    with pytest.raises(ModelError, match=rf"no model named '{name}'.*bicubic, mill-x"):
        ask(name, None)


@both
@pytest.mark.parametrize("name", ["gone.pth", "gone.safetensors", "x/gone"])
def test_a_file_that_is_not_there_is_refused(ask: Ask, tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match=r"no checkpoint at .*gone"):
        ask(str(tmp_path / name), None)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "damaged.pth"
    path.write_bytes(b"not a checkpoint at all")
    with pytest.raises(ModelError, match="damaged"):
        load_model(str(path), None, "auto")


@pytest.mark.parametrize("name", with_weights())
def test_the_digest_is_of_the_bytes(tmp_path: Path, name: str) -> None:
    data = shipped_bytes(name)
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(data)
    digests = {load_model(ref, None, "fp32").digest for ref in (name, str(copy))}
    assert digests == {hashlib.sha256(data).hexdigest()[:16]}


def test_other_bytes_have_another_digest(tmp_path: Path) -> None:
    refs = [str(checkpoint(tmp_path / f"{i}.safetensors", cost=i)) for i in range(3)]
    assert len({load_model(ref, None, "fp32").digest for ref in refs}) == 3


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_model_is_loaded_once(precision: PrecisionChoice) -> None:
    first = load_model("mill-x4", 4, precision)
    assert load_model("mill-x4", 4, precision) is first


def test_precisions_do_not_share_a_model() -> None:
    loaded = {p: load_model("mill-x4", 4, p).upscaler.precision for p in ("bf16", "fp32")}
    assert loaded == {"bf16": "bf16", "fp32": "fp32"}


def test_auto_never_takes_bf16_for_a_file_whose_cost_nobody_vouches_for(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "m.safetensors", cost=0.0)
    assert load_model(str(path), None, "auto").upscaler.precision == "fp32"


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(
    ("cost", "harmless"),
    [(0.0, True), (0.0099, True), (0.01, False), (-0.001, True), (None, False)],
)
def test_auto_takes_bf16_only_where_it_is_fast_and_the_card_says_it_is_harmless(
    fast: bool, cost: float | None, harmless: bool
) -> None:
    chosen = registry.choose_precision("auto", fast=fast, cost_db=cost)
    assert chosen == ("bf16" if harmless and fast else "fp32")
    for wanted in ("fp32", "bf16"):
        assert registry.choose_precision(wanted, fast=fast, cost_db=cost) == wanted


@pytest.mark.parametrize("name", with_weights())
def test_shipped_cards_say_what_bf16_costs(name: str) -> None:
    card = read_card(shipped_bytes(name))
    assert card is not None
    assert abs(card.metrics["bf16_cost_db"]) < 0.05
    assert card.config["scale"] == int(name[-1])
