"""A texture request as the bulk engine's transform: one exemplar in, one texture out."""

import hashlib
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from models.image_modes import reduce_to_8_bits
from models.images import Header, ImageError, decode
from models.pixels import Pixels
from models.texture import (
    Exemplars,
    alike,
    colour_and_mask,
    copy_texture,
    default_size,
    grown,
    hole_of_alpha,
    parse_size,
)
from models.texture_pixels import Bytes, Mask
from tasks import storage
from tasks.collection import Source
from tasks.failures import persistently
from tasks.loss_curves import LossCurves
from tasks.runs import RunProgress, StoppedError

if TYPE_CHECKING:
    from models.feature_windows import FeatureExtractor
    from tasks.texturing import TextureRequest

_COPYING_BYTES = 90  # for each output pixel, measured at 16 megapixels
_EXEMPLAR_BYTES = 600  # for each exemplar pixel: neighbourhoods, their principal components, tree
_GRAM_BYTES = 220  # for each output pixel, beside the network's window and the optimiser's history
_GRAM_FIXED = 3 * 2**30

_building = threading.Lock()


class TextureTransform:
    """Makes the texture of one picture at a time; a stop ends it within an iteration."""

    def __init__(
        self,
        request: "TextureRequest",
        *,
        curves: LossCurves,
        progress: RunProgress,
        threads: int,
    ) -> None:
        self._request = request
        self._curves = curves
        self._progress = progress
        self._threads = threads
        self._size = parse_size(request.size)
        self._others: list[Pixels] | None = None
        self._guide: Bytes | None = None
        self._features: FeatureExtractor | None = None

    def bytes_needed(self, header: Header, /) -> int:
        """What a synthesis holds at its peak."""
        pixels = header.width * header.height
        height, width = self._size or (2 * header.height, 2 * header.width)
        output = pixels if self._request.inpaint else height * width
        if self._request.method == "gram":
            return _GRAM_FIXED + output * _GRAM_BYTES
        return output * _COPYING_BYTES + pixels * _EXEMPLAR_BYTES

    def __call__(self, pictures: Pixels, sources: Sequence[Source], /) -> list[Pixels]:
        """(N, H, W, C) pictures -> their textures, 8 bits, gray or RGB.

        Raises:
            ImageError: unsuitable: the picture cannot be an exemplar for what is asked.
            StoppedError: the run was asked to stop.
        """
        return [self._one(pixels, src) for pixels, src in zip(pictures, sources, strict=True)]

    def _one(self, pixels: Pixels, source: Source) -> Pixels:
        seed = _seed(self._request.seed, pixels)
        try:
            if self._request.method == "gram":
                return self._gram(pixels, source, seed)
            return self._copied(pixels, source, seed)
        except (ValueError, ArithmeticError) as error:
            if isinstance(error, ImageError | storage.StorageError):
                raise
            raise ImageError("unsuitable", str(error)) from error
        finally:
            self._progress.under_way.pop(source.uri, None)

    def _copied(self, pixels: Pixels, source: Source, seed: int) -> Pixels:
        return copy_texture(
            pixels,
            self._size,
            self._request.copying(),
            self._exemplars(pixels, source),
            generator=np.random.default_rng(seed),
            threads=self._threads,
            progress=self._teller(source),
        )

    def _gram(self, pixels: Pixels, source: Source, seed: int) -> Pixels:
        import torch

        from models.texture_gram import gram_texture, level_iterations

        config, curve, tell = (
            self._request.gram(),
            self._curves.of(source.uri),
            self._teller(source),
        )
        colour, usable = colour_and_mask(pixels)
        height, width = self._size or default_size(colour)
        sides = (colour.shape[0], colour.shape[1])
        iterations = sum(level_iterations(sides, (height, width), config))

        def told(step: int, losses: dict[str, float]) -> None:
            curve.losses(step, losses)
            tell(step / iterations)

        made = gram_texture(
            alike(colour, 3),
            (height, width),
            self._network(),
            config,
            generator=torch.Generator().manual_seed(seed % 2**63),
            valid=usable,
            progress=told,
        )
        curve.finish()
        return alike(made, colour.shape[2])

    def _teller(self, source: Source) -> Callable[[float], None]:
        def tell(share: float) -> None:
            if self._progress.stop.is_set():
                raise StoppedError(f"stopped within {source.uri}")
            self._progress.under_way[source.uri] = share

        return tell

    def _network(self) -> "FeatureExtractor":
        with _building:
            if self._features is None:
                self._features = _features(self._request)
            return self._features

    def _exemplars(self, pixels: Pixels, source: Source) -> Exemplars:
        request = self._request
        with _building:
            if self._others is None:
                self._others = [_read(uri) for uri in request.exemplars]
                self._guide = _read(request.guide) if request.guide else None
        labels = _read(storage.join(request.labels, source.relative)) if request.labels else None
        return Exemplars(
            others=self._others,
            hole=self._hole(pixels, source),
            labels=labels,
            guide=self._guide,
        )

    def _hole(self, pixels: Pixels, source: Source) -> Mask | None:
        where = self._request.inpaint
        if where is None:
            return None
        if where == "alpha":
            hole = hole_of_alpha(pixels)
            if hole is None:
                raise ImageError("unsuitable", "nothing to fill: no pixel is transparent")
            return hole
        mask = _read(storage.join(where, source.relative))
        if mask.shape[:2] != pixels.shape[:2]:
            got, wanted = mask.shape, pixels.shape
            raise ImageError(
                "unsuitable",
                f"the mask is {got[1]}x{got[0]} pixels, wanted {wanted[1]}x{wanted[0]}",
            )
        return grown(mask[..., 0] >= 128, 0)


def _read(uri: str) -> Bytes:
    """The 8-bit pixels of a picture that an option names."""
    return reduce_to_8_bits(decode(persistently(lambda: storage.read(uri))).pixels)


def _features(request: "TextureRequest") -> "FeatureExtractor":
    import torch

    from models.random_features import RandomFeatures
    from models.texture_objective import texture_layers
    from tasks.features import load_features, locate_features

    if request.network == "random":
        return RandomFeatures(torch.Generator().manual_seed(0))
    kind = locate_features(request.features, request.network).kind
    layers = request.layers or texture_layers(kind)
    return load_features(request.features, kind=kind, layers=layers, pooling=request.pooling)


def _seed(seed: int, pixels: Pixels) -> int:
    """The request's seed and the exemplar's pixels decide: not its name, nor what ran before."""
    digest = hashlib.blake2b(np.ascontiguousarray(pixels).tobytes(), digest_size=8)
    digest.update(f"{pixels.shape} {seed}".encode())
    return int.from_bytes(digest.digest(), "big")
