"""Laws of keeping the content's colours."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from models.original_colors import full_luma, with_original_colors


def pictures(seed: int) -> tuple[Tensor, Tensor]:
    drawn = torch.rand(2, 2, 3, 6, 5, generator=torch.Generator().manual_seed(seed))
    return drawn[0], drawn[1]


def chroma(rgb: Tensor) -> Tensor:
    return rgb - full_luma(rgb)


@given(seed=st.integers(0, 1000))
def test_the_chroma_is_the_content_s_and_nothing_is_out_of_range(seed: int) -> None:
    result, content = pictures(seed)
    found = with_original_colors(result, content)
    assert 0 <= found.min() <= found.max() <= 1
    torch.testing.assert_close(chroma(found), chroma(content), atol=1e-6, rtol=0)


@given(seed=st.integers(0, 1000))
def test_the_luma_is_the_result_s_where_there_is_room(seed: int) -> None:
    result, content = pictures(seed)
    pale = 0.5 + 0.1 * (content - 0.5)
    dim = 0.3 + 0.4 * result
    found = with_original_colors(dim, pale)
    torch.testing.assert_close(full_luma(found), full_luma(dim), atol=1e-6, rtol=0)


def test_a_picture_with_itself_stays_and_gray_takes_the_luma_alone() -> None:
    result, content = pictures(0)
    torch.testing.assert_close(with_original_colors(content, content), content)
    gray = full_luma(content).expand(-1, 3, -1, -1)
    torch.testing.assert_close(
        with_original_colors(result, gray), full_luma(result).expand(-1, 3, -1, -1)
    )


def test_luma_weighs_white_as_1() -> None:
    assert full_luma(torch.ones(1, 3, 1, 1)).item() == pytest.approx(1)
    green = torch.tensor([0.0, 1.0, 0.0]).view(1, 3, 1, 1)
    assert full_luma(green).item() == pytest.approx(0.587)


def test_unequal_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must both be \(N, 3, H, W\)"):
        with_original_colors(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 5))
