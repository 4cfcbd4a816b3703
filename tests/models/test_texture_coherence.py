"""Laws of the coherence search: similar windows, several exemplars, guides, holes and threads."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from models import texture_atlas
from models.texture_atlas import Atlas, atlas_levels, similar_windows, window_features
from models.texture_coherence import CoherenceConfig, Guide, coherence, inpaint
from models.texture_pixels import Texture, whole_windows
from tests.models.texture_samples import U8, blobs, copies


def atlas_of(*exemplars: U8, window: int = 5) -> Atlas:
    masks = [np.ones(exemplar.shape[:2], np.bool_) for exemplar in exemplars]
    labels = [np.zeros(mask.shape, np.int32) for mask in masks]
    return atlas_levels(exemplars, masks, labels, window=window, levels=1)[0]


def synthesised(
    exemplars: list[U8], size: tuple[int, int], *, seed: int = 0, threads: int = 1, k: int = 4
) -> Texture:
    generator = np.random.default_rng(seed)
    return coherence(exemplars, size, CoherenceConfig(k=k), generator=generator, threads=threads)


def distances_between(atlas: Atlas, similar: NDArray[np.int32]) -> NDArray[np.float64]:
    """(n, k - 1) distances of the usable windows' features to those of the similar ones."""
    features = window_features(atlas, 5).astype(float)
    numbers = np.flatnonzero(atlas.usable)
    place = np.full(atlas.usable.size, -1)
    place[numbers] = np.arange(len(numbers))
    others = place[similar.reshape(len(place), -1)[numbers, 1:]]
    return np.linalg.norm(features[others] - features[:, None], axis=2)


@pytest.mark.parametrize("channels", [1, 3])
def test_similar_windows_are_the_exact_nearest(channels: int) -> None:
    atlas = atlas_of(blobs(40, 37, channels), blobs(12, 50, channels, seed=9))
    similar = similar_windows(atlas, window=5, k=4)
    numbers = np.flatnonzero(atlas.usable)
    assert (similar.reshape(-1, 4)[numbers, 0] == numbers).all()
    assert (similar[~atlas.usable] == -1).all()
    assert atlas.usable.ravel()[similar[atlas.usable]].all()
    features = window_features(atlas, 5).astype(float)
    nearest, _ = cKDTree(features).query(features, k=4)
    np.testing.assert_allclose(distances_between(atlas, similar), nearest[:, 1:])


