"""Laws of degradation, and of the hash that finds near-duplicates."""

from io import BytesIO

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from models.degradation import (
    DegradationConfig,
    crop_to_multiple,
    degrade,
    gaussian_kernel,
    image_generator,
)
from models.difference_hash import difference_hash, near_pairs, telling
from models.pixels import Pixels
from tests.corpus import smooth_noise

PRACTICAL = DegradationConfig(kind="practical", scale=4)


def practical(pixels: Pixels, digest: str = "a", config: DegradationConfig = PRACTICAL) -> Pixels:
    return degrade(pixels, config, image_generator(config.seed, digest))


def mild(**options: object) -> DegradationConfig:
    """A practical degradation with next to no blur, no noise and the best JPEG."""
    gentle = {"blur_sigma": (0.05, 0.05), "noise_sigma": (0.0, 0.0), "jpeg_quality": (95, 95)}
    return DegradationConfig(kind="practical", scale=2, **{**gentle, **options})  # type: ignore[arg-type]


class TestBicubic:
    @pytest.mark.parametrize("scale", [2, 3, 4, 8])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_it_is_the_published_protocol(self, scale: int, channels: int) -> None:
        pixels = smooth_noise(scale, 9 * scale, 7 * scale, channels)
        x = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float()
        small = F.interpolate(x, size=(9, 7), mode="bicubic", antialias=True, align_corners=False)
        wanted = small.round().clamp(0, 255)[0].permute(1, 2, 0).numpy()
        config = DegradationConfig(scale=scale)
        np.testing.assert_array_equal(degrade(pixels, config, torch.Generator()), wanted)

    def test_it_draws_nothing(self) -> None:
        generator = torch.Generator().manual_seed(3)
        before = generator.get_state()
        degrade(smooth_noise(0, 32, 32), DegradationConfig(), generator)
        assert torch.equal(generator.get_state(), before)


class TestPractical:
    @pytest.mark.parametrize("scale", [2, 3, 4])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_it_is_scale_times_smaller_with_the_channels_it_had(
        self, scale: int, channels: int
    ) -> None:
        pixels = smooth_noise(1, 20 * scale, 16 * scale, channels)
        before = pixels.copy()
        low = practical(pixels, config=DegradationConfig(kind="practical", scale=scale))
        assert (low.shape, low.dtype) == ((20, 16, channels), np.uint8)
        np.testing.assert_array_equal(pixels, before)

    def test_one_generator_gives_one_picture_and_others_give_others(self) -> None:
        pixels = smooth_noise(2, 64, 64)
        np.testing.assert_array_equal(practical(pixels, "a"), practical(pixels, "a"))
        several = [practical(pixels, digest).tobytes() for digest in "abcdefgh"]
        assert len(set(several)) == len(several)
        other_seed = DegradationConfig(kind="practical", scale=4, seed=1)
        assert practical(pixels, "a", other_seed).tobytes() != several[0]

    def test_it_is_worse_than_bicubic_and_still_the_same_picture(self) -> None:
        pixels = smooth_noise(3, 128, 128)
        clean = degrade(pixels, DegradationConfig(), torch.Generator())
        quality = [distance(practical(pixels, d), clean) for d in "abcdefghijkl"]
        assert max(quality) < 45
        assert min(quality) > 15

    def test_without_blur_and_noise_it_is_one_of_three_plain_resizes(self) -> None:
        pixels = smooth_noise(4, 96, 96, 1)
        clean = degrade(pixels, DegradationConfig(scale=2), torch.Generator())
        quality = sorted({round(distance(practical(pixels, d, mild()), clean)) for d in "abcdefgh"})
        assert len(quality) == 3
        assert quality[0] > 32
        assert quality[-1] > 40  # bicubic, too: what is lost is the JPEG's

    def test_more_blur_leaves_less_detail(self) -> None:
        pixels = smooth_noise(5, 96, 96)
        detail = [
            np.abs(
                np.diff(practical(pixels, "a", mild(blur_sigma=(s, s))).astype(float), axis=0)
            ).mean()
            for s in (0.3, 1.5, 4.0)
        ]
        assert detail[0] > 1.2 * detail[1] > 1.2 * 1.2 * detail[2]

    def test_noise_has_the_deviation_it_is_given(self) -> None:
        flat = np.full((200, 200, 1), 128, np.uint8)
        noisy = practical(flat, "a", mild(noise_sigma=(10.0, 10.0)))
        assert noisy.std() == pytest.approx(10, rel=0.1)
        assert noisy.mean() == pytest.approx(128, abs=0.5)

    @pytest.mark.parametrize(("share", "alike"), [(1.0, True), (0.0, False)])
    def test_gray_noise_is_alike_in_all_channels(self, share: float, alike: bool) -> None:
        flat = np.full((128, 128, 3), 128, np.uint8)
        config = mild(noise_sigma=(20.0, 20.0), gray_noise_share=share)
        red, _, blue = np.moveaxis(practical(flat, "a", config).astype(float), 2, 0)
        assert bool(np.corrcoef(red.ravel(), blue.ravel())[0, 1] > 0.8) is alike

    def test_lower_jpeg_quality_costs_more(self) -> None:
        pixels = smooth_noise(6, 128, 128)
        clean = practical(pixels, "a", mild())
        costs = [
            distance(practical(pixels, "a", mild(jpeg_quality=(q, q))), clean) for q in (80, 40, 10)
        ]
        assert costs == sorted(costs, reverse=True)
        assert costs[0] > costs[2] + 3


