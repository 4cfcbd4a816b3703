"""Laws of painters' references: what a name means, and what is said when it means nothing."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tasks import storage, versions
from tasks.painters import check_painter, load_painter, read_painter
from tasks.registry import ModelError, load_model, shipped_models
from tasks.versions import ModelRecord, Version
from tests.painters import STYLES, painter_checkpoint
from tests.versions import tiny_checkpoint


def _publish(registry: str, name: str, seed: int) -> Version:
    data = painter_checkpoint(seed)
    record = ModelRecord(
        system="style",
        name=name,
        run=f"run-{seed}",
        architecture="painter",
        config={"styles": list(STYLES), "width": 4, "blocks": 2},
        dataset="memory://nothing",
        dataset_digest="d",
        metrics={"validation_total": 1.0},
        parent=None,
        training={},
        code_version="0",
        digest=versions.weights_digest(data),
        created_at="2026-11-24T02:00:00+00:00",
    )
    return versions.publish(registry, data, record)


def _file(folder: Path, data: bytes, name: str = "own.safetensors") -> str:
    storage.write(str(folder / name), data)
    return str(folder / name)


def test_a_name_is_its_champion_and_a_version_itself(store: str) -> None:
    first, second = _publish(store, "own", 1), _publish(store, "own", 2)
    versions.promote(store, "style", "own", 1, reason="test")
    for ref, version in {"own": first, "own@1": first, "own@2": second}.items():
        assert check_painter(ref, ["night"], store) == STYLES
        loaded = load_painter(ref, store)
        data = storage.read(version.weights_uri)
        assert (loaded.name, loaded.version, loaded.styles) == (version.ref, version, STYLES)
        assert loaded.digest == hashlib.sha256(data).hexdigest()[:16]
        assert read_painter(ref, store) == data


def test_a_registry_s_champion_takes_the_shipped_name(tmp_path: Path) -> None:
    made = _publish(f"{tmp_path}", "painter", 1)
    versions.promote(f"{tmp_path}", "style", "painter", 1, reason="test")
    assert load_painter(None, f"{tmp_path}").version == made
    assert check_painter("painter", (), f"{tmp_path}") == STYLES


def test_a_file_is_loaded_once_and_anew_when_it_is_written_anew(tmp_path: Path) -> None:
    path = _file(tmp_path, painter_checkpoint(1))
    one, again = (load_painter(path, "") for _ in range(2))
    assert one is again
    _file(tmp_path, painter_checkpoint(2))
    assert load_painter(path, "").digest != one.digest


def test_half_the_bits_are_loaded_as_float32_ready_to_paint(tmp_path: Path) -> None:
    whole, half = (
        load_painter(_file(tmp_path, painter_checkpoint(1, half=half), f"{half}.safetensors"), "")
        for half in (False, True)
    )
    wanted = whole.network.state_dict()
    for name, value in half.network.state_dict().items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, wanted[name], rtol=1e-3, atol=1e-4)
    assert not half.network.training
    assert not any(p.requires_grad for p in half.network.parameters())


def test_an_unknown_style_is_refused_and_the_known_are_said(tmp_path: Path) -> None:
    path = _file(tmp_path, painter_checkpoint())
    with pytest.raises(ModelError, match="has no style 'oil'; it has waves, night, scream"):
        check_painter(path, ["night", "oil"], "")


def test_what_is_no_painter_is_refused(tmp_path: Path) -> None:
    enlarger = _file(tmp_path, tiny_checkpoint(1), "mill.safetensors")
    damaged = _file(tmp_path, b"not a checkpoint", "damaged.safetensors")
    cut = _file(tmp_path, painter_checkpoint()[:-100], "cut.safetensors")
    for path, sentence in (
        (enlarger, "is a mill, wanted a painter"),
        (damaged, "is damaged, or no painter"),
        (str(tmp_path / "gone.safetensors"), r"there is no checkpoint at .*gone"),
        ("nobody", "there is no painter named 'nobody'"),
        ("mill-x4", "there is no painter named 'mill-x4'"),
    ):
        with pytest.raises(ModelError, match=sentence):
            check_painter(path, (), "")
        with pytest.raises(ModelError):
            load_painter(path, "")
    with pytest.raises(ModelError, match="is damaged"):
        load_painter(cut, "")
    with pytest.raises(ModelError, match="there is no style model named 'own'"):
        check_painter("own", (), f"{tmp_path}/registry")


def test_a_painter_enlarges_nothing(tmp_path: Path) -> None:
    path = _file(tmp_path, painter_checkpoint())
    with pytest.raises(ModelError, match="is a painter, no super-resolution model"):
        load_model(path, None, "fp32")
    assert "painter" not in shipped_models()


def test_checking_needs_no_torch(tmp_path: Path) -> None:
    path = _file(tmp_path, painter_checkpoint())
    script = (
        "import sys; from tasks.painters import check_painter;"
        f"check_painter({path!r}, ['night'], ''); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
