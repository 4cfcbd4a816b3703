"""Laws of the painter: styles are rows of parameters, blends are blends of rows."""

import pytest
import torch
from torch import Tensor

from models.style_adding import restyled, train_rows_only_
from models.style_feedforward import (
    ConditionalInstanceNorm,
    Painter,
    PainterConfig,
    blend_weights,
    painter_init_,
)
from tests.painters import STYLES, tiny_painter


def _noise(seed: int, height: int = 32, width: int = 32) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def _one(style: int) -> Tensor:
    return torch.eye(len(STYLES))[style : style + 1]


def _norms(painter: Painter) -> list[ConditionalInstanceNorm]:
    return [m for m in painter.modules() if isinstance(m, ConditionalInstanceNorm)]


def test_the_shipped_sizes_have_less_than_a_million_parameters_and_a_style_few_of_them() -> None:
    counts = [
        sum(p.numel() for p in Painter(PainterConfig(styles=names)).parameters())
        for names in (("a",), ("a", "b"))
    ]
    assert counts == [947_188, 949_589]


def test_an_untrained_network_returns_its_input() -> None:
    network = Painter(PainterConfig(styles=STYLES, width=8, blocks=2))
    painter_init_(network, torch.Generator().manual_seed(0))
    x = _noise(1)
    with torch.no_grad():
        assert float((network(x, _one(1)) - x).abs().max()) < 0.25
        assert float((network(x, _one(1)) - x).abs().mean()) < 0.05


def test_a_one_hot_blend_is_the_single_style_bit_for_bit() -> None:
    painter, x = tiny_painter(), _noise(1)
    for k, name in enumerate(STYLES):
        alone = restyled(painter, [name]).eval()
        blend = blend_weights(STYLES, [(name, 0.4), (STYLES[k - 1], 0.0), (name, 0.2)])
        with torch.no_grad():
            assert torch.equal(painter(x, blend), alone(x, torch.ones(1, 1)))


def test_the_styles_are_different() -> None:
    painter, x = tiny_painter(), _noise(1)
    first, second = (painter(x, _one(k)) for k in (0, 1))
    assert float((first - second).abs().mean()) > 0.05


def test_a_blend_of_styles_is_a_blend_of_parameters() -> None:
    norm = ConditionalInstanceNorm(5, 3)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        norm.gain.normal_(generator=generator)
        norm.shift.normal_(generator=generator)
    x = torch.randn(1, 5, 6, 7, generator=generator)
    mixed = 0.2 * norm(x, _one(0)) + 0.5 * norm(x, _one(1)) + 0.3 * norm(x, _one(2))
    torch.testing.assert_close(norm(x, torch.tensor([[0.2, 0.5, 0.3]])), mixed)


def test_a_norm_makes_mean_and_variance_those_of_its_style() -> None:
    norm, x = ConditionalInstanceNorm(2, 1), 3 + 5 * torch.randn(2, 2, 40, 40)
    with torch.no_grad():
        norm.gain.copy_(torch.tensor([[2.0, 0.5]]))
        norm.shift.copy_(torch.tensor([[1.0, -1.0]]))
        variance, mean = torch.var_mean(norm(x, torch.ones(2, 1)), dim=(2, 3), correction=0)
    torch.testing.assert_close(mean, torch.tensor([[1.0, -1.0]] * 2), atol=1e-5, rtol=0)
    torch.testing.assert_close(variance, torch.tensor([[4.0, 0.25]] * 2), atol=1e-4, rtol=0)


def test_each_picture_of_a_batch_is_painted_for_itself() -> None:
    painter, pictures = tiny_painter(), [_noise(k) for k in range(3)]
    weights = torch.cat([_one(2), _one(0), torch.full((1, 3), 1 / 3)])
    together = painter(torch.cat(pictures), weights)
    for k, picture in enumerate(pictures):
        torch.testing.assert_close(
            together[k : k + 1], painter(picture, weights[k : k + 1]), atol=1e-5, rtol=1e-5
        )


