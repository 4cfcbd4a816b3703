"""Laws of checkpoints: ours come back, the community's are read, the rest is refused in words."""

import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn

from models.cards import Card, CheckpointError, read_card
from models.checkpoints import load_upscaler, write_checkpoint
from models.super_resolution import Mill, MillConfig, Srcnn, SrcnnConfig, small_init_
from models.systems import SYSTEMS
from models.upscaling import Upscaler
from tests.models.test_upscaling import difference, in_tiles, picture, whole

State = dict[str, Tensor]
NAME = "some/model.pth"

pytestmark = [
    pytest.mark.filterwarnings("ignore:Detected pickle protocol"),
    pytest.mark.filterwarnings("ignore:torch.meshgrid"),  # of SwinIR's own code
    pytest.mark.filterwarnings("ignore:Initializing zero-element"),
]


def small_mill(scale: int = 2) -> Mill:
    network = Mill(MillConfig(scale=scale, width=4, blocks=1))  # type: ignore[arg-type]
    small_init_(network, torch.Generator().manual_seed(1))
    return network


def card(architecture: str = "mill", **config: Any) -> Card:
    config = config or {"scale": 2, "width": 4, "blocks": 1}
    return Card(architecture=architecture, config=config, metrics={"bf16_cost_db": 0.002})


def ours() -> bytes:
    return write_checkpoint(small_mill(), card())


