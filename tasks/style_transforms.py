"""A stylize request as the bulk engine's transform: by a trained painter, or by optimisation."""

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from models.images import Header, ImageError, decode
from models.pixels import Pixels
from models.style_inputs import Canvas, canvas_of, put_back
from tasks import storage
from tasks.collection import Source
from tasks.failures import persistently
from tasks.loss_curves import LossCurves
from tasks.runs import RunProgress, StoppedError

if TYPE_CHECKING:
    import torch

    from models.feature_windows import FeatureExtractor
    from models.style_brush import Brush
    from models.style_optimisation import Style
    from tasks.stylizing import StylizeRequest

_PAINT_BYTES = 40  # for each pixel beside the tiles: source, output, maps at a quarter of the side
_TILE_BYTES = 700  # for each pixel of a tile
_OPTIMISE_BYTES = 260  # for each pixel, beside the network's window and the optimiser's history
_OPTIMISE_FIXED = 3 * 2**30

_building = threading.Lock()


def _pixels_out(header: Header, longest: int | None) -> int:
    scale = 1.0 if longest is None else longest / max(header.width, header.height)
    return int(header.width * header.height * scale**2) + 1


class PaintTransform:
    """Paints one picture at a time with a trained painter's brush."""

    def __init__(self, request: "StylizeRequest") -> None:
        self._request = request
        self._brush: Brush | None = None

    def bytes_needed(self, header: Header, /) -> int:
        """What painting holds at its peak."""
        pixels = _pixels_out(header, self._request.size)
        return pixels * _PAINT_BYTES + min(pixels, self._request.tile**2) * _TILE_BYTES

    def __call__(self, pictures: Pixels, sources: Sequence[Source], /) -> list[Pixels]:
        """(N, H, W, C) pictures -> painted ones, alpha kept."""
        return [self._one(pixels) for pixels in pictures[: len(sources)]]

    def _one(self, pixels: Pixels) -> Pixels:
        from models.style_painting import paint_with

        canvas = canvas_of(pixels, self._request.size)
        painted = paint_with(self._ready(), canvas.colour, tile=self._request.tile)
        if self._request.original_colors:
            painted = _own_colors(painted, canvas)
        return put_back(painted, canvas, gray=canvas.gray and self._request.original_colors)

    def _ready(self) -> "Brush":
        from models.style_brush import brush_of
        from models.style_feedforward import blend_weights
        from tasks.painters import load_painter

        with _building:
            if self._brush is None:
                painter = load_painter(self._request.model, self._request.registry)
                wanted = [(style.name, style.weight) for style in self._request.weighted()]
                weights = blend_weights(painter.styles, wanted).to(painter.device)
                self._brush = brush_of(painter.network, weights)
            return self._brush


