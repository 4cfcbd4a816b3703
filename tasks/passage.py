"""One image on its way through the bulk engine."""

import threading
from dataclasses import dataclass, field

from PIL.Image import Image as PillowImage

from models.images import Picture
from models.tiling import TileGrid
from tasks.collection import Source


@dataclass(kw_only=True, eq=False)
class Passage:
    """A source, what the stages have made of it so far, and what it holds of the budgets."""

    source: Source
    data: bytes | None = None
    picture: Picture | None = None
    grid: TileGrid | None = None
    output: PillowImage | None = None
    begun: bool = False
    """Decoded and handed to the device: a stop lets it be finished."""
    remaining: int = 0
    ahead: int = 0
    reserved: int = 0
    error: Exception | None = None
    decode_s: float = 0.0
    infer_s: float = 0.0
    encode_s: float = 0.0
    size: tuple[int, int] | None = None
    output_size: tuple[int, int] | None = None
    output_bytes: int | None = None
    psnr: float | None = None
    ssim: float | None = None
    finished: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)
