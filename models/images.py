"""Image bytes to arrays and back: content decides the format, and one error says what is wrong."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any, Literal, TypeAlias

import numpy as np
from PIL import ExifTags, Image
from PIL.ImageFile import ImageFile

from models.image_files import (
    MAX_PIXELS,
    ImageError,
    check_png,
    explaining,
    frame_count,
    open_image,
)
from models.image_modes import profile_fits, reduce_to_8_bits, row_strips, to_pixels
from models.pixels import Pixels
from models.png import encode_png

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "Format",
    "Header",
    "ImageError",
    "Picture",
    "decode",
    "encode",
    "output_format",
    "read_header",
]

Format: TypeAlias = Literal["png", "webp", "jpeg"]

# fmt: off
IMAGE_SUFFIXES: frozenset[str] = frozenset({
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".gif", ".bmp", ".dib",
    ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".jp2", ".j2k", ".heic", ".heif",
})
# fmt: on
"""Lower-case suffixes that count as images by name, HEIC too: it fails, but is not skipped."""

_JPEG_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif"})
_MAX_SIDE = {"png": 2**31 - 1, "webp": 16383, "jpeg": 65535}
_MAX_JPEG_EXIF = 65533  # a JPEG segment holds no more

_ORIENTATION = 0x0112
_KEPT_EXIF = (
    0x010E,  # ImageDescription
    0x010F,  # Make
    0x0110,  # Model
    0x011A,  # XResolution
    0x011B,  # YResolution
    0x0128,  # ResolutionUnit
    0x0131,  # Software
    0x0132,  # DateTime
    0x013B,  # Artist
    0x8298,  # Copyright
    0x4746,  # Rating
)
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
# Interoperability, the stored size, and the maker note: its offsets break when it is moved.
_DROPPED_EXIF = frozenset({0xA005, 0xA002, 0xA003, 0x927C})


@dataclass(frozen=True, kw_only=True)
class Header:
    """What an image file says of itself, as stored; sides in pixels, before orientation."""

    width: int
    height: int
    mode: str
    format: str
    frames: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """One upright image.

    pixels: (H, W, C), C-contiguous, alpha straight: C = 1 gray, 2 gray + alpha, 3 RGB, 4 RGBA;
        uint8 in 0..255, or uint16 in 0..65535 for gray.
    icc: a profile that describes the pixels. exif: with its "Exif" prefix, orientation 1.
    remarks: a sentence on each conversion.

    Raises:
        ValueError: pixels of another shape or type.
    """

    pixels: Pixels
    icc: bytes | None = None
    exif: bytes | None = None
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shape, dtype = self.pixels.shape, self.pixels.dtype
        fits = len(shape) == 3 and min(shape) > 0 and shape[2] <= 4
        if not fits or not (dtype == np.uint8 or (dtype == np.uint16 and shape[2] == 1)):
            raise ValueError(
                f"pixels must be (H, W, 1..4) uint8 or (H, W, 1) uint16, got {shape} {dtype}"
            )


def read_header(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Header:
    """What the file says of itself; no pixel is decoded and no memory taken for any.

    Args:
        data: a whole file.
        max_pixels: width * height that is still accepted.
    Raises:
        ImageError: empty, not_an_image, unsupported_format, unsupported_mode, too_large,
            truncated or corrupt.
    """
    with open_image(data, max_pixels) as image:
        return Header(
            width=image.width,
            height=image.height,
            mode=image.mode,
            format=str(image.format),
            frames=frame_count(image, data),
        )


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """The upright picture of a file with one frame; of a phone's MPO, the primary one.

    Args:
        data: a whole file; its content decides the format.
        max_pixels: width * height that is still accepted, checked before anything is decoded.
    Raises:
        ImageError: those of `read_header`, and animated.
    """
    with open_image(data, max_pixels) as image:
        frames = frame_count(image, data)
        if frames > 1:
            raise ImageError("animated", f"animated: {frames} frames, wanted a single image")
        if image.format == "PNG":
            check_png(data)
        with explaining(data, str(image.format)):
            image.load()
            orientation, exif, exif_remarks = _read_exif(image)
            pixels, icc, remarks = to_pixels(image, data, orientation)
    return Picture(pixels=pixels, icc=icc, exif=exif, remarks=remarks + exif_remarks)


def _read_exif(image: ImageFile) -> tuple[int, bytes | None, tuple[str, ...]]:
    """Orientation (1..8), the EXIF still true of an upright copy, and a remark if unread."""
    try:
        found = image.getexif()
        orientation = found.get(_ORIENTATION, 1)
        kept = Image.Exif()
        kept.endian = found.endian
        for tag in _KEPT_EXIF:
            if tag in found:
                kept[tag] = found[tag]
        for ifd in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
            entries = {k: v for k, v in found.get_ifd(ifd).items() if k not in _DROPPED_EXIF}
            if entries:
                kept[ifd] = entries
        if len(kept) and _ORIENTATION in found:
            kept[_ORIENTATION] = 1
        exif = kept.tobytes() if len(kept) else None
    except Exception as error:  # noqa: BLE001 - untrusted bytes; the remark says what was lost
        return 1, None, (f"EXIF dropped, it could not be read: {error or type(error).__name__}",)
    return orientation if orientation in range(1, 9) else 1, exif, ()


def encode(picture: Picture, format: Format) -> bytes:  # noqa: A002 - the field's own name for it
    """File bytes of a picture, the same for the same picture; see `save`."""
    image = _image(picture.pixels)
    return save(image, format, icc=picture.icc, exif=picture.exif)


def blank(height: int, width: int, channels: int, dtype: np.dtype[Any]) -> Image.Image:
    """A Pillow image to draw pixels of that shape and type into, part by part.

    What is drawn there need not be copied to be saved, and 16000 x 12000 pixels are 768 MB.
    """
    mode = "I;16" if dtype == np.uint16 else _MODES[channels]
    return Image.new(mode, (width, height))


def draw(image: Image.Image, pixels: Pixels, top: int, left: int) -> None:
    """Put (H, W, C) pixels into an image made by `blank`."""
    image.paste(_image(pixels), (left, top))


def pixels_of(image: Image.Image) -> Pixels:
    """A copy of an image made by `blank`, as (H, W, C)."""
    pixels: Pixels = np.array(image)
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def save(
    image: Image.Image,
    format: Format,  # noqa: A002
    *,
    icc: bytes | None = None,
    exif: bytes | None = None,
) -> bytes:
    """File bytes of an image made by `blank`, the same for the same image.

    PNG is lossless, 16-bit gray included. WebP (quality 90) and JPEG (quality 95, 4:4:4) hold
    8 bits; JPEG shows alpha over white, and EXIF that exceeds its 65533 bytes is left out. WebP
    has no gray, so that a gray profile is left out.

    Raises:
        ImageError: too_large_for_format; not_encodable, when the encoder itself refuses.
    """
    size = f"{image.width} x {image.height} pixels"
    if max(image.size) > _MAX_SIDE[format]:
        raise ImageError(
            "too_large_for_format",
            f"{size} are too large for {format}: want at most {_MAX_SIDE[format]} on a side",
        )
    if format != "png" and image.mode == "I;16":
        image = _image(reduce_to_8_bits(pixels_of(image)))
    if format == "jpeg" and image.mode in ("LA", "RGBA"):
        image = _image(_over_white(pixels_of(image)))
    channels = len(image.getbands())
    if format == "png":
        fitting = icc if profile_fits(icc, channels) else None
        return encode_png(pixels_of(image), icc=fitting, exif=exif)
    options = _save_options(icc, exif, channels, format)
    buffer = BytesIO()
    try:
        image.save(buffer, format=format, **options)
    except (OSError, ValueError) as error:
        raise ImageError(
            "not_encodable", f"{size} could not be written as {format}: {error}"
        ) from error
    return buffer.getvalue()


def _save_options(
    icc: bytes | None,
    exif: bytes | None,
    channels: int,
    format: Literal["webp", "jpeg"],  # noqa: A002
) -> dict[str, Any]:
    options: dict[str, Any] = {
        "webp": {"quality": 90, "method": 4},
        "jpeg": {"quality": 95, "subsampling": 0},
    }[format]
    stored_channels = 3 if format == "webp" else channels
    if profile_fits(icc, stored_channels):
        options["icc_profile"] = icc
    if exif and not (format == "jpeg" and len(exif) > _MAX_JPEG_EXIF):
        options["exif"] = exif
    return options


def _over_white(pixels: Pixels) -> Pixels:
    """(H, W, 2 or 4) uint8 with straight alpha to (H, W, 1 or 3) over white, to the nearest."""
    shown = np.empty((*pixels.shape[:2], pixels.shape[2] - 1), np.uint8)
    for rows in row_strips(pixels):
        alpha = pixels[rows, :, -1:].astype(np.uint16)
        shown[rows] = (pixels[rows, :, :-1] * alpha + 255 * (255 - alpha) + 127) // 255
    return shown


def _image(pixels: Pixels) -> Image.Image:
    """Pillow's view, or copy, of (H, W, C) pixels."""
    contiguous = np.ascontiguousarray(pixels)  # no copy for the usual array
    return Image.fromarray(contiguous[:, :, 0] if pixels.shape[2] == 1 else contiguous)


def output_format(name: str, wanted: Literal["png", "webp", "jpeg", "keep"]) -> Format:
    """The format to write; "keep" follows the name's suffix, PNG unless it is JPEG or WebP."""
    if wanted != "keep":
        return wanted
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in _JPEG_SUFFIXES:
        return "jpeg"
    return "webp" if suffix == ".webp" else "png"
