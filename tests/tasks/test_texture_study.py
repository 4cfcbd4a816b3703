"""The study's sheet, with a network of random weights."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from models.features import random_state
from models.images import Picture, decode, encode
from tasks import storage
from tasks.failures import RequestError
from tasks.texture_study import StudyRequest, make_study
from tests import collections as c
from tests.models.texture_samples import blobs


def _request(place: Path, **options: object) -> StudyRequest:
    c.put(
        str(place),
        {
            "exemplar.png": encode(Picture(pixels=blobs(24, 24, 3)), "png"),
            "text.png": b"no picture",
            "squeezenet1_0.safetensors": save(
                random_state("squeezenet1_0", torch.Generator().manual_seed(0))
            ),
        },
    )
    own: dict[str, object] = {
        "exemplar": str(place / "exemplar.png"),
        "output": str(place / "sheet.png"),
        "features": str(place / "squeezenet1_0.safetensors"),
        "layers": ("relu1", "fire2"),
        "size": 16,
        "iterations": 1,
    }
    return StudyRequest(**{**own, **options})  # type: ignore[arg-type]


def test_the_sheet_shows_the_exemplar_each_depth_and_each_weight(tmp_path: Path) -> None:
    told: list[str] = []
    request = _request(tmp_path, layers=("relu1", "fire2", "fire3"))
    sheet = decode(storage.read(make_study(request, told.append))).pixels
    assert sheet.shape[2] == 3
    assert len(told) == 3 + 3
    assert told[0].startswith("up to relu1: the loss fell by a factor")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"output": "sheet.gif"}, "output must end in"),
        ({"size": 1000}, "size must be 16 to 256"),
        ({"layers": ("relu1", "relu9")}, "relu9"),
        ({"exemplar": "text.png"}, "not an image|no image|text"),
    ],
)
def test_a_wrong_request_is_one_sentence(
    tmp_path: Path, options: dict[str, object], sentence: str
) -> None:
    if options.get("exemplar") == "text.png":
        options = {"exemplar": str(tmp_path / "text.png")}
    with pytest.raises(RequestError, match=sentence):
        make_study(_request(tmp_path, **options), print)