def distance(one: Pixels, other: Pixels) -> float:
    """PSNR in dB."""
    planes = [torch.from_numpy(p.astype(np.float32)).permute(2, 0, 1)[None] for p in (one, other)]
    error = float((planes[0] - planes[1]).square().mean())
    return 10 * float(np.log10(255**2 / max(error, 1e-9)))


@pytest.mark.parametrize("sigmas", [(1.0, 1.0), (0.5, 3.0), (0.05, 0.05)])
def test_a_blur_kernel_sums_to_one_and_has_no_direction_but_its_own(
    sigmas: tuple[float, float],
) -> None:
    kernel = gaussian_kernel(*sigmas, angle=0.7)
    assert kernel.sum().item() == pytest.approx(1, abs=1e-6)
    assert kernel.shape[0] == kernel.shape[1]
    assert kernel.shape[0] % 2 == 1
    torch.testing.assert_close(kernel, kernel.flip(0, 1))


def test_a_blur_is_as_wide_as_its_sigmas_say_along_axes_turned_by_the_angle() -> None:
    kernel = gaussian_kernel(3.0, 1.0, angle=0.0).double()
    at = torch.arange(kernel.shape[0], dtype=torch.float64) - kernel.shape[0] // 2
    across, down = kernel.sum(0), kernel.sum(1)
    assert float((across * at**2).sum()) == pytest.approx(9, rel=0.05)
    assert float((down * at**2).sum()) == pytest.approx(1, rel=0.05)
    turned = gaussian_kernel(3.0, 1.0, angle=np.pi / 2).double()
    torch.testing.assert_close(turned, kernel.T, atol=1e-6, rtol=0)
    torch.testing.assert_close(gaussian_kernel(2, 2, angle=1.0), gaussian_kernel(2, 2, angle=0.0))


def test_a_tall_picture_is_blurred_as_its_parts_are(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = smooth_noise(8, 128, 64)
    whole = practical(pixels)
    monkeypatch.setattr("models.degradation._STRIP", 7)
    np.testing.assert_array_equal(practical(pixels), whole)


def test_cropping_leaves_the_largest_multiple_from_the_top_left() -> None:
    pixels = smooth_noise(7, 15, 22)
    np.testing.assert_array_equal(crop_to_multiple(pixels, 4), pixels[:12, :20])
    np.testing.assert_array_equal(crop_to_multiple(pixels, 1), pixels)


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (np.zeros((8, 9, 3), np.uint8), "multiple of 4, got 9x8"),
        (np.zeros((0, 8, 3), np.uint8), "multiple of 4, got 8x0"),
        (np.zeros((8, 8, 4), np.uint8), "uint8, got"),
        (np.zeros((8, 8, 1), np.uint16), "uint16"),
        (np.zeros((8, 8), np.uint8), "uint8, got"),
    ],
)
@pytest.mark.parametrize("kind", ["bicubic", "practical"])
def test_other_pixels_are_refused(pixels: Pixels, words: str, kind: str) -> None:
    config = DegradationConfig(kind=kind)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=words):
        degrade(pixels, config, torch.Generator())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "worse"}, "bicubic or practical, got 'worse'"),
        ({"scale": 1}, "2 to 8, got 1"),
        ({"scale": 9}, "2 to 8, got 9"),
        ({"blur_sigma": (2.0, 1.0)}, "blur_sigma must rise"),
        ({"jpeg_quality": (0, 90)}, "jpeg_quality must rise"),
        ({"isotropic_share": 1.5}, "isotropic_share must be 0 to 1, got 1.5"),
    ],
)
def test_a_wrong_config_is_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        DegradationConfig(**options)  # type: ignore[arg-type]


