"""Laws of pixel models' references: what a name means, and what is said when it means nothing."""

import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from tasks import storage, versions
from tasks.pixel_models import check_pixel_model, load_pixel_model, read_pixel_model
from tasks.registry import ModelError, shipped_models
from tasks.versions import ModelRecord
from tests.models.pixel_networks import gated
from tests.painters import painter_checkpoint
from tests.pixel_models import BINARY, binary_model, color_model, slow_model


def test_a_checkpoint_says_what_pictures_it_knows(store: str) -> None:
    facts = check_pixel_model(binary_model(store, classes=3), "")
    assert (facts.architecture, facts.classes) == ("gated_pixelcnn", 3)
    assert (facts.channels, facts.levels, facts.run, facts.multiple) == (1, 2, 1, 1)
    facts = check_pixel_model(color_model(store, filters=(4, 5, 6), blocks=(1, 1, 1)), "")
    assert (facts.channels, facts.levels, facts.multiple) == (3, 256, 4)
    assert check_pixel_model(slow_model(store), "").architecture == "pixelrnn"


def test_a_champion_is_found_and_loaded_ready(tmp_path: Path) -> None:
    registry = f"{tmp_path}/registry"
    data = storage.read(binary_model(f"{tmp_path}"))
    record = ModelRecord(
        system="pixels",
        name="own",
        run="run",
        architecture="gated_pixelcnn",
        config=asdict(gated(**BINARY).config),
        dataset="memory://nothing",
        dataset_digest="d",
        metrics={},
        parent=None,
        training={},
        code_version="0",
        digest=versions.weights_digest(data),
        created_at="2026-11-28T02:00:00+00:00",
    )
    version = versions.publish(registry, data, record)
    versions.promote(registry, "pixels", "own", 1, reason="test")
    facts, loaded = check_pixel_model("own", registry), load_pixel_model("own", registry)
    assert (facts.name, loaded.name, loaded.version) == ("own@1", "own@1", version)
    assert facts.digest == loaded.digest == versions.weights_digest(data)
    assert read_pixel_model("own@1", registry) == data
    assert not loaded.network.training  # type: ignore[attr-defined]
    assert load_pixel_model("own", registry).network is loaded.network, "once a process"


def test_what_is_no_pixel_model_is_refused(tmp_path: Path) -> None:
    painter = str(tmp_path / "painter.safetensors")
    storage.write(painter, painter_checkpoint())
    with pytest.raises(ModelError, match="is a painter, wanted a pixel model"):
        check_pixel_model(painter, "")
    with pytest.raises(ModelError, match="there is no pixel model named 'nobody'"):
        load_pixel_model("nobody", "")
    with pytest.raises(ModelError, match="there is no pixel model named 'mill-x4'"):
        check_pixel_model("mill-x4", "")
    cut = str(tmp_path / "cut.safetensors")
    storage.write(cut, storage.read(binary_model(f"{tmp_path}"))[:-100])
    with pytest.raises(ModelError, match="is damaged"):
        load_pixel_model(cut, "")
    assert {"digits", "patches"}.isdisjoint(shipped_models())


def test_checking_a_request_needs_no_torch(tmp_path: Path) -> None:
    model = binary_model(f"{tmp_path}")
    script = (
        "import sys; from tasks.pixel_compressing import CompressRequest, check_request;"
        "import tasks.pixel_completing, tasks.pixel_decompressing, tasks.pixel_sampling;"
        "import tasks.pixel_scoring, tasks.pixel_embedding;"
        f"check_request(CompressRequest(source={model!r}, destination='memory://o',"
        f" model={model!r}, registry='')); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