class OptimiseTransform:
    """Optimises one picture at a time; a stop ends it within an iteration."""

    def __init__(
        self, request: "StylizeRequest", *, curves: LossCurves, progress: RunProgress
    ) -> None:
        self._request = request
        self._curves = curves
        self._progress = progress
        self._features: FeatureExtractor | None = None
        self._styles: list[torch.Tensor] | None = None

    def bytes_needed(self, header: Header, /) -> int:
        """What the optimiser holds at its peak."""
        return _OPTIMISE_FIXED + _pixels_out(header, self._request.size) * _OPTIMISE_BYTES

    def __call__(self, pictures: Pixels, sources: Sequence[Source], /) -> list[Pixels]:
        """(N, H, W, C) pictures -> stylized ones, alpha kept.

        Raises:
            ImageError: unsuitable: what is asked cannot be done with this picture.
            StoppedError: the run was asked to stop.
        """
        return [self._one(pixels, src) for pixels, src in zip(pictures, sources, strict=True)]

    def _one(self, pixels: Pixels, source: Source) -> Pixels:
        canvas = canvas_of(pixels, self._request.size)
        try:
            made = self._optimised(canvas, source)
        except (ValueError, ArithmeticError) as error:
            if isinstance(error, ImageError | storage.StorageError):
                raise
            raise ImageError("unsuitable", str(error)) from error
        finally:
            self._progress.under_way.pop(source.uri, None)
        return put_back(made, canvas, gray=canvas.gray and self._request.original_colors)

    def _optimised(self, canvas: Canvas, source: Source) -> Pixels:
        import torch

        from models.style_optimisation import level_iterations, stylize

        request, curve = self._request, self._curves.of(source.uri)
        features = self._network()
        config = request.optimisation(_kind(request))
        content = unit_range(canvas.colour)
        iterations = sum(level_iterations((content.shape[2], content.shape[3]), config))

        def told(step: int, losses: dict[str, float]) -> None:
            if self._progress.stop.is_set():
                raise StoppedError(f"stopped within {source.uri}")
            self._progress.under_way[source.uri] = step / max(1, iterations)
            curve.losses(step, losses)

        made = stylize(
            content,
            self._weighted(source, (content.shape[2], content.shape[3])),
            features,
            config,
            generator=torch.Generator().manual_seed(request.seed),
            start_image=self._start(),
            progress=told,
            on_picture=lambda step, picture: curve.picture(step, lambda: levels(picture)),
        )
        curve.finish()
        return levels(made)

    def _network(self) -> "FeatureExtractor":
        from tasks.features import load_features

        with _building:
            if self._features is None:
                kind = _kind(self._request)
                layers = self._request.optimisation(kind).loss.layers
                self._features = load_features(
                    self._request.features, kind=kind, layers=layers, pooling="average"
                )
            return self._features

    def _weighted(self, source: Source, size: tuple[int, int]) -> "list[Style]":
        from models.style_optimisation import Style

        wanted = self._request.weighted()
        with _building:
            if self._styles is None:
                self._styles = [unit_range(canvas_of(_read(s.name)).colour) for s in wanted]
        masks: list[torch.Tensor | None] = [None] * len(wanted)
        if self._request.masks:
            masks = [_mask(place, source, size) for place in self._request.masks]
        return [
            Style(pixels=pixels, weight=style.weight, mask=mask)
            for pixels, style, mask in zip(self._styles, wanted, masks, strict=True)
        ]

    def _start(self) -> "torch.Tensor | None":
        if self._request.start in ("content", "noise"):
            return None
        return unit_range(canvas_of(_read(self._request.start)).colour)


def _kind(request: "StylizeRequest") -> Literal["vgg19", "vgg16", "squeezenet1_0"]:
    from tasks.features import locate_features

    return locate_features(request.features, request.network).kind


def _read(uri: str) -> Pixels:
    return decode(persistently(lambda: storage.read(uri))).pixels


def _mask(place: str, source: Source, size: tuple[int, int]) -> "torch.Tensor":
    """Where a style applies, (1, 1, H, W) in 0..1, from one image or from one at the same path."""
    import torch.nn.functional as F

    uri = storage.join(place, source.relative) if storage.is_folder(place) else place
    white = unit_range(canvas_of(_read(uri)).colour)[:, :1]
    return F.interpolate(white, size=size, mode="area")


def unit_range(colour: Pixels) -> "torch.Tensor":
    """(H, W, 3) uint8 -> (1, 3, H, W) in 0..1."""
    import torch

    planes = np.ascontiguousarray(colour.transpose(2, 0, 1), np.float32) / 255
    return torch.from_numpy(planes)[None]


def levels(picture: "torch.Tensor") -> Pixels:
    """(1, 3, H, W) in 0..1 -> (H, W, 3) uint8."""
    import torch

    rounded = (picture.detach()[0] * 255).round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(rounded.permute(1, 2, 0).cpu().numpy())


def _own_colors(painted: Pixels, canvas: Canvas) -> Pixels:
    from models.original_colors import with_original_colors

    return levels(with_original_colors(unit_range(painted), unit_range(canvas.colour)))