def reencoded(pixels: Pixels, size: tuple[int, int], quality: int) -> Pixels:
    buffer = BytesIO()
    Image.fromarray(pixels).resize(size).save(buffer, "JPEG", quality=quality)
    return np.array(Image.open(buffer))


class TestDifferenceHash:
    def test_its_bits_are_rises_from_left_to_right_row_by_row(self) -> None:
        grid = np.zeros((8, 9), np.uint8)
        grid[0] = [0, 1, 0, 1, 0, 0, 0, 0, 9]
        assert difference_hash(grid[:, :, None]) == int("10100001" + "0" * 56, 2) - 2**64

    def test_a_larger_or_gray_version_has_the_same(self) -> None:
        pixels = smooth_noise(1, 64, 72, 1)
        wanted = difference_hash(pixels)
        assert difference_hash(pixels.repeat(3, 0).repeat(2, 1)) == wanted
        assert difference_hash(pixels.repeat(3, 2)) == wanted

    @pytest.mark.parametrize("seed", range(8))
    def test_it_hardly_changes_when_a_picture_is_encoded_and_resized_anew(self, seed: int) -> None:
        pixels = smooth_noise(seed, 120, 160)
        again = reencoded(pixels, (121, 90), 75)
        other = smooth_noise(seed + 100, 120, 160)
        own, near, far = (difference_hash(p) % 2**64 for p in (pixels, again, other))
        assert (own ^ near).bit_count() <= 4
        assert (own ^ far).bit_count() > 8

    def test_flat_pictures_and_ramps_tell_nothing(self) -> None:
        ramp = np.tile(np.arange(90, dtype=np.uint8), (80, 1))[:, :, None]
        pictures = [
            np.full((40, 45, 3), 77, np.uint8),
            ramp,
            ramp[:, ::-1],
            smooth_noise(0, 64, 64),
        ]
        hashes = np.array([difference_hash(p) for p in pictures], np.int64)
        assert telling(hashes).tolist() == [False, False, False, True]

    @pytest.mark.parametrize(("first", "second"), [(0, 5), (5, 0), (1, 1), (40, 70)])
    def test_the_search_finds_every_pair_and_no_other(
        self, first: int, second: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("models.difference_hash._BLOCK", 500)  # several blocks
        rng = np.random.default_rng(first)
        base = rng.integers(-(2**63), 2**63, 6)
        flips = 1 << rng.integers(0, 63, (first + second, 3))
        hashes = rng.choice(base, first + second) ^ np.bitwise_xor.reduce(flips, axis=1)
        one, other = hashes[:first], hashes[first:]
        i, j, distances = near_pairs(one, other, 4)
        wanted = [
            (a, b, bits)
            for a, x in enumerate(one.tolist())
            for b, y in enumerate(other.tolist())
            if (bits := ((x ^ y) % 2**64).bit_count()) <= 4
        ]
        assert list(zip(i.tolist(), j.tolist(), distances.tolist(), strict=True)) == wanted
        assert bool(wanted) == (min(first, second) > 1)

    @pytest.mark.parametrize("shape", [(8, 8), (8, 8, 4), (0, 8, 3)])
    def test_other_pixels_are_refused(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match="1 or 3"):
            difference_hash(np.zeros(shape, np.uint8))
