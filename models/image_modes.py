"""Pillow's pixel modes to arrays of 1 to 4 channels, and which colour profile still fits them."""

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from models.image_files import PNG_SIGNATURE, ImageError
from models.pixels import Pixels

_STRIP_BYTES = 1 << 20
_CHANNELS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}
_GRAY16 = {"I;16": "<u2", "I;16L": "<u2", "I;16B": ">u2", "I;16N": "=u2"}
_PLAIN = {
    "1": ("L", "black and white widened to 8-bit gray"),
    "PA": ("RGBA", "palette expanded to RGBA"),
    "La": ("LA", "premultiplied alpha made straight"),
    "RGBa": ("RGBA", "premultiplied alpha made straight"),
    "RGBX": ("RGB", "unused fourth channel dropped"),
    "YCbCr": ("RGB", "YCbCr converted to RGB"),
}
_WITH_ALPHA = {"1": "LA", "L": "LA", "RGB": "RGBA"}
_SPACES = {b"GRAY": "gray", b"RGB ": "RGB", b"CMYK": "CMYK", b"Lab ": "Lab"}
_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262


def _profile_space(icc: bytes | None) -> bytes:
    """The colour space field of an ICC profile's header; empty when it is no profile."""
    if not icc or len(icc) < 128 or icc[36:40] != b"acsp":
        return b""
    return icc[16:20]


def profile_fits(icc: bytes | None, channels: int) -> bool:
    """Whether an ICC profile describes pixels of 1 to 4 channels: gray below 3, else RGB."""
    return _profile_space(icc) == (b"GRAY" if channels < 3 else b"RGB ")


def _stored_bits(image: ImageFile, data: bytes) -> int:
    """Bits of a sample in the file, where Pillow's mode hides them; else 8."""
    if data.startswith(PNG_SIGNATURE):
        return data[24]
    if isinstance(image, TiffImageFile):
        bits = image.tag_v2.get(_BITS_PER_SAMPLE, (8,))
        return max(bits) if isinstance(bits, tuple) else int(bits)
    if image.format == "PPM" and image.mode == "RGB":
        fields = b" ".join(line.split(b"#")[0] for line in data[:512].split(b"\n")).split()
        highest = fields[3] if len(fields) > 3 and fields[3].isdigit() else b"255"
        return 16 if int(highest) > 255 else 8
    return 8


def _from_cmyk(image: Image.Image, icc: bytes | None) -> tuple[Image.Image, str]:
    if icc and _profile_space(icc) == b"CMYK":
        try:
            converted = ImageCms.profileToProfile(
                image,
                ImageCms.ImageCmsProfile(BytesIO(icc)),
                ImageCms.createProfile("sRGB"),
                renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
                outputMode="RGB",
                flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
            )
        except (ImageCms.PyCMSError, OSError) as error:
            return image.convert("RGB"), f"CMYK converted to RGB, its profile is unusable: {error}"
        if converted is not None:
            return converted, "CMYK converted to sRGB through its profile"
    return image.convert("RGB"), "CMYK converted to RGB without a profile"


def _from_lab(image: Image.Image) -> Image.Image:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    if converted is None:
        raise ImageError("unsupported_mode", "Lab colours could not be converted to sRGB")
    return converted


def _with_transparent_colour(image: Image.Image, bits: int) -> Image.Image:
    """Turn one transparent colour (tRNS) into alpha; Pillow compares it at the wrong depth."""
    transparent = image.info["transparency"]
    if bits in (2, 4) and isinstance(transparent, int):
        image.info["transparency"] = transparent * 255 // (2**bits - 1)
    if bits == 16 and isinstance(transparent, tuple):
        image.info["transparency"] = tuple(level >> 8 for level in transparent)
    return image.convert(_WITH_ALPHA[image.mode])


def _simplified(image: Image.Image, icc: bytes | None, bits: int) -> tuple[Image.Image, list[str]]:
    """The image in one of L, LA, RGB, RGBA, I, I;16*, and what was converted to get there."""
    mode = image.mode
    if mode in _WITH_ALPHA and "transparency" in image.info:
        return _with_transparent_colour(image, bits), ["transparent colour turned into alpha"]
    if mode in _CHANNELS or mode in _GRAY16 or mode == "I":
        return image, []
    if mode in _PLAIN:
        wanted, remark = _PLAIN[mode]
        return image.convert(wanted), [remark]
    if mode == "P":
        wanted = "RGBA" if image.has_transparency_data else "RGB"
        return image.convert(wanted), [f"palette expanded to {wanted}"]
    if mode == "CMYK":
        converted, remark = _from_cmyk(image, icc)
        return converted, [remark]
    if mode == "LAB":
        return _from_lab(image), ["Lab converted to sRGB"]
    raise ImageError(
        "unsupported_mode",
        f"pixels of mode {mode} have no clear range, want gray, RGB, CMYK, Lab or a palette",
    )


