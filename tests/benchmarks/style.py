"""What a painter is worth: python -m tests.benchmarks.style ratio|quality [PAINTER] [options].

ratio: seconds of one pass against 500 iterations of L-BFGS through VGG19 (Gatys 2016), same size,
same machine, one thread, one run: the median of passes, and of iterations, times 500.

quality: on held-out photographs, for every style, the objective of the painter's output beside
what the optimiser has after 5 to 100 iterations, from the photograph and from noise:
... quality PAINTER PHOTOGRAPHS STYLES (a folder of NAME.jpg).
"""

import statistics
import sys
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from models.features import FeatureNetwork, random_state
from models.gram import gram_targets
from models.pixel_optimisation import PixelOptimisationConfig, optimise_pixels
from models.style_brush import brush_of
from models.style_feedforward import blend_weights
from models.style_loss import StyleLossConfig, style_loss
from models.style_optimisation import Style, StyleConfig, gatys_loss, stylize
from models.style_painting import paint_with
from tasks.features import load_features
from tasks.painters import LoadedPainter, load_painter

_MARKS = (5, 10, 25, 50, 100)
_SIDE, _PHOTOGRAPHS = 256, 2


def picture(path: Path, side: int, *, square: bool = False) -> Tensor:
    """(1, 3, H, W) in 0..1 with a shorter side of so many pixels; its middle where square."""
    image = Image.open(path).convert("RGB")
    scale = side / min(image.size)
    size = max(side, round(image.width * scale)), max(side, round(image.height * scale))
    image = image.resize(size, Image.Resampling.BICUBIC)
    if square:
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float().contiguous() / 255


def ratio(painter: LoadedPainter) -> None:
    """The table of seconds; the weights of VGG19 do not matter for its time."""
    random = torch.Generator().manual_seed(0)
    loss = gatys_loss("vgg19")
    features = FeatureNetwork("vgg19", random_state("vgg19", random), layers=loss.layers)
    brush = brush_of(painter.network, blend_weights(painter.styles, [(painter.styles[0], 1.0)]))
    print("| side | one pass, s | an iteration, s | 500 iterations, s | ratio |")
    print("|---|---|---|---|---|")
    for side in (256, 512):
        pixels = (torch.rand(side, side, 3, generator=random) * 255).byte().numpy()
        passes = [_seconds(lambda p=pixels: paint_with(brush, p)) for _ in range(9)]
        steps = _iterations(side, features, loss, count=6)
        one, step = statistics.median(passes), statistics.median(steps)
        print(f"| {side} | {one:.4f} | {step:.2f} | {500 * step:.0f} | {500 * step / one:.0f} |")


def _seconds(work: object) -> float:
    began = time.perf_counter()
    work()  # type: ignore[operator]
    return time.perf_counter() - began


def _iterations(
    side: int, features: FeatureNetwork, loss: StyleLossConfig, *, count: int
) -> list[float]:
    """Seconds between iterations, the first left out."""
    random = torch.Generator().manual_seed(0)
    content, style = (torch.rand(1, 3, side, side, generator=random) for _ in range(2))
    times: list[float] = []
    stylize(
        content,
        [Style(pixels=style)],
        features,
        StyleConfig(loss=loss, iterations=count, levels=1),
        generator=random,
        progress=lambda _step, _losses: times.append(time.perf_counter()),
    )
    return [later - earlier for earlier, later in pairwise(times[1:])]


def quality(painter: LoadedPainter, photographs: Path, styles: Path) -> None:
    """The table of objectives: mean over photographs, for every style."""
    config = StyleLossConfig()
    features = load_features(None, kind=config.network, layers=config.layers)
    paths = sorted(photographs.iterdir())[:_PHOTOGRAPHS]
    contents = [picture(path, _SIDE, square=True) for path in paths]
    marks = [f"{start} {mark}" for start in ("photograph", "noise") for mark in _MARKS]
    print(f"| style | photograph itself | painter | {' | '.join(marks)} |")
    print(f"|{'---|' * (3 + len(marks))}")
    for name in painter.styles:
        style = picture(next(styles.glob(f"{name}.*")), _SIDE)
        with torch.no_grad():
            targets = gram_targets(features(style))
        rows = [_scores(painter, name, c, features, targets, config) for c in contents]
        means = np.mean(rows, axis=0)
        print(f"| {name} | {' | '.join(f'{value:.2f}' for value in means)} |", flush=True)


def _scores(
    painter: LoadedPainter,
    name: str,
    content: Tensor,
    features: FeatureNetwork,
    targets: Mapping[str, Tensor],
    config: StyleLossConfig,
) -> list[float]:
    with torch.no_grad():
        wanted = features.up_to(content, config.content_layer)

    def objective(output: Tensor) -> dict[str, Tensor]:
        parts = style_loss(output, features(output), wanted, targets, config)
        return {key: value.sum() for key, value in parts.items()}

    with torch.no_grad():
        painted = painter.network(content, blend_weights(painter.styles, [(name, 1.0)]))
        found = [float(objective(x)["total"]) for x in (content, painted.clamp(0, 1))]
    noise = 0.5 + 0.1 * torch.randn(content.shape, generator=torch.Generator().manual_seed(0))
    for start in (content, noise):
        totals: dict[int, float] = {}
        optimise_pixels(
            start,
            objective,
            PixelOptimisationConfig(iterations=max(_MARKS)),
            progress=lambda step, losses, t=totals: t.__setitem__(step, losses["total"]),
        )
        found += [totals[mark] for mark in _MARKS]
    return found


def main() -> None:
    what, ref = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "painter"
    torch.set_num_threads(1)
    if what == "ratio":
        ratio(load_painter(ref))
    else:
        quality(load_painter(ref), Path(sys.argv[3]), Path(sys.argv[4]))


if __name__ == "__main__":
    main()
