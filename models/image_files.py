"""Image files as bytes: which format they are, how large, whether whole, and what is wrong."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

from PIL import Image
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

# The limit is checked here, on the header and for each call. Pillow's own is a process-wide global
# that warns before it raises, and a warning cannot be caught per thread.
Image.MAX_IMAGE_PIXELS = None

MAX_PIXELS = 178_956_970
"""Pixels above which an image is refused unless the caller says otherwise: Pillow's hard limit."""

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class ImageError(ValueError):
    """Why an image cannot be read or written: one sentence, and a short stable `kind`."""

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(kind, sentence)  # both, so that it survives pickling between processes
        self.kind = kind
        self.sentence = sentence

    def __str__(self) -> str:
        return self.sentence


class _Jpeg(JpegImageFile):
    """The primary picture of a JPEG or MPO file."""

    def _read_dpi_from_exif(self) -> None:
        """Leave EXIF alone while opening: a broken one should cost itself, not the picture."""


# Only these are ever tried, by content. Opening through the class rather than `Image.open` keeps
# Pillow's reason for a refusal, and never reaches the formats that run a program (EPS, PDF).
_SIGNATURES: tuple[tuple[bytes, type[ImageFile]], ...] = (
    (PNG_SIGNATURE, PngImageFile),
    (b"\xff\xd8\xff", _Jpeg),
    (b"GIF87a", GifImageFile),
    (b"GIF89a", GifImageFile),
    (b"BM", BmpImageFile),
    (b"II*\0", TiffImageFile),
    (b"MM\0*", TiffImageFile),
    (b"II+\0", TiffImageFile),
    (b"MM\0+", TiffImageFile),
    (b"\xff\x4f\xff\x51", Jpeg2KImageFile),
    (b"\0\0\0\x0cjP  \r\n\x87\n", Jpeg2KImageFile),
)

_SUPPORTED = "want PNG, JPEG, WebP, GIF, BMP, TIFF, PPM, AVIF or JPEG 2000"

_OTHER_IMAGES: tuple[tuple[bytes, str], ...] = (
    (b"8BPS", "a Photoshop document"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL image"),
    (b"\0\0\x01\0", "a Windows icon"),
    (b"\x76\x2f\x31\x01", "an OpenEXR image"),
)

_OTHER_FILES: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "a PDF document"),
    (b"%!PS", "a PostScript document"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "gzip data"),
    (b"PAR1", "a Parquet file"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (b"RIFF", "a RIFF audio or video file"),
    (b"OggS", "an Ogg file"),
    (b"\x7fELF", "a program"),
)


def _is_avif(data: bytes) -> bool:
    if data[4:8] != b"ftyp":
        return False
    brands = data[8 : max(16, min(int.from_bytes(data[:4], "big"), 256))]
    return b"avif" in brands or b"avis" in brands


def _opener(data: bytes) -> type[ImageFile] | None:
    """Pillow's class for this content; None when it is no format that is read here."""
    for signature, opener in _SIGNATURES:
        if data.startswith(signature):
            return opener
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return WebPImageFile
    if data[:1] == b"P" and data[1:2] in b"123456f" and data[2:3].isspace():
        return PpmImageFile
    return AvifImageFile if _is_avif(data) else None


def _text_kind(data: bytes) -> str | None:
    """What sort of text the data is; None when it is not text."""
    # errors="ignore" would let anything pass; a cut last character must not decide
    head = data[:512]
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3 or len(data) <= len(head):
            return None
        text = head[: error.start].decode("utf-8")
    if any(ord(letter) < 32 and letter not in "\t\n\v\f\r\x1b" for letter in text):
        return None
    start = text.lstrip("\ufeff \t\r\n").lower()
    if start.startswith(("<!doctype html", "<html", "<head", "<body")):
        return "HTML text"
    if "<svg" in start and start.startswith("<"):
        return "an SVG drawing"
    if start.startswith(("{", "[")):
        return "JSON text"
    return "XML text" if start.startswith("<?xml") else "text"


