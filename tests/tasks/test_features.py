"""Laws of references to feature weights: what they mean, what is said when they mean nothing."""

import hashlib
import io
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save as save_safetensors
from torch import Tensor

from models.features import FeatureKind, FeatureNetwork, random_state
from tasks import storage
from tasks.features import FeaturesError, features_digest, load_features, locate_features

KIND: FeatureKind = "squeezenet1_0"
LAYERS = ["relu1", "fire2"]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _no_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIXELMILL_FEATURES", raising=False)


@lru_cache
def state_of(seed: int = 0) -> dict[str, Tensor]:
    state = random_state(KIND, torch.Generator().manual_seed(seed))
    return {key: value.half() for key, value in state.items()}


def torch_saved(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def seen_by(network: FeatureNetwork) -> Tensor:
    x = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    return network(x)["fire2"]


def expected(seed: int = 0) -> Tensor:
    return seen_by(FeatureNetwork(KIND, state_of(seed), layers=LAYERS))


def load(ref: str | None, kind: FeatureKind | None = None) -> FeatureNetwork:
    return load_features(ref, kind=kind, layers=LAYERS)


def refusal(
    ref: str | None, kind: FeatureKind | None = None, *, layers: Sequence[str] = LAYERS
) -> str:
    with pytest.raises(FeaturesError) as caught:
        load_features(ref, kind=kind, layers=layers)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_weights_in_every_store_make_the_network(store: str) -> None:
    uri = storage.join(store, "squeezenet1_0_small.safetensors")
    data = save_safetensors(state_of())
    storage.write(uri, data)
    for ref in (uri, store):
        assert torch.equal(seen_by(load(ref)), expected())
        assert features_digest(ref) == hashlib.sha256(data).hexdigest()[:16]
    assert "no feature weights at" in refusal(storage.join(store, "vgg16.safetensors"))
    assert "no feature weights at" in refusal(storage.join(store, "elsewhere"))


@pytest.mark.parametrize("suffix", [".pth", ".pt"])
def test_pickled_weights_make_the_same_network(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(torch_saved(state_of() | {"classifier.1.weight": torch.zeros(2)}))
    assert torch.equal(seen_by(load(str(path), KIND)), expected())


def test_weights_written_anew_are_loaded_anew(tmp_path: Path) -> None:
    uri = str(tmp_path / "squeezenet1_0.safetensors")
    storage.write(uri, save_safetensors(state_of(0)))
    first, digest = load(uri), features_digest(uri)
    storage.write(uri, save_safetensors(state_of(1)))
    assert torch.equal(seen_by(first), expected(0))
    assert torch.equal(seen_by(load(uri)), expected(1))
    assert features_digest(uri) != digest


def test_weights_are_read_once_and_moving_one_network_leaves_the_others(tmp_path: Path) -> None:
    uri = str(tmp_path / "squeezenet1_0.safetensors")
    storage.write(uri, save_safetensors(state_of()))
    first, second = load(uri), load_features(uri, layers=["fire2"], pooling="average")
    shared = {p.data_ptr() for p in first.parameters()}
    assert shared == {p.data_ptr() for p in second.parameters()}
    first.double()
    assert torch.equal(seen_by(load(uri)), expected())
    assert all(p.dtype == torch.float32 for p in second.parameters())


def test_a_folder_has_a_file_a_network(tmp_path: Path) -> None:
    for name in ("vgg16_fp16.safetensors", "squeezenet1_0.pth", "README.md", "vgg19.txt"):
        (tmp_path / name).write_bytes(b"x")
    assert locate_features(str(tmp_path), "vgg16").uri.endswith("vgg16_fp16.safetensors")
    assert locate_features(str(tmp_path), KIND).uri.endswith("squeezenet1_0.pth")
    assert locate_features(str(tmp_path)).kind == "vgg16"  # there is no vgg19, the first choice
    with pytest.raises(FeaturesError, match=r"begins with vgg19; it has squeezenet1_0.pth, vgg16"):
        locate_features(str(tmp_path), "vgg19")
    (tmp_path / "vgg16.pth").write_bytes(b"x")
    with pytest.raises(FeaturesError, match=r"several files for vgg16, wanted one: vgg16.pth, vgg"):
        locate_features(str(tmp_path), "vgg16")


def test_a_folder_without_weights_says_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("x")
    with pytest.raises(FeaturesError, match="vgg19 or vgg16 or squeezenet1_0; it has nothing"):
        locate_features(str(tmp_path))


def test_a_file_s_name_tells_its_network_unless_the_caller_does(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(save_safetensors(state_of()))
    assert "wanted one of vgg19, vgg16, squeezenet1_0" in refusal(str(path))
    assert torch.equal(seen_by(load(str(path), KIND)), expected())
    assert "vgg11" in refusal(str(path), "vgg11")  # type: ignore[arg-type]


def test_the_variable_is_the_default_and_a_reference_goes_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "squeezenet1_0.safetensors").write_bytes(save_safetensors(state_of()))
    monkeypatch.setenv("PIXELMILL_FEATURES", str(tmp_path))
    assert torch.equal(seen_by(load(None)), expected())
    assert "no feature weights" in refusal(str(tmp_path / "other"))
    assert locate_features("torchvision").uri == "torchvision"
    monkeypatch.setenv("PIXELMILL_FEATURES", "")
    assert locate_features(None).uri == "torchvision"


def test_torchvision_s_weights_have_a_name_of_their_own_each() -> None:
    assert locate_features(None).kind == "vgg19"
    digests = {features_digest(None, kind=kind) for kind in ("vgg16", "vgg19", KIND)}
    assert len(digests) == 3


def test_torchvision_s_weights_come_from_torch_hub_s_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    state = {key: value.float() for key, value in state_of(3).items()}
    (cache / "squeezenet1_0-b66bff10.pth").write_bytes(torch_saved(state))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert torch.equal(seen_by(load(None, KIND)), expected(3))


def test_a_failed_download_names_the_option_that_does_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    sentence = refusal("torchvision", "vgg16")
    assert "weights of vgg16 cannot be downloaded" in sentence
    assert "--features URI" in sentence


class Exploit:
    """Unpickled by an unwary reader, it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return open, (str(self.path), "w")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("save", [pickle.dumps, torch_saved])
def test_a_pickle_that_holds_code_is_refused_and_not_executed(
    tmp_path: Path, save: Callable[[object], bytes]
) -> None:
    victim = tmp_path / "created-by-the-exploit"
    (tmp_path / "vgg16.pth").write_bytes(save({"features.0.weight": Exploit(victim)}))
    assert "vgg16.pth is no checkpoint, is damaged, or holds code" in refusal(str(tmp_path))
    assert not victim.exists()


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("vgg16.pth", torch_saved(torch.zeros(2)), "something else than weights"),
        ("vgg16.pth", torch_saved({"epoch": 7}), "something else than weights"),
        ("vgg16.pth", b"", "no checkpoint"),
        ("vgg16.safetensors", b"", "no safetensors"),
        ("vgg16.safetensors", save_safetensors({"a": torch.zeros(2)})[:-3], "no safetensors"),
        ("vgg16.safetensors", save_safetensors({"a": torch.zeros(2)}), "nothing named 'a'"),
        ("vgg16.safetensors", save_safetensors(state_of()), "vgg16's"),
    ],
    ids=["tensor", "number", "empty", "empty-st", "truncated-st", "unknown", "squeezenet"],
)
def test_what_is_not_the_network_s_weights_is_refused(
    tmp_path: Path, name: str, data: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(data)
    sentence = refusal(str(tmp_path), layers=["relu1_1"])
    assert words in sentence
    assert name in sentence


def test_an_unknown_layer_is_refused_with_those_there_are(tmp_path: Path) -> None:
    (tmp_path / "squeezenet1_0.safetensors").write_bytes(save_safetensors(state_of()))
    with pytest.raises(FeaturesError, match="no layer 'relu2_2'; wanted one of conv1, relu1"):
        load_features(str(tmp_path), layers=["relu2_2"])


def test_weights_are_found_without_importing_torch(tmp_path: Path) -> None:
    (tmp_path / "vgg16.safetensors").write_bytes(b"x")
    code = (
        "import sys; from tasks.features import features_digest, locate_features;"
        f"assert locate_features({str(tmp_path)!r}).kind == 'vgg16';"
        f"features_digest({str(tmp_path)!r}); features_digest('torchvision');"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
