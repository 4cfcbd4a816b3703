"""Texture by k-coherence search on a pyramid: fast, tiling, guided by labels, and for holes.

Ashikhmin 2001, "Synthesizing natural textures", proposes what continues the neighbours; Tong et al.
2002, "Synthesis of bidirectional texture functions", adds the windows most like it. Differences:
whole windows instead of causal ones, corrected in several passes from a coarse level's result (as
in Lefebvre and Hoppe 2005); a source that continues no neighbour's must be better by a factor
kappa; proposals of random windows at the coarsest level.
"""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np

from models.texture_atlas import Atlas, atlas_levels, similar_windows
from models.texture_carving import carve
from models.texture_coherence_search import CLASS_STEP, Canvas, Rules, search_pass
from models.texture_guide import Guide, fitting_levels, numbered_labels
from models.texture_pixels import (
    Bytes,
    Indices,
    Mask,
    Progress,
    Texture,
    check_pixels,
    check_size,
    check_window,
    children,
    halved,
    level_sizes,
    usable_mask,
)

_MOST_TRIES = 2**24  # random proposals in memory at once


@dataclass(frozen=True, kw_only=True)
class CoherenceConfig:
    """How to search; the defaults look best, k = 1 is the fast setting.

    window: odd side of the neighbourhood, pixels. k: windows like a neighbour's continuation that
    are proposed, itself included. levels: of the pyramid, fewer for a small exemplar. passes: over
    the finest level, and twice as many over each coarser one. kappa: a source that continues no
    neighbour's must be better by this factor. tries: random proposals for a pixel of the coarsest
    level in each pass. label_cost: what a neighbour of another label counts, as a difference in
    levels in each channel.

    Raises:
        ValueError: a value is out of its range.
    """

    window: int = 7
    k: int = 4
    levels: int = 4
    passes: int = 3
    kappa: float = 1.1
    tries: int = 8
    label_cost: float = 64.0

    def __post_init__(self) -> None:
        check_window(self.window)
        for name in ("k", "levels", "passes"):
            if not 1 <= getattr(self, name) <= 64:
                raise ValueError(f"{name} must be 1 to 64, got {getattr(self, name)}")
        if not 0 <= self.tries <= 1024:
            raise ValueError(f"tries must be 0 to 1024, got {self.tries}")
        if not 1 <= self.kappa < math.inf:
            raise ValueError(f"kappa must be at least 1, got {self.kappa}")
        if not 0 <= self.label_cost <= 255:
            raise ValueError(f"label_cost must be 0 to 255 levels, got {self.label_cost}")


def _draw(atlas: Atlas, labels: Indices, generator: np.random.Generator, count: int) -> Indices:
    """Random usable pixel numbers of the same label: (..., count) for labels (...)."""
    numbers = np.flatnonzero(atlas.usable)
    owned = atlas.labels.ravel()[numbers]
    numbers = numbers[np.argsort(owned, kind="stable")].astype(np.int32)
    ends = np.cumsum(np.bincount(owned))
    first = np.concatenate([[0], ends])[labels][..., None]
    many = ends[labels][..., None] - first
    drawn = generator.random((*labels.shape, count))
    chosen: Indices = numbers[first + (drawn * many).astype(np.int64)]
    return chosen


def _start(atlas: Atlas, canvas: Canvas, generator: np.random.Generator) -> None:
    """Give every free pixel without a source of its label a random one."""
    free = ~canvas.given
    sourced = canvas.sources >= 0
    labels = atlas.labels.ravel()[np.where(sourced, canvas.sources, 0)]
    lost = free & ~(sourced & (labels == canvas.labels))
    canvas.sources[lost] = _draw(atlas, canvas.labels[lost], generator, 1)[..., 0]
    channels = atlas.pixels.shape[2]
    canvas.pixels[free] = atlas.pixels.reshape(-1, channels)[canvas.sources[free]]