def test_weights_are_made_to_sum_to_one() -> None:
    weights = blend_weights(STYLES, [("scream", 3.0), ("waves", 1.0)])
    torch.testing.assert_close(weights, torch.tensor([[0.25, 0.0, 0.75]]))


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ([("oil", 1.0)], "style must be one of waves, night, scream, got 'oil'"),
        ([("waves", -0.5)], "a style's weight must be at least 0, got waves=-0.5"),
        ([("waves", float("nan"))], "at least 0, got waves=nan"),
        ([("waves", 0.0), ("night", 0.0)], "must have a sum above 0, got 0"),
        ([("waves", float("inf"))], "must have a sum above 0, got inf"),
        ([], "must have a sum above 0, got 0"),
    ],
)
def test_weights_that_make_no_blend_are_refused(
    wanted: list[tuple[str, float]], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        blend_weights(STYLES, wanted)


def test_wrong_inputs_and_configs_are_refused() -> None:
    painter = tiny_painter()
    with pytest.raises(ValueError, match=r"styles must be \(N, 3\), got \(1, 2\)"):
        painter(_noise(0), torch.ones(1, 2))
    with pytest.raises(ValueError, match="multiples of 4"):
        painter(_noise(0, 30, 32), _one(0))
    with pytest.raises(ValueError, match="distinct names"):
        PainterConfig(styles=("a", "a"))
    with pytest.raises(ValueError, match="width must be at least 1, got 0"):
        PainterConfig(styles=("a",), width=0)


class TestAnotherStyle:
    """Styles are added to what is there, and the old ones do not notice."""

    def test_old_rows_are_kept_bit_for_bit_and_a_new_one_is_their_mean(self) -> None:
        old = tiny_painter()
        new = restyled(old, [*STYLES, "oil"])
        assert new.config.styles == (*STYLES, "oil")
        for one, other in zip(_norms(old), _norms(new), strict=True):
            assert torch.equal(other.gain[:3], one.gain)
            torch.testing.assert_close(other.shift[3], one.shift.mean(0))
        assert torch.equal(new.last.weight, old.last.weight)

    def test_a_step_of_training_moves_the_new_row_and_nothing_else(self) -> None:
        painter = restyled(tiny_painter(), [*STYLES, "oil"])
        before = {name: value.clone() for name, value in painter.state_dict().items()}
        train_rows_only_(painter, [3])
        optimiser = torch.optim.Adam([p for p in painter.parameters() if p.requires_grad], lr=0.1)
        blend = torch.full((1, 4), 0.25)  # every row has a gradient of its own
        painter(_noise(1), blend).square().mean().backward()
        optimiser.step()
        for name, value in painter.state_dict().items():
            if "norm" in name or "scale" in name or name == "skip":
                assert torch.equal(value[:3], before[name][:3]), name
                assert not torch.equal(value[3], before[name][3]), name
            else:
                assert torch.equal(value, before[name]), name


def test_behind_the_norms_a_far_place_changes_nothing() -> None:
    """What a blot lives on: a norm in there would spread one place's size over the picture."""
    painter, styles = tiny_painter(), _one(0)
    x = torch.rand(1, 16, 40, 40, generator=torch.Generator().manual_seed(2))

    def behind(x: Tensor) -> Tensor:
        for first, second in zip(painter.body[::2], painter.body[1::2], strict=True):
            x = x + second(torch.relu(first(x, styles)), styles)
        for layer in painter.up:
            x = torch.relu(layer(x, styles))
        return x

    blown = x.clone()
    blown[..., 2, 2] = 1e6
    reach = 4 * (2 + 2 * painter.config.blocks + 2)  # at full size, counted generously
    one, other = behind(x), behind(blown)
    assert not torch.equal(one, other)
    assert torch.equal(one[..., reach:], other[..., reach:])
    assert torch.equal(one[..., reach:, :], other[..., reach:, :])
