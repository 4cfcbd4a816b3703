"""Pictures as buckets hold them: good ones, odd ones that convert, and broken ones that cannot."""

import json
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_GRAY, PNG_RGB, PNG_GRAY_ALPHA = 0, 2, 4
ORIENTATION = 0x0112

U8 = npt.NDArray[np.uint8]


def smooth_noise(seed: int, height: int, width: int, channels: int = 3) -> U8:
    """Photographic-like pixels, (height, width, channels) in 0..255: noise with a 1/f spectrum."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    weight = 1 / np.maximum(frequency, 1 / max(height, width)) ** 1.2
    shared = rng.standard_normal((height, width, 1))
    noise = shared + 0.4 * rng.standard_normal((height, width, channels))
    spectrum = np.fft.rfft2(noise, axes=(0, 1)) * weight[:, :, None]
    field = np.fft.irfft2(spectrum, s=(height, width), axes=(0, 1))
    field = (field - field.mean()) / max(float(field.std()), 1e-9)
    levels: U8 = np.clip(np.rint(128 + 52 * field), 0, 255).astype(np.uint8)
    return levels


def saved(image: Image.Image, file_format: str, **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format=file_format, **options)
    return buffer.getvalue()


def good_image(index: int, size: tuple[int, int] = (96, 64)) -> bytes:
    """A sound RGB picture of (width, height): PNG for an even index, JPEG for an odd one."""
    image = Image.fromarray(smooth_noise(index, size[1], size[0]))
    if index % 2:
        return saved(image, "JPEG", quality=92)
    return saved(image, "PNG", compress_level=1)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_header(width: int, height: int, depth: int, colour: int) -> bytes:
    fields = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return PNG_SIGNATURE + png_chunk(b"IHDR", fields)


def png(samples: npt.NDArray[Any], depth: int, colour: int, *, before: bytes = b"") -> bytes:
    """A PNG from samples (H, W, C) of 8 or 16 bits, for kinds that Pillow does not write."""
    height, width = samples.shape[:2]
    packed = samples.astype(">u2" if depth == 16 else "u1")
    rows = b"".join(b"\0" + row.tobytes() for row in packed)
    data = png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return png_header(width, height, depth, colour) + before + data


def cmyk_profile() -> bytes:
    """A minimal CMYK output profile: lightness falls with ink, through a 2^4 grid to Lab."""
    ramp = bytes(range(256))
    grid = b""
    for corner in range(16):
        c, m, y, k = (corner >> 3 & 1, corner >> 2 & 1, corner >> 1 & 1, corner & 1)
        lightness = round(255 * (1 - 0.9 * k) * (1 - 0.3 * c) * (1 - 0.4 * m) * (1 - 0.1 * y))
        a = 128 + (1 - k) * (70 * m - 40 * c)
        b = 128 + (1 - k) * (80 * y - 50 * c)
        grid += bytes([lightness, a, b])
    matrix = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + matrix + ramp * 4 + grid + ramp * 3
    lut += b"\0" * (-len(lut) % 4)
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    start = 128 + 4 + 2 * 12
    tags = struct.pack(">I", 2)
    tags += b"A2B0" + struct.pack(">II", start, len(lut))
    tags += b"wtpt" + struct.pack(">II", start + len(lut), len(white))
    head = struct.pack(">I", start + len(lut) + len(white)) + b"\0\0\0\0" + b"\x02\x40\0\0"
    head += b"prtrCMYKLab " + struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp"
    head = head.ljust(68, b"\0") + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + tags + lut + white


def _flipped(data: bytes, seed: int, start: int, count: int) -> bytes:
    rng = np.random.default_rng(seed)
    damaged = bytearray(data)
    for at in rng.integers(start, len(data) - 16, count):
        damaged[at] ^= 1 << int(rng.integers(8))
    return bytes(damaged)


def _exif(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif[0x010F] = "pixelmill"
    return exif.tobytes()


def _cut(data: bytes, share: float = 0.6) -> bytes:
    return data[: int(len(data) * share)]


def _animated(file_format: str, frames: int, seed: int) -> bytes:
    images = [Image.fromarray(smooth_noise(seed + n, 24, 32)) for n in range(frames)]
    return saved(images[0], file_format, save_all=True, append_images=images[1:])


def _odd_pixels(seed: int) -> dict[str, bytes]:
    rgb = Image.fromarray(smooth_noise(seed, 48, 64))
    gray = rgb.convert("L")
    cmyk = rgb.convert("CMYK")
    deep = smooth_noise(seed + 1, 48, 64).astype(np.uint16) * 257 + 13 * (seed % 7 + 1)
    alpha = Image.fromarray(smooth_noise(seed + 2, 48, 64, 4))
    palette = rgb.quantize(32)
    return {
        "cmyk.jpg": saved(cmyk, "JPEG"),
        "cmyk-profile.jpg": saved(cmyk, "JPEG", icc_profile=cmyk_profile()),
        "cmyk.tif": saved(cmyk, "TIFF"),
        "gray16.png": saved(Image.fromarray(deep[:, :, 0].copy()), "PNG"),
        "gray16.tif": saved(Image.fromarray(deep[:, :, 0].copy()), "TIFF"),
        "rgb16.png": png(deep, 16, PNG_RGB),
        "gray-alpha16.png": png(deep[:, :, :2], 16, PNG_GRAY_ALPHA),
        "palette.png": saved(palette, "PNG"),
        "palette-transparent.png": saved(palette, "PNG", transparency=bytes(range(0, 256, 8))),
        "rgb-transparent-colour.png": png(
            np.asarray(rgb), 8, PNG_RGB, before=png_chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3))
        ),
        "gray-transparent-level.png": png(
            np.asarray(gray)[:, :, None], 8, PNG_GRAY, before=png_chunk(b"tRNS", b"\0\x80")
        ),
        "one-bit.png": saved(rgb.convert("1"), "PNG"),
        "fax.tif": saved(rgb.convert("1"), "TIFF", compression="group4"),
        "rgba.png": saved(alpha, "PNG"),
        "rgba.webp": saved(alpha, "WEBP"),
        "gray-alpha.png": saved(alpha.convert("LA"), "PNG"),
    }


def _odd_files(seed: int) -> dict[str, bytes]:
    rgb = Image.fromarray(smooth_noise(seed, 48, 64))
    gray, palette = rgb.convert("L"), rgb.quantize(32)
    return {
        "one-frame.gif": saved(palette, "GIF"),
        "rotated.jpg": saved(rgb, "JPEG", exif=_exif(6)),
        "broken-exif.jpg": saved(
            rgb, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x9a" * 40
        ),
        "really-a-jpeg.png": saved(rgb, "JPEG"),
        "really-a-png.jpg": saved(rgb, "PNG"),
        "one-pixel.png": saved(rgb.crop((0, 0, 1, 1)), "PNG"),
        "thin-1x5000.png": saved(rgb.resize((1, 5000)), "PNG"),
        "windows.bmp": saved(rgb, "BMP"),
        "scan.tiff": saved(rgb, "TIFF", compression="tiff_lzw"),
        "lab.tif": saved(Image.frombytes("LAB", (64, 48), rgb.tobytes()), "TIFF"),
        "progressive.jpg": saved(rgb, "JPEG", progressive=True),
        "gray.jpg": saved(gray, "JPEG"),
        "netpbm.ppm": saved(rgb, "PPM"),
        "modern.avif": saved(rgb, "AVIF", speed=10, max_threads=1),
        "wavelet.jp2": saved(rgb, "JPEG2000"),
        "UPPER.JPG": saved(rgb, "JPEG"),
        "naïve 100% #1 (copy) 图.png": saved(rgb, "PNG"),
        "deep/er/two..dots.png": saved(rgb, "PNG"),
        "trailing-bytes.png": saved(rgb, "PNG") + b"\0" * 100,
    }


def _damaged(seed: int) -> dict[str, bytes]:
    rgb = Image.fromarray(smooth_noise(seed, 48, 64))
    as_png, as_jpeg = saved(rgb, "PNG"), saved(rgb, "JPEG")
    as_webp, as_gif, as_tiff = (
        saved(rgb, "WEBP"),
        saved(rgb.quantize(64), "GIF"),
        saved(rgb, "TIFF"),
    )
    return {
        "truncated.jpg": _cut(as_jpeg),
        "truncated.png": _cut(as_png),
        "truncated-at-the-end.png": as_png[:-12],
        "truncated.webp": _cut(as_webp),
        "truncated.gif": _cut(as_gif),
        "truncated.tif": _cut(as_tiff),
        "truncated.bmp": _cut(saved(rgb, "BMP")),
        "half-a-header.png": as_png[:20],
        "header-only.png": png_header(64, 48, 8, PNG_RGB),
        "header-only.jpg": as_jpeg[:20],
    }


def _hostile(seed: int) -> dict[str, bytes]:
    rgb = Image.fromarray(smooth_noise(seed, 48, 64))
    as_png, head, end = saved(rgb, "PNG"), png_header(64, 48, 8, PNG_RGB), png_chunk(b"IEND", b"")
    return {
        "bit-flips.png": _flipped(as_png, seed, 60, 8),
        "bit-flips-in-header.png": as_png[:17] + bytes([as_png[17] ^ 4]) + as_png[18:],
        "no-pixels.png": head + end,
        "bad-zlib.png": head + png_chunk(b"IDAT", b"\x78\x01" + b"\xff" * 64) + end,
        "short-zlib.png": head + png_chunk(b"IDAT", zlib.compress(b"\0" * 100)) + end,
        "zero-width.png": png_header(0, 48, 8, PNG_RGB) + png_chunk(b"IDAT", b"") + end,
        "bomb.png": png_header(40_000, 30_000, 8, PNG_RGB)
        + png_chunk(b"IDAT", zlib.compress(b"\0" * 100_000))
        + end,
        "bomb.gif": b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0)
        + b"," + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x02\x02\x4c\x01\x00;",
        "bomb.webp": b"RIFF" + struct.pack("<I", 30) + b"WEBPVP8X" + struct.pack("<I", 10)
        + b"\0" * 4 + (49_999).to_bytes(3, "little") + (49_999).to_bytes(3, "little") + b"\0" * 8,
        "animated.gif": _animated("GIF", 12, seed),
        "animated.webp": _animated("WEBP", 3, seed),
        "animated.apng": _animated("PNG", 3, seed),
        "two-pages.tif": _animated("TIFF", 2, seed),
        "float.tif": saved(Image.fromarray(np.linspace(-1, 1, 12, dtype="f4")[None]), "TIFF"),
        "gray32.tif": saved(Image.fromarray(np.full((3, 4), 70_000, np.int32)), "TIFF"),
    }  # fmt: skip


def _foreign(seed: int) -> dict[str, bytes]:
    return {
        "empty.png": b"",
        "one-byte.jpg": b"\xff",
        "zeros.png": b"\0" * 4096,
        "random.jpg": b"\x93" + np.random.default_rng(seed).bytes(4096),
        "text.png": b"Please find the picture attached.\n",
        "latin.png": "Übersicht für später".encode("latin-1"),
        "error-page.jpg": b"<!DOCTYPE html>\n<html><body>404 Not Found</body></html>",
        "error.json.png": json.dumps({"error": "AccessDenied"}).encode(),
        "denied.jpg": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
        "document.jpg": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<<>>\nendobj\n",
        "script.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
        "drawing.png": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        "phone.heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 64,
        "clip.jpg": b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + b"\0" * 64,
        "archive.png": b"PK\x03\x04\x14\0\0\0\x08\0" + b"\0" * 64,
        "layers.png": b"8BPS\0\x01" + b"\0" * 64,
        "icon.png": b"\0\0\x01\0\x01\0\x10\x10" + b"\0" * 64,
        "sound.webp": b"RIFF\x24\0\0\0WAVEfmt " + b"\0" * 32,
    }


def bad_images(seed: int = 0) -> dict[str, tuple[bytes, bool]]:
    """File name -> (bytes, whether it can be converted): every odd thing that a bucket may hold."""
    makers: tuple[tuple[Callable[[int], dict[str, bytes]], bool], ...] = (
        (_odd_pixels, True),
        (_odd_files, True),
        (_damaged, False),
        (_hostile, False),
        (_foreign, False),
    )
    return {
        name: (data, convertible)
        for make, convertible in makers
        for name, data in make(seed).items()
    }
