"""Laws of model references: what a name means, and what is said when it means nothing."""

import hashlib
import subprocess
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import pytest

from models.cards import Card, read_card
from models.checkpoints import write_checkpoint
from models.super_resolution import Mill, MillConfig
from tasks import registry, storage, versions
from tasks.registry import (
    ModelError,
    PrecisionChoice,
    check_model,
    load_model,
    read_checkpoint,
    shipped_models,
)
from tests.versions import publish, tiny_checkpoint

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


def scale_in(name: str) -> int:
    """mill-x3 and the like say it; bicubic's default is 4."""
    return 4 if name == "bicubic" else int(name.split("-x")[1][0])


@pytest.mark.parametrize("name", shipped_models())
def test_shipped_models_load_by_name_with_their_own_scale(name: str) -> None:
    loaded = load_model(name, None, "fp32")
    assert loaded.name == name
    assert loaded.upscaler.name == name
    assert loaded.upscaler.scale == scale_in(name)
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
    # SRCNN computes the whole picture in bf16, mill what it adds to bicubic
    assert abs(card.metrics["bf16_cost_db"]) < (0.2 if name.startswith("srcnn") else 0.05)
    assert card.config["scale"] == scale_in(name)


class TestModelsOfARegistry:
    """NAME is its champion there, NAME@VERSION itself; names that are shipped mostly stay so."""

    def test_a_name_is_its_champion_and_a_version_itself(self, store: str) -> None:
        first, second = publish(store, "own", 1), publish(store, "own", 2)
        versions.promote(store, "sr", "own", 1, reason="test")
        for ref, version in {
            "own": first,
            "own@1": first,
            "own@2": second,
            "own@v2": second,
        }.items():
            check_model(ref, 2, store)
            loaded = load_model(ref, None, "fp32", store)
            data = storage.read(version.weights_uri)
            assert (loaded.name, loaded.version) == (version.ref, version)
            assert loaded.upscaler.scale == 2
            assert loaded.digest == hashlib.sha256(data).hexdigest()[:16]
            assert read_checkpoint(ref, store) == data
        versions.promote(store, "sr", "own", 2, reason="test")
        assert load_model("own", None, "fp32", store).name == "own@2"

    def test_a_version_is_loaded_once_however_it_is_named(self, tmp_path: Path) -> None:
        publish(f"{tmp_path}", "own", 1)
        versions.promote(f"{tmp_path}", "sr", "own", 1, reason="test")
        one, other = (load_model(ref, None, "fp32", f"{tmp_path}") for ref in ("own", "own@1"))
        assert one is other

    def test_the_environment_names_the_registry_unless_one_is_given(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        here, there = f"{tmp_path}/here", f"{tmp_path}/there"
        first, second = publish(here, "own", 1), publish(there, "own", 2)
        monkeypatch.setenv("PIXELMILL_REGISTRY", here)
        assert load_model("own@1", None, "fp32").version == first
        assert load_model("own@1", None, "fp32", there).version == second
        with pytest.raises(ModelError, match="with --registry the name of a model there"):
            check_model("own@1", None, "")

    def test_a_shipped_name_is_the_registry_s_only_once_that_has_a_champion(
        self, tmp_path: Path
    ) -> None:
        place = f"{tmp_path}"
        publish(place, "mill-x2", 1)
        publish(place, "bicubic", 1)
        versions.promote(place, "sr", "bicubic", 1, reason="test")
        for ref, scale in (("mill-x2", None), (None, 2)):
            assert load_model(ref, scale, "fp32", place).name == "mill-x2"
        versions.promote(place, "sr", "mill-x2", 1, reason="test")
        for ref, scale in (("mill-x2", None), (None, 2)):
            assert load_model(ref, scale, "fp32", place).name == "mill-x2@1"
        assert load_model("mill-x2", None, "fp32", "").name == "mill-x2"
        assert load_model("bicubic", 2, "fp32", place).name == "bicubic"
        assert load_model(None, 4, "fp32", place).name == "mill-x4"

    @pytest.mark.parametrize(
        ("ref", "scale", "words"),
        [
            ("other", None, r"no sr model named 'other' in .*: own; shipped are bicubic, mill-x"),
            ("own", None, "own has no champion yet: .* own@1; shipped"),
            ("own@7", None, "own@7 is not there: own has the versions 1;"),
            ("own@x", None, "a version is a number"),
            ("own@1", 3, "own@1 enlarges 2 times, got scale 3"),
            (None, 5, "scale must be 2, 3 or 4, got 5"),
        ],
    )
    def test_what_is_said_of_a_wrong_reference(
        self, tmp_path: Path, ref: str | None, scale: int | None, words: str
    ) -> None:
        publish(f"{tmp_path}", "own", 1)
        for ask in (check_model, lambda r, s, place: load_model(r, s, "fp32", place)):
            with pytest.raises(ModelError, match=words):
                ask(ref, scale, f"{tmp_path}")

    def test_damaged_weights_of_a_version_are_one_sentence(self, tmp_path: Path) -> None:
        version = publish(f"{tmp_path}", "own", 1)
        storage.write(version.weights_uri, tiny_checkpoint(1)[:-50])
        with pytest.raises(ModelError, match="own@1 is damaged"):
            load_model("own@1", None, "fp32", f"{tmp_path}")

    def test_checking_needs_no_torch(self, tmp_path: Path) -> None:
        publish(f"{tmp_path}", "own", 1)
        script = (
            "import sys; from tasks.registry import check_model;"
            f"check_model('own@1', 2, {str(tmp_path)!r}); sys.exit('torch' in sys.modules)"
        )
        subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("name", with_weights())
def test_the_bytes_of_shipped_names_and_files_are_theirs(tmp_path: Path, name: str) -> None:
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(shipped_bytes(name))
    assert read_checkpoint(name) == read_checkpoint(str(copy)) == shipped_bytes(name)


def test_bicubic_has_no_bytes() -> None:
    with pytest.raises(ModelError, match="bicubic has no weights"):
        read_checkpoint("bicubic")