def torch_saved(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def header_length(data: bytes) -> int:
    return 8 + int.from_bytes(data[:8], "little")


def refusal(data: bytes) -> str:
    """The sentence a checkpoint is refused with."""
    with pytest.raises(CheckpointError) as caught:
        load_upscaler(data, name=NAME)
    sentence = str(caught.value)
    assert NAME in sentence
    assert "\n" not in sentence
    assert 15 < len(sentence) < 250
    assert not sentence.endswith(":")
    return sentence


def test_what_is_written_is_loaded() -> None:
    network = small_mill()
    data = write_checkpoint(network, card())
    assert read_card(data) == card()
    loaded = load_upscaler(data, name="x")
    assert (loaded.name, loaded.scale, loaded.radius, loaded.inputs) == ("x", 2, 4, "luma")
    x = torch.rand(1, 1, 9, 8, generator=torch.Generator().manual_seed(0))
    assert loaded.network is not None
    torch.testing.assert_close(loaded.network(x), network(x), atol=1e-6, rtol=0)


def test_srcnn_comes_back_with_its_tuples() -> None:
    network = Srcnn(SrcnnConfig(scale=3, kernels=(9, 1, 5), widths=(4, 2)))
    data = write_checkpoint(network, card("srcnn", scale=3, kernels=(9, 1, 5), widths=(4, 2)))
    loaded = load_upscaler(data, name="x")
    assert isinstance(loaded.network, Srcnn)
    assert loaded.network.config == network.config
    assert loaded.scale == 3


def test_a_safetensors_of_somebody_else_has_no_card() -> None:
    assert read_card(save_safetensors({"a": torch.zeros(2)})) is None


def test_an_empty_file_is_refused() -> None:
    assert "empty" in refusal(b"")


@pytest.mark.parametrize("share", [0.0005, 0.01, 0.1, 0.5, 0.9, 0.999])
def test_our_own_truncated_is_refused(share: float) -> None:
    data = ours()
    refusal(data[: max(1, int(len(data) * share))])


@pytest.mark.parametrize("length", [1, 7, 8, 9, 10, 50])
def test_our_own_cut_in_its_header_is_refused(length: int) -> None:
    refusal(ours()[:length])


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_torch_zip_is_refused(share: float) -> None:
    data = torch_saved(small_mill().state_dict())
    assert "damaged" in refusal(data[: max(1, int(len(data) * share))])


@pytest.mark.parametrize("seed", range(8))
def test_bits_flipped_in_the_header_are_refused_or_harmless(seed: int) -> None:
    data = ours()
    rng = np.random.default_rng(seed)
    refused = 0
    for at in [*range(8), *rng.integers(8, header_length(data), 24)]:
        damaged = bytearray(data)
        damaged[at] ^= 1 << int(rng.integers(8))
        try:
            loaded = load_upscaler(bytes(damaged), name=NAME)
        except CheckpointError:
            refused += 1
        else:
            assert loaded.scale == 2
    assert refused > 5


def test_an_unknown_architecture_of_ours_is_refused_by_name() -> None:
    sentence = refusal(write_checkpoint(small_mill(), card("miller")))
    assert "'miller'" in sentence
    assert ", ".join(sorted(SYSTEMS)) in sentence


@pytest.mark.parametrize(
    "config",
    [
        {"scale": 2, "width": 5, "blocks": 1},
        {"scale": 2, "width": 4, "blocks": 2},
        {"scale": 3, "width": 4, "blocks": 1},
        {"scale": 2, "width": 4, "blocks": 1, "depth": 9},
        {"scale": 2, "width": "4", "blocks": 1},
        {"scale": 2, "width": -4, "blocks": 1},
        {"scale": 0, "width": 4, "blocks": 1},
        {"width": 4, "blocks": 1},
    ],
    ids=str,
)
def test_a_config_that_does_not_fit_the_weights_is_refused(config: dict[str, Any]) -> None:
    refusal(write_checkpoint(small_mill(), card(**config)))


@pytest.mark.parametrize(
    "metadata",
    [
        {"architecture": "mill"},
        {"architecture": "mill", "card": ""},
        {"architecture": "mill", "card": "[]"},
        {"architecture": "mill", "card": "{}"},
        {"architecture": "mill", "card": '{"config": 7}'},
        {"architecture": "mill", "card": '{"config": null}'},
        {"architecture": "mill", "card": '{"config": {"scale": null}}'},
    ],
    ids=str,
)
def test_a_damaged_card_is_refused(metadata: dict[str, str]) -> None:
    with pytest.raises(CheckpointError):
        load_upscaler(save_safetensors(small_mill().state_dict(), metadata=metadata), name=NAME)


class Exploit:
    """Unpickled by an unwary reader, it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return open, (str(self.path), "w")


@pytest.mark.parametrize("wrapped", [lambda e: e, lambda e: {"params": e}, lambda e: [e]])
@pytest.mark.parametrize("save", [pickle.dumps, torch_saved])
def test_a_pickle_that_holds_code_is_refused_and_not_executed(
    tmp_path: Path, save: Callable[[object], bytes], wrapped: Callable[[object], object]
) -> None:
    victim = tmp_path / "created-by-the-exploit"
    data = save(wrapped(Exploit(victim)))
    refusal(data)
    assert not victim.exists()


def test_the_exploit_works_on_an_unwary_reader(tmp_path: Path) -> None:
    victim = tmp_path / "created-by-the-exploit"
    pickle.loads(pickle.dumps(Exploit(victim))).close()  # noqa: S301 (this is the exploit)
    assert victim.exists()


@settings(max_examples=60)
@given(
    start=st.sampled_from([b"", b"\x80\x02", b"PK\x03\x04", b"\x10\0\0\0\0\0\0\0{"]),
    rest=st.binary(max_size=300),
)
def test_random_bytes_are_refused(start: bytes, rest: bytes) -> None:
    refusal(start + rest)


@pytest.mark.parametrize(
    "data",
    [
        json.dumps({"model": "mill"}).encode(),
        b"# a readme\n",
        b"\x89PNG\r\n\x1a\n" + bytes(40),
        torch_saved(torch.zeros(3)),
        torch_saved([1, 2, 3]),
        torch_saved({}),
        torch_saved({"epoch": 7, "note": "text"}),
        torch_saved({"a.weight": torch.zeros(3, 4), "a.bias": torch.zeros(3)}),
        save_safetensors({"a.weight": torch.zeros(3, 4), "a.bias": torch.zeros(3)}),
    ],
    ids=["json", "text", "png", "tensor", "list", "empty", "no-tensors", "unknown", "unknown-st"],
)
def test_files_that_are_no_checkpoint_of_an_image_model_are_refused(data: bytes) -> None:
    refusal(data)


def test_a_classification_network_is_refused() -> None:
    from torchvision.models import shufflenet_v2_x0_5  # seconds to import

    refusal(torch_saved(shufflenet_v2_x0_5(weights=None).state_dict()))


def lively(network: nn.Module, last: nn.Conv2d, channels: int, *, bias: float) -> nn.Module:
    """Random weights whose output fills the range, so that a difference shows."""
    generator = torch.Generator().manual_seed(7)
    for parameter in network.parameters():
        if parameter.ndim == 4:
            nn.init.kaiming_normal_(parameter, generator=generator)
    with torch.no_grad():
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        spread = network(torch.rand(1, channels, 16, 16, generator=generator)).std()
        last.weight.mul_(0.2 / spread)
        nn.init.constant_(last.bias, bias)  # type: ignore[arg-type]
    return network


def compact(channels: int = 3) -> State:
    from spandrel.architectures.Compact import Compact

    network = Compact(num_in_ch=channels, num_out_ch=channels, num_feat=8, num_conv=3, upscale=4)
    return lively(network, network.body[-1], channels, bias=0.0).state_dict()


def esrgan(**options: Any) -> State:
    from spandrel.architectures.ESRGAN import ESRGAN

    network = ESRGAN(num_filters=8, num_blocks=1, **options)
    return lively(network, network.model[-1], 3, bias=0.5).state_dict()


def swinir() -> State:
    from spandrel.architectures.SwinIR import SwinIR

    torch.manual_seed(0)
    network = SwinIR(
        img_size=16, embed_dim=12, depths=[2], num_heads=[2], window_size=8, mlp_ratio=2.0,
        upscale=2, upsampler="pixelshuffledirect",
    )  # fmt: skip
    return network.state_dict()


FOREIGN: dict[str, tuple[Callable[[], State], int]] = {
    "compact-x4": (compact, 4),
    "compact-gray-x4": (lambda: compact(1), 4),
    "esrgan-x4": (lambda: esrgan(scale=4), 4),
    "esrgan-x2": (lambda: esrgan(scale=2), 2),
    "esrgan-unshuffle-x2": (lambda: esrgan(in_nc=12, scale=4, shuffle_factor=2), 2),
    "swinir-x2": (swinir, 2),
}
CONVOLUTIONAL = [name for name in FOREIGN if "swinir" not in name]
_states: dict[str, State] = {}
_loaded: dict[str, Upscaler] = {}


def state_of(name: str) -> State:
    if name not in _states:
        _states[name] = {k: v.clone().contiguous() for k, v in FOREIGN[name][0]().items()}
    return _states[name]


def foreign(name: str) -> Upscaler:
    if name not in _loaded:
        _loaded[name] = load_upscaler(torch_saved({"params_ema": state_of(name)}), name=name)
    return _loaded[name]


@pytest.mark.parametrize("name", FOREIGN)
def test_community_checkpoints_load_with_their_scale_from_either_container(name: str) -> None:
    pickled = foreign(name)
    safe = load_upscaler(save_safetensors(state_of(name)), name=name)
    assert pickled.scale == safe.scale == FOREIGN[name][1]
    image = picture("photographic", 0, 20, 17, 3, "uint8")
    np.testing.assert_array_equal(whole(pickled, image), whole(safe, image))


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_community_checkpoints_take_every_size_and_channel_count(name: str, channels: int) -> None:
    upscaler = foreign(name)
    for height, width in ((1, 1), (5, 7), (40, 33)):
        image = picture("photographic", 1, height, width, channels, "uint8")
        result = upscaler(image[None])
        assert result.shape == (1, height * upscaler.scale, width * upscaler.scale, channels)
        assert result.dtype == np.uint8


@pytest.mark.parametrize("name", CONVOLUTIONAL)
@pytest.mark.parametrize("tile", [16, 23])
def test_tiled_community_networks_give_what_the_whole_gives(name: str, tile: int) -> None:
    upscaler = foreign(name)
    image = picture("noise", 2, 40, 53, 3, "uint8")
    expected = whole(upscaler, image)
    assert expected.std() > 20
    assert difference(in_tiles(upscaler, image, tile, 2), expected) <= 1