def _unknown(data: bytes) -> ImageError:
    """The error for content that none of the formats claims."""
    looks = next((what for magic, what in _OTHER_IMAGES if data.startswith(magic)), None)
    if data[4:8] == b"ftyp" and data[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1"):
        looks = "a HEIC image"
    text = _text_kind(data)
    if looks or text == "an SVG drawing":
        return ImageError("unsupported_format", f"looks like {looks or text}: {_SUPPORTED}")
    looks = next((what for magic, what in _OTHER_FILES if data.startswith(magic)), text)
    if data[4:8] == b"ftyp":
        looks = "an MP4 or QuickTime video"
    if not looks and not data.strip(b"\0"):
        return ImageError("not_an_image", f"not an image: {len(data)} bytes, all zero")
    found = f"looks like {looks}" if looks else f"starts with the bytes {data[:8].hex(' ')}"
    return ImageError("not_an_image", f"not an image: {found}")


def _is_cut(data: bytes, name: str) -> bool:
    """Whether the file lacks the end that its format demands."""
    if name == "PNG":
        return b"IEND" not in data[-1024:]
    if name == "JPEG":
        return b"\xff\xd9" not in data[-65536:]
    if name == "WEBP":
        return len(data) < 8 + int.from_bytes(data[4:8], "little")
    return name == "GIF" and b";" not in data[-16:]


def _explained(error: Exception, data: bytes, name: str) -> ImageError:
    if isinstance(error, MemoryError):
        return ImageError("too_large", f"not enough memory for the pixels of this {name}")
    reason = str(error) or type(error).__name__
    lower = reason.lower()
    if "truncated" in lower or isinstance(error, EOFError) or _is_cut(data, name):
        return ImageError(
            "truncated", f"truncated {name}: its {len(data)} bytes end before the picture does"
        )
    if "unknown pixel mode" in lower or "unsupported" in lower:
        return ImageError("unsupported_mode", f"{name} with a pixel layout not read here: {reason}")
    return ImageError("corrupt", f"damaged {name}: {reason}")


@contextmanager
def explaining(data: bytes, name: str) -> Iterator[None]:
    """Turn whatever Pillow raises over these bytes into an ImageError.

    Its plugins are Python over untrusted bytes: next to the documented ones they raise
    struct.error, KeyError, AttributeError, RuntimeError and, where warnings are errors, warnings.
    """
    try:
        yield
    except ImageError:
        raise
    except Exception as error:
        raise _explained(error, data, name) from error


def _declared_size(data: bytes) -> tuple[int, int] | None:
    """Width and height, read without Pillow; None where opening costs nothing anyway.

    Pillow's WebP reader allocates two canvases to open, and its PNG one hides a zero side.
    """
    if data.startswith(PNG_SIGNATURE) and len(data) >= 24:
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if not data.startswith(b"RIFF") or len(data) < 30:
        return None
    if data[12:16] == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1
    width, height = int.from_bytes(data[26:28], "little"), int.from_bytes(data[28:30], "little")
    return width & 0x3FFF, height & 0x3FFF


def _check_size(width: int, height: int, name: str, max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise ImageError("corrupt", f"damaged {name}: its header says {width} x {height} pixels")
    if width * height > max_pixels:
        raise ImageError(
            "too_large",
            f"too large: {width} x {height} = {width * height} pixels, want at most {max_pixels}",
        )


def open_image(data: bytes, max_pixels: int) -> ImageFile:
    """The image by its content, opened but not decoded, and no larger than max_pixels.

    Raises:
        ImageError: empty, not_an_image, unsupported_format, unsupported_mode, too_large,
            truncated or corrupt.
    """
    if not data:
        raise ImageError("empty", "empty: 0 bytes")
    opener = _opener(data)
    if opener is None:
        raise _unknown(data)
    name = str(opener.format)
    declared = _declared_size(data)
    if declared is not None:
        _check_size(*declared, name, max_pixels)
    with explaining(data, name):
        image = opener(BytesIO(data))
    _check_size(*image.size, name, max_pixels)
    return image


def frame_count(image: ImageFile, data: bytes) -> int:
    """Frames or pages, at least 1; nothing is decoded.

    Raises:
        ImageError: truncated or corrupt.
    """
    with explaining(data, str(image.format)):
        return int(getattr(image, "n_frames", 1))


def check_png(data: bytes) -> None:
    """Check every chunk's checksum up to IEND: Pillow skips those of the pixels.

    Raises:
        ImageError: truncated, when the data ends before IEND; corrupt, when a checksum is wrong.
    """
    view, at = memoryview(data), len(PNG_SIGNATURE)
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(view[at : at + 4], "big")
        if end > len(data):
            break
        kind = bytes(view[at + 4 : at + 8])
        if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise ImageError("corrupt", f"damaged PNG: wrong checksum in its chunk {kind!r}")
        if kind == b"IEND":
            return
        at = end
    raise ImageError(
        "truncated", f"truncated PNG: its {len(data)} bytes end before the picture does"
    )
