"""Batches: a function of seed and step, shared without overlap, cut where they should be."""

import numpy as np
import pytest
import torch

from models.images import Picture, encode
from models.patches import PatchConfig, PatchSampler, luma_of
from models.resampling import bicubic_downscale
from tasks.sr_pairs import EncodedPair

SCALE = 2
CONFIG = PatchConfig(scale=SCALE, batch_size=8, patch=12, rescale=(1.0, 0.8))


def _pair(seed: int, side: int = 64) -> EncodedPair:
    rng = np.random.default_rng(seed)
    high = rng.integers(0, 256, (side, side + 16, 3), dtype=np.uint8)
    x = torch.from_numpy(high.astype(np.float32)).permute(2, 0, 1)[None]
    low = bicubic_downscale(x, SCALE)[0].permute(1, 2, 0).numpy().astype(np.uint8)
    return EncodedPair(
        source=f"{seed}.png",
        source_digest=str(seed),
        image=encode(Picture(pixels=high), "png"),
        low=encode(Picture(pixels=low), "png"),
        width=side + 16,
        height=side,
    )


PAIRS = [_pair(k) for k in range(4)]


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    one, other = PatchSampler(PAIRS, CONFIG), PatchSampler(PAIRS, CONFIG)
    for step in (5, 0, 3):
        one.batch(step)
    for a, b in zip(one.batch(7), other.batch(7), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(one.batch(7)[0], one.batch(8)[0])


def test_a_small_cache_changes_nothing_but_time() -> None:
    small = PatchSampler(PAIRS, PatchConfig(**{**CONFIG.__dict__, "cache_bytes": 1}))
    large = PatchSampler(PAIRS, CONFIG)
    for step in range(3):
        for a, b in zip(small.batch(step), large.batch(step), strict=True):
            assert torch.equal(a, b)


def test_processes_share_a_batch_without_overlap() -> None:
    sampler = PatchSampler(PAIRS, CONFIG)
    whole = sampler.batch(2)[0]
    shares = [sampler.batch(2, rank=r, processes=2)[0] for r in range(2)]
    assert torch.equal(torch.stack(shares, 1).flatten(0, 1), whole)
    with pytest.raises(ValueError, match="a batch of 8 cannot be shared by 3 processes"):
        sampler.batch(2, rank=0, processes=3)


def test_a_low_patch_is_what_its_high_patch_degrades_to() -> None:
    """Away from the patch's border, where the degradation looks beyond it."""
    low, high = PatchSampler(PAIRS, CONFIG).batch(0)
    again = bicubic_downscale(high * 255, SCALE) / 255
    # luma of rounded colour against rounded luma: each within a level
    assert (again - low)[..., 3:-3, 3:-3].abs().max() < 1.6 / 255


def test_luma_is_studio_for_colour_and_gray_as_it_is() -> None:
    white = np.full((2, 2, 3), 255, np.uint8)
    assert float(luma_of(white)[0, 0, 0, 0]) == pytest.approx(235 / 255)
    assert float(luma_of(white[..., :1])[0, 0, 0, 0]) == 1.0


def test_pictures_too_small_for_a_patch_are_said_to_be() -> None:
    with pytest.raises(ValueError, match=r"need pictures of at least 128 pixels a side; none of"):
        PatchSampler(PAIRS, PatchConfig(scale=2, patch=64))