def test_among_a_part_of_the_windows_the_nearest_of_that_part_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    atlas = atlas_of(blobs(40, 37))
    full = distances_between(atlas, similar_windows(atlas, window=5, k=3))
    monkeypatch.setattr(texture_atlas, "_MOST_SEARCHED", 200)
    similar = similar_windows(atlas, window=5, k=3)
    features = window_features(atlas, 5).astype(float)
    distinct = np.unique(features, axis=0)
    part = distinct[:: -(-len(distinct) // 200)]
    found = distances_between(atlas, similar)
    gaps, _ = cKDTree(part).query(features, k=3)
    itself = gaps[:, 0] == 0
    expected = np.where(itself[:, None], gaps[:, 1:], gaps[:, :2])
    np.testing.assert_allclose(found, expected)
    assert (found >= full - 1e-9).all()


def test_equal_windows_count_as_one() -> None:
    flat = np.zeros((20, 20, 1), np.uint8)
    similar = similar_windows(atlas_of(flat), window=5, k=3)
    assert (similar[..., 1:] == -1).all()


@pytest.mark.parametrize("k", [1, 4])
def test_the_result_does_not_depend_on_the_threads(k: int) -> None:
    exemplar = blobs(40, 40, 3)
    one, three = (synthesised([exemplar], (50, 45), threads=n, k=k) for n in (1, 3))
    assert one.pixels.tobytes() == three.pixels.tobytes()
    assert one.sources.tobytes() == three.sources.tobytes()


def test_most_pixels_continue_their_neighbors() -> None:
    sources = synthesised([blobs(48, 48)], (64, 64)).sources[..., 1:]
    along = (sources[:, 1:] - sources[:, :-1] == (0, 1)).all(axis=2)
    assert along.mean() > 0.6


def test_several_exemplars_of_different_sizes_are_all_used() -> None:
    exemplars = [blobs(40, 24), blobs(23, 47, seed=8), blobs(31, 31, seed=9)]
    texture = synthesised(exemplars, (60, 60))
    assert copies(texture, *exemplars)
    assert set(np.unique(texture.sources[..., 0])) == {0, 1, 2}


def test_every_pixel_comes_from_an_exemplar_pixel_of_its_label() -> None:
    dark, light = blobs(40, 40) // 3, 170 + blobs(40, 40, seed=5) // 3
    exemplar = np.concatenate([dark, light], axis=1)
    owned = np.repeat([[10, -3]], 40, axis=0).repeat(40, axis=1)
    rows, columns = np.mgrid[:50, :54]
    wanted = np.where((rows - 25) ** 2 + (columns - 20) ** 2 < 15**2, -3, 10)
    wanted[5, 40] = -3  # a speck that no coarse level shows
    texture = coherence(
        [exemplar],
        (50, 54),
        CoherenceConfig(),
        generator=np.random.default_rng(0),
        guide=Guide(exemplars=[owned], output=wanted),
    )
    assert (owned[texture.sources[..., 1], texture.sources[..., 2]] == wanted).all()
    assert ((texture.pixels[..., 0] > 128) == (wanted == -3)).all()


def test_a_label_without_a_window_and_other_shapes_are_errors() -> None:
    exemplar, config = blobs(20, 20), CoherenceConfig()
    owned, wanted = np.zeros((20, 20), int), np.zeros((9, 9), int)
    wanted[4, 4] = 6
    owned[0, 0] = 6  # in a corner: never amid a window
    rng = np.random.default_rng(0)
    guide = Guide(exemplars=[owned], output=wanted)
    with pytest.raises(ValueError, match="has the guide's label 6"):
        coherence([exemplar], (9, 9), config, generator=rng, guide=guide)
    with pytest.raises(ValueError, match="guide must have the shapes"):
        coherence([exemplar], (9, 8), config, generator=rng, guide=guide)


@pytest.mark.parametrize("where", [(slice(14, 25), slice(20, 33)), (slice(0, 9), slice(30, 46))])
def test_a_hole_is_filled_and_the_rest_stays(where: tuple[slice, slice]) -> None:
    image = blobs(41, 46, 3)
    hole = np.zeros((41, 46), np.bool_)
    hole[where] = True
    image[hole] = (255, 0, 255)  # must not leak
    texture = inpaint(image, hole, CoherenceConfig(), generator=np.random.default_rng(0))
    assert (texture.pixels[~hole] == image[~hole]).all()
    assert (texture.sources[~hole] == -1).all()
    assert (texture.sources[hole] >= 0).all()
    assert copies(texture, image)
    rows, columns = texture.sources[hole][:, 1], texture.sources[hole][:, 2]
    assert whole_windows(~hole, 7)[rows, columns].all()


def test_a_hole_is_filled_from_another_exemplar_and_continues_the_image() -> None:
    rows, columns = np.mgrid[:48, :48]
    stripes = np.where(columns // 4 % 2, 220, 30).astype(np.uint8)[..., None]
    hole = (rows - 24) ** 2 + (columns - 24) ** 2 < 9**2
    image = np.where(hole[..., None], 128, stripes).astype(np.uint8)
    texture = inpaint(
        image,
        hole,
        CoherenceConfig(levels=2),
        generator=np.random.default_rng(0),
        exemplars=[stripes],
    )
    assert (texture.pixels == stripes).mean() > 0.99


def test_no_hole_leaves_the_image_alone() -> None:
    image = blobs(30, 30)
    texture = inpaint(
        image,
        np.zeros((30, 30), np.bool_),
        CoherenceConfig(),
        generator=np.random.default_rng(0),
    )
    assert (texture.pixels == image).all()
    assert (texture.sources == -1).all()


def test_a_hole_without_a_fitting_shape_or_surroundings_is_an_error() -> None:
    image, config, rng = blobs(20, 20), CoherenceConfig(), np.random.default_rng(0)
    with pytest.raises(ValueError, match="hole must be"):
        inpaint(image, np.zeros((20, 21), np.bool_), config, generator=rng)
    with pytest.raises(ValueError, match="0 usable pixels"):
        inpaint(image, np.ones((20, 20), np.bool_), config, generator=rng)
    with pytest.raises(ValueError, match="image's channels, 1, got 3"):
        inpaint(
            image, np.zeros((20, 20), np.bool_), config, generator=rng, exemplars=[blobs(20, 20, 3)]
        )


def test_exemplars_of_mixed_channels_or_without_their_masks_are_errors() -> None:
    with pytest.raises(ValueError, match="equally many channels"):
        synthesised([blobs(20, 20), blobs(20, 20, 3)], (9, 9))
    with pytest.raises(ValueError, match="at least 1 exemplar"):
        synthesised([], (9, 9))
    with pytest.raises(ValueError, match="threads must be at least 1"):
        synthesised([blobs(20, 20)], (9, 9), threads=0)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("k", 0), ("levels", 65), ("passes", 0), ("kappa", 0.9), ("tries", -1), ("label_cost", 256)],
)
def test_a_setting_out_of_its_range_is_an_error(setting: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{setting} must be .* got {value}"):
        CoherenceConfig(**{setting: value})