def _inherit(atlas: Atlas, canvas: Canvas, coarser: Atlas, parent: Canvas) -> None:
    """Take the children of the parents' sources; none where the parent was given.

    A side that is odd has one row or column less than there are children.
    """
    rows, columns = np.divmod(parent.sources, coarser.usable.shape[1])
    owner = np.searchsorted(coarser.tops, rows, side="right") - 1
    inside = np.stack([rows - coarser.tops[owner], columns], axis=2)
    twice = 2 * rows.shape[0], 2 * rows.shape[1]
    finer = children(inside, twice)
    tops, known = (a.repeat(2, 0).repeat(2, 1) for a in (atlas.tops[owner], parent.sources >= 0))
    sources = (finer[..., 0] + tops) * atlas.usable.shape[1] + finer[..., 1]
    sources = np.where(known, sources, -1).astype(np.int32)
    if twice != canvas.sources.shape:
        pixels = atlas.pixels.reshape(-1, atlas.pixels.shape[2])[sources]
        sources = carve(pixels, sources, canvas.sources.shape)
    canvas.sources[:] = np.where(canvas.given, -1, sources)


def _synthesize(
    atlases: list[Atlas],
    canvases: list[Canvas],
    config: CoherenceConfig,
    generator: np.random.Generator,
    threads: int,
    progress: Progress | None,
) -> Texture:
    """Fill the canvases, from the coarsest (the last) to the finest."""
    guided = any(canvas.labels.any() for canvas in canvases)
    cost = round(config.label_cost**2) * atlases[0].pixels.shape[2] if guided else 0
    rules = Rules(config.window, float(config.kappa), cost)
    steps, done = config.passes * sum(c.given.size << n for n, c in enumerate(canvases)), 0
    with ThreadPoolExecutor(threads) if threads > 1 else nullcontext() as pool:
        for n in reversed(range(len(canvases))):
            atlas, canvas = atlases[n], canvases[n]
            if n + 1 < len(canvases):
                _inherit(atlas, canvas, atlases[n + 1], canvases[n + 1])
            _start(atlas, canvas, generator)
            similar = similar_windows(atlas, window=config.window, k=config.k, threads=threads)
            coarsest = n + 1 == len(canvases)
            tries = min(config.tries, _MOST_TRIES // canvas.given.size) if coarsest else 0
            for _ in range(config.passes << n):
                more = _draw(atlas, canvas.labels, generator, tries)
                order = generator.permutation(CLASS_STEP**2)
                search_pass(atlas, similar, canvas, rules, more, order, pool, threads)
                done += canvas.given.size
                if progress:
                    progress(done / steps)
    return _texture(atlases[0], canvases[0])


def _texture(atlas: Atlas, canvas: Canvas) -> Texture:
    """The finished canvas, its sources as exemplar, row and column."""
    rows, columns = np.divmod(canvas.sources, atlas.usable.shape[1])
    owner = np.searchsorted(atlas.tops, rows, side="right") - 1
    sources = np.stack([owner, rows - atlas.tops[owner], columns], axis=2).astype(np.int32)
    sources[canvas.given] = -1
    return Texture(pixels=canvas.pixels.astype(np.uint8), sources=sources)


def coherence(
    exemplars: Sequence[Bytes],
    size: tuple[int, int],
    config: CoherenceConfig,
    *,
    generator: np.random.Generator,
    valid: Sequence[Mask | None] | None = None,
    guide: Guide | None = None,
    threads: int = 1,
    progress: Progress | None = None,
) -> Texture:
    """Synthesise a texture that tiles from one or more exemplars.

    Args:
        exemplars: (H, W, C) uint8 each, C = 1 or 3, the same in all.
        size: (height, width) of the output.
        valid: (H, W) usable pixels of each exemplar, or None for all.
        guide: labels of the exemplars and of the output: every output pixel comes from a window
            about an exemplar pixel of its label.
        threads: that share the work; the result does not depend on them.
    Raises:
        ValueError: no whole window of usable pixels (of a label), or an argument of another shape
            or type.
    """
    check_size(size)
    usable = _usable(exemplars, valid, threads)
    names, wanted, owned = numbered_labels(usable, size, guide)
    atlases = atlas_levels(exemplars, usable, owned, window=config.window, levels=config.levels)
    atlases = fitting_levels(atlases, names, usable, config.window)
    canvases = _blank(wanted, exemplars[0].shape[2], len(atlases))
    return _synthesize(atlases, canvases, config, generator, threads, progress)


def _blank(labels: Indices, channels: int, levels: int) -> list[Canvas]:
    """Canvases with nothing given, the finest first."""
    canvases = []
    for size in level_sizes(labels.shape, levels)[::-1]:
        pixels, sources = np.zeros((*size, channels), np.int16), np.full(size, -1, np.int32)
        canvases.append(Canvas(pixels, sources, np.zeros(size, np.bool_), labels))
        labels = np.ascontiguousarray(labels[::2, ::2])
    return canvases


def inpaint(
    image: Bytes,
    hole: Mask,
    config: CoherenceConfig,
    *,
    generator: np.random.Generator,
    exemplars: Sequence[Bytes] | None = None,
    valid: Sequence[Mask | None] | None = None,
    threads: int = 1,
    progress: Progress | None = None,
) -> Texture:
    """Fill a hole with texture; the other pixels stay, and have no source.

    A hole across large things that the exemplars show only once keeps a visible edge; more `tries`
    help a little, and cost little.

    Args:
        image: (H, W, 1 or 3) uint8. hole: (H, W) what is filled.
        exemplars, valid: as in `coherence`; by default the image outside its hole.
        threads: that share the work; the result does not depend on them.
    Raises:
        ValueError: no whole window of usable pixels, or an argument of another shape or type.
    """
    _check_hole(image, hole)
    if exemplars is None:
        exemplars, valid = [image], [~hole]
    usable = _usable(exemplars, valid, threads)
    wanted, got = image.shape[2], exemplars[0].shape[2]
    if got != wanted:
        raise ValueError(f"exemplars must have the image's channels, {wanted}, got {got}")
    owned = [np.zeros(mask.shape, np.int32) for mask in usable]
    atlases = atlas_levels(exemplars, usable, owned, window=config.window, levels=config.levels)
    atlases = fitting_levels(atlases, [0], usable, config.window)
    canvases = _holed(image, hole, config.window, len(atlases))
    done = _synthesize(atlases, canvases, config, generator, threads, progress)
    height, width = hole.shape
    return Texture(pixels=done.pixels[:height, :width], sources=done.sources[:height, :width])


def _check_hole(image: Bytes, hole: Mask) -> None:
    check_pixels(image, "an image")
    if hole.dtype != np.bool_ or hole.shape != image.shape[:2]:
        raise ValueError(f"hole must be {image.shape[:2]} bool, got {hole.shape} {hole.dtype}")


def _holed(image: Bytes, hole: Mask, window: int, levels: int) -> list[Canvas]:
    """The image's levels, the finest first, with a margin to fill that keeps its edges apart."""
    step = 2 ** (levels - 1)
    ends = [(0, -side % step + (window // 2) * step) for side in hole.shape]
    pixels = np.pad(image.astype(np.int16), [*ends, (0, 0)], mode="edge")
    given = np.pad(~hole, ends)
    canvases: list[Canvas] = []
    while True:
        sources = np.full(given.shape, -1, np.int32)
        canvases.append(Canvas(pixels, sources, given, np.zeros(given.shape, np.int32)))
        if len(canvases) == levels:
            return canvases
        pixels, given = halved(pixels, given)


def _usable(
    exemplars: Sequence[Bytes], valid: Sequence[Mask | None] | None, threads: int
) -> list[Mask]:
    """The mask of each exemplar, all arguments checked."""
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    masks = [None] * len(exemplars) if valid is None else list(valid)
    if not exemplars or len(masks) != len(exemplars):
        raise ValueError(
            f"want at least 1 exemplar, and a mask for each, got {len(exemplars)}, {len(masks)}"
        )
    usable = [usable_mask(image, mask) for image, mask in zip(exemplars, masks, strict=True)]
    channels = sorted({exemplar.shape[2] for exemplar in exemplars})
    if len(channels) > 1:
        raise ValueError(f"exemplars must have equally many channels, got {channels}")
    return usable
