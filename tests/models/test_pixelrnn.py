"""Laws of the recurrent layers that the common ones (test_pixelcnn.py) do not cover."""

import torch

from models.pixel_receptive_field import pixels_seen, receptive_field
from models.pixelrnn import DiagonalLstm, skew, unskew
from tests.models.pixel_networks import rnn


def test_skewing_shifts_each_row_by_its_number_and_can_be_undone() -> None:
    x = torch.arange(1.0, 13).view(1, 1, 3, 4)
    skewed = skew(x)
    assert skewed.shape == (1, 1, 3, 6)
    assert skewed[0, 0, 1].tolist() == [0, 5, 6, 7, 8, 0]
    assert skewed[0, 0, 2].tolist() == [0, 0, 9, 10, 11, 12]
    assert torch.equal(unskew(skewed), x)


def test_the_diagonal_lstm_sees_all_that_comes_before() -> None:
    field = receptive_field(rnn(recurrence="diagonal", layers=1), height=6, width=7, y=4, x=3)
    assert pixels_seen(field, y=4, x=3) == (4 * 7 + 3, 4 * 7 + 3)


def test_one_row_lstm_sees_a_triangle_above() -> None:
    field = receptive_field(rnn(recurrence="row", layers=1, first=3), height=6, width=15, y=5, x=7)
    assert field[4, 5:9].all()
    assert field[0, 1:13].all()
    assert not field[4, 9]


def test_a_direction_is_the_recurrence_written_out_site_by_site() -> None:
    torch.manual_seed(0)
    layer = DiagonalLstm(2, 1).double()
    x = torch.randn(1, 4, 3, 4, dtype=torch.float64)
    made, given, kernel = layer(x), layer.input(x), layer.state.weight
    zero = torch.zeros(2, dtype=torch.float64)
    states: dict[tuple[int, int], tuple[torch.Tensor, torch.Tensor]] = {}
    for i in range(3):
        for j in range(4):
            above, _ = states.get((i - 1, j), (zero, zero))
            left, cell = states.get((i, j - 1), (zero, zero))
            gates = given[0, :, i, j] + kernel[:, :, 0] @ above + kernel[:, :, 1] @ left
            o, f, n, g = gates.chunk(4)
            cell = torch.sigmoid(f) * cell + torch.sigmoid(n) * torch.tanh(g)
            states[i, j] = (torch.sigmoid(o) * torch.tanh(cell), cell)
            assert torch.allclose(made[0, :, i, j], states[i, j][0])