def _placed(pixels: Pixels, orientation: int) -> Pixels:
    """A view of the upright array that is indexed as the file stores it."""
    rows = slice(None, None, -1 if orientation in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if orientation in (2, 3, 6, 7) else 1)
    view = pixels[rows, columns]
    return view.swapaxes(0, 1) if orientation >= 5 else view


def _strips(
    image: Image.Image, dtype: str, channels: int
) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """The top row and the pixels of one strip after the other, so that no second whole exists."""
    width, height = image.size
    step = max(1, _STRIP_BYTES // (width * channels * np.dtype(dtype).itemsize))
    for top in range(0, height, step):
        bottom = min(height, top + step)
        strip = np.frombuffer(image.crop((0, top, width, bottom)).tobytes(), dtype)
        yield top, strip.reshape(bottom - top, width, channels)


def _array(image: Image.Image, orientation: int) -> Pixels:
    """An upright array of an image in L, LA, RGB, RGBA, I or I;16*."""
    channels = _CHANNELS.get(image.mode, 1)
    dtype = "u1" if image.mode in _CHANNELS else _GRAY16.get(image.mode, "=i4")
    width, height = image.size
    shape = (width, height) if orientation >= 5 else (height, width)
    pixels: Pixels = np.empty((*shape, channels), np.uint8 if dtype == "u1" else np.uint16)
    stored = _placed(pixels, orientation)
    for top, strip in _strips(image, dtype, channels):
        if image.mode == "I" and (strip.min() < 0 or strip.max() > 65535):
            raise ImageError(
                "unsupported_mode",
                f"gray levels {strip.min()}..{strip.max()} do not fit 16 bits, want 0..65535",
            )
        stored[top : top + len(strip)] = strip
    return pixels


def _finish_gray16(pixels: Pixels, image: ImageFile, bits: int) -> tuple[Pixels, list[str]]:
    """Give 16-bit gray its full range, black at 0, and 8 bits with alpha if one level is clear."""
    remarks = []
    if bits == 12:
        pixels = ((pixels.astype(np.uint32) * 65535 + 2047) // 4095).astype(np.uint16)
        remarks.append("12-bit gray stretched to 16 bits")
    if isinstance(image, TiffImageFile) and image.tag_v2.get(_PHOTOMETRIC) == 0:
        pixels = 65535 - pixels  # white is 0 in such a file, and Pillow leaves it so
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        alpha = np.where(pixels == transparent, 0, 255).astype(np.uint8)
        pixels = np.concatenate([reduce_to_8_bits(pixels), alpha], axis=2)
        remarks.append("16-bit gray with a transparent level reduced to 8 bits with alpha")
    return pixels, remarks


def row_strips(pixels: Pixels) -> Iterator[slice]:
    """Slices of rows of about 1 MB, for arithmetic whose temporaries must stay small."""
    step = max(1, _STRIP_BYTES // max(1, pixels[0].size))
    return (slice(top, top + step) for top in range(0, len(pixels), step))


def reduce_to_8_bits(pixels: Pixels) -> npt.NDArray[np.uint8]:
    """(H, W, C) uint16 in 0..65535 to uint8 in 0..255, to the nearest; uint8 as it is."""
    if pixels.dtype == np.uint8:
        return np.asarray(pixels, np.uint8)
    reduced = np.empty(pixels.shape, np.uint8)
    for rows in row_strips(pixels):
        reduced[rows] = (pixels[rows].astype(np.uint32) + 128) // 257
    return reduced


def to_pixels(
    image: ImageFile, data: bytes, orientation: int
) -> tuple[Pixels, bytes | None, tuple[str, ...]]:
    """Upright pixels, the ICC profile if it still describes them, and remarks on what changed.

    Args:
        image: opened from `data` and loaded.
        orientation: EXIF's, 1..8: how the stored rows and columns lie.
    Raises:
        ImageError: unsupported_mode.
    """
    icc: bytes | None = image.info.get("icc_profile") or None
    bits = _stored_bits(image, data)
    simple, remarks = _simplified(image, icc, bits)
    if bits > 8 and simple.mode in _CHANNELS:
        remarks.insert(0, f"{bits}-bit colour reduced to 8 bits")
    if bits == 16 and image.mode == "RGBA" and data.startswith(PNG_SIGNATURE) and data[25] == 4:
        simple = Image.merge("LA", (image.getchannel("R"), image.getchannel("A")))  # stored as gray
    pixels = _array(simple, orientation)
    if pixels.dtype == np.uint16:
        pixels, more = _finish_gray16(pixels, image, bits)
        remarks += more
    if icc and not profile_fits(icc, pixels.shape[2]) and image.mode not in ("CMYK", "LAB"):
        space = _SPACES.get(_profile_space(icc), "other colours")
        remarks.append(f"colour profile dropped: it is for {space}, not for these pixels")
    kept = profile_fits(icc, pixels.shape[2]) and image.mode not in ("CMYK", "LAB")
    return pixels, icc if kept else None, tuple(remarks)
