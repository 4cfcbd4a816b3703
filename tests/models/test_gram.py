"""Laws of Gram matrices: what they keep of a feature map, and how distances count."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.gram import gram_distance, gram_matrix, gram_targets

seeds = st.integers(0, 1000)


def features(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape or (2, 5, 4, 6), generator=generator, dtype=torch.float64)


@settings(deadline=None)  # the first matrix product of a process takes long
@given(seed=seeds)
def test_a_gram_matrix_is_symmetric_and_positive_semi_definite(seed: int) -> None:
    gram = gram_matrix(features(seed, 2, 9, 2, 2))
    assert torch.equal(gram, gram.mT)
    assert torch.linalg.eigvalsh(gram).min() > -1e-12


@settings(deadline=None)  # the first matrix product of a process takes long
@given(seed=seeds)
def test_a_gram_matrix_is_blind_to_a_shuffle_of_positions(seed: int) -> None:
    x = features(seed)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(seed))
    shuffled = x.flatten(2)[..., order].reshape(x.shape)
    torch.testing.assert_close(gram_matrix(shuffled), gram_matrix(x))


def test_a_gram_matrix_is_the_mean_over_positions_of_f_f_transposed() -> None:
    x = torch.tensor([[[[1.0, 2.0]], [[3.0, -1.0]]]])
    assert gram_matrix(x).tolist() == [[[2.5, 0.5], [0.5, 5.0]]]


def test_a_gram_matrix_does_not_grow_with_the_picture() -> None:
    x = features(0)
    torch.testing.assert_close(gram_matrix(x.repeat(1, 1, 3, 2)), gram_matrix(x))


@given(seed=seeds)
def test_the_distance_to_itself_is_0_and_of_nothing_1(seed: int) -> None:
    gram = gram_matrix(features(seed))
    assert (gram_distance(gram, gram) == 0).all()
    torch.testing.assert_close(gram_distance(torch.zeros_like(gram), gram), torch.ones(2).double())


@given(seed=seeds, scale=st.sampled_from([1e-3, 200.0]))
def test_the_distance_does_not_mind_the_network_s_scale(seed: int, scale: float) -> None:
    x, y = features(seed), features(seed + 1)
    plain = gram_distance(gram_matrix(x), gram_matrix(y))
    torch.testing.assert_close(gram_distance(gram_matrix(x * scale), gram_matrix(y * scale)), plain)


def test_one_target_serves_a_whole_batch() -> None:
    gram, target = gram_matrix(features(0)), gram_matrix(features(1))
    one = gram_distance(gram, target[0])
    assert one.tolist() == gram_distance(gram, target[:1].expand(2, -1, -1)).tolist()


def test_a_target_of_zeros_gives_a_number() -> None:
    assert gram_distance(torch.zeros(1, 3, 3), torch.zeros(3, 3)).tolist() == [0.0]


def test_targets_carry_no_gradient_and_are_wide() -> None:
    x = features(0).half().requires_grad_()
    targets = gram_targets({"a": x})
    assert not targets["a"].requires_grad
    assert targets["a"].dtype == torch.float32


def test_what_is_no_feature_map_is_refused() -> None:
    for bad in (torch.zeros(3, 4, 4), torch.zeros(1, 3, 0, 4)):
        with pytest.raises(ValueError, match=r"features must be \(N, C, H, W\) with positions"):
            gram_matrix(bad)
    with pytest.raises(ValueError, match=r"gram must be \(N, C, C\) as target"):
        gram_distance(torch.zeros(1, 3, 3), torch.zeros(4, 4))
