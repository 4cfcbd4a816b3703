"""Laws of image decoding and encoding: what survives, what is converted, and what is refused."""

import copy
import pickle
import struct
import tracemalloc
import warnings
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from io import BytesIO

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, ImageOps
from PIL import _imaging as core

from models.images import (
    IMAGE_SUFFIXES,
    Format,
    Header,
    ImageError,
    Picture,
    decode,
    encode,
    output_format,
    read_header,
)
from tests import corpus

bad_images = lru_cache(corpus.bad_images)
BAD = bad_images(0)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GRAY = SRGB[:16] + b"GRAY" + SRGB[20:]  # only the header's colour space is looked at
FORMATS: tuple[Format, ...] = ("png", "webp", "jpeg")
COPYRIGHT, SOFTWARE, ORIENTATION, EXIF_IFD, EXPOSURE = 0x8298, 0x0131, 0x0112, 0x8769, 0x829A

KINDS = {
    "truncated": "truncated.jpg truncated.png truncated-at-the-end.png truncated.webp"
    " truncated.gif truncated.tif truncated.bmp half-a-header.png header-only.png header-only.jpg"
    " short-zlib.png",
    "corrupt": "bit-flips.png bit-flips-in-header.png no-pixels.png bad-zlib.png zero-width.png",
    "too_large": "bomb.png bomb.gif bomb.webp",
    "animated": "animated.gif animated.webp animated.apng two-pages.tif",
    "unsupported_mode": "float.tif gray32.tif",
    "unsupported_format": "drawing.png phone.heic layers.png icon.png",
    "empty": "empty.png",
    "not_an_image": "one-byte.jpg zeros.png random.jpg text.png latin.png error-page.jpg"
    " error.json.png denied.jpg document.jpg script.png clip.jpg archive.png sound.webp",
}
KIND_OF = {name: kind for kind, names in KINDS.items() for name in names.split()}


def picture(channels: int, *, deep: bool = False, seed: int = 0) -> Picture:
    pixels = corpus.smooth_noise(seed, 24, 40, channels)
    if deep:
        return Picture(pixels=pixels.astype(np.uint16) * 257 + 5)
    return Picture(pixels=pixels)


def opened(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data))


@pytest.fixture
def lenient() -> Iterator[None]:
    """Pillow's warnings as in production: shown, not raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_round_trip_is_the_identity(channels: int) -> None:
    source = picture(channels)
    assert np.array_equal(decode(encode(source, "png")).pixels, source.pixels)


def test_png_round_trip_keeps_16_bit_gray() -> None:
    source = picture(1, deep=True)
    back = decode(encode(source, "png"))
    assert back.pixels.dtype == np.uint16
    assert np.array_equal(back.pixels, source.pixels)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("file_format", ["webp", "jpeg"])
def test_lossy_round_trip_is_close_where_it_is_seen(file_format: Format, channels: int) -> None:
    source = picture(channels)
    if channels in (2, 4):
        source.pixels[:, :, -1] = 255
    back = decode(encode(source, file_format)).pixels.astype(float)
    shown = source.pixels if channels in (1, 3) else source.pixels[:, :, :-1]
    # WebP halves the resolution of colour, which noise of independent channels makes visible
    limit = 10 if file_format == "webp" else 5
    assert np.abs(back[:, :, : shown.shape[2]] - shown).mean() < limit


def test_webp_keeps_alpha_exactly() -> None:
    source = picture(4)
    assert np.array_equal(decode(encode(source, "webp")).pixels[:, :, 3], source.pixels[:, :, 3])


def test_jpeg_shows_alpha_over_white() -> None:
    pixels = np.zeros((16, 16, 4), np.uint8)
    pixels[:, 8:, 3] = 255
    shown = decode(encode(Picture(pixels=pixels), "jpeg")).pixels
    assert shown[:, :8].min() >= 254
    assert shown[:, 8:].max() <= 1


def test_16_bits_reduce_to_the_nearest_of_256_levels() -> None:
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    shown = decode(encode(Picture(pixels=levels), "jpeg")).pixels.astype(int)
    assert np.abs(shown - np.rint(levels / 257)).max() <= 2  # JPEG's own error
    assert shown[0, 0] == 0
    assert shown[-1, -1] == 255


@pytest.mark.parametrize("file_format", FORMATS)
def test_encoding_is_deterministic_in_many_threads(file_format: Format) -> None:
    source = picture(3)
    with ThreadPoolExecutor(4) as pool:
        outputs = set(pool.map(lambda _: encode(source, file_format), range(12)))
    assert len(outputs) == 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation_is_applied_as_pillow_does(file_format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = corpus.saved(Image.fromarray(corpus.smooth_noise(1, 20, 33)), file_format, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(opened(data)))
    got = decode(data)
    assert np.array_equal(got.pixels, expected)
    assert got.pixels.flags.c_contiguous
    assert got.pixels.flags.writeable
    again = decode(encode(got, "png"))
    assert np.array_equal(again.pixels, expected)


@pytest.mark.parametrize("file_format", FORMATS)
def test_profile_and_useful_exif_survive(file_format: Format) -> None:
    exif = Image.Exif()
    exif[COPYRIGHT], exif[SOFTWARE], exif[ORIENTATION] = "someone", "camera", 8
    exif[EXIF_IFD] = {EXPOSURE: 0.5, 0xA002: 4000, 0x927C: b"maker"}
    image = Image.fromarray(corpus.smooth_noise(2, 16, 24))
    data = corpus.saved(image, "JPEG", exif=exif, icc_profile=SRGB)
    result = opened(encode(decode(data), file_format))
    kept = result.getexif()
    assert result.info["icc_profile"] == SRGB
    assert (kept[COPYRIGHT], kept[SOFTWARE], kept[ORIENTATION]) == ("someone", "camera", 1)
    assert dict(kept.get_ifd(EXIF_IFD)) == {EXPOSURE: 0.5}


def test_thumbnail_is_dropped() -> None:
    thumbnail = corpus.saved(Image.new("RGB", (16, 12), "red"), "JPEG")
    # Make = "A" at 8; the second directory at 26 says that the thumbnail lies at 56
    first = struct.pack("<HHHLLL", 1, 0x010F, 2, 2, 0x41, 26)
    second = struct.pack("<HHHLLHHLLL", 2, 0x0201, 4, 1, 56, 0x0202, 4, 1, len(thumbnail), 0)
    exif = b"Exif\0\0II*\0\x08\0\0\0" + first + second + thumbnail
    data = corpus.saved(Image.new("RGB", (8, 8)), "JPEG", exif=exif)
    assert opened(data).getexif().get_ifd(ExifTags.IFD.IFD1)[0x0202] == len(thumbnail)
    got = decode(data)
    assert got.exif is not None
    assert thumbnail[:20] not in got.exif
    assert opened(encode(got, "jpeg")).getexif().get_ifd(ExifTags.IFD.IFD1) == {}


def test_profile_is_kept_only_where_it_describes_the_pixels() -> None:
    rgb, gray = corpus.smooth_noise(0, 8, 8), corpus.smooth_noise(0, 8, 8, 1)[:, :, 0].copy()
    assert decode(corpus.saved(Image.fromarray(gray), "PNG", icc_profile=GRAY)).icc == GRAY
    odd = decode(corpus.saved(Image.fromarray(gray), "JPEG", icc_profile=SRGB))
    assert odd.icc is None
    assert "profile dropped" in odd.remarks[0]
    assert decode(corpus.saved(Image.fromarray(rgb), "PNG", icc_profile=GRAY)).icc is None
    assert (
        "icc_profile" not in opened(encode(Picture(pixels=gray[:, :, None], icc=GRAY), "webp")).info
    )


def test_cmyk_goes_through_its_profile() -> None:
    plain, profiled = decode(BAD["cmyk.jpg"][0]), decode(BAD["cmyk-profile.jpg"][0])
    assert profiled.icc is None
    assert "through its profile" in profiled.remarks[0]
    assert not np.array_equal(plain.pixels, profiled.pixels)


@pytest.mark.parametrize(
    ("name", "shape", "dtype", "remark"),
    [
        ("gray16.png", (48, 64, 1), "u2", None),
        ("gray16.tif", (48, 64, 1), "u2", None),
        ("rgb16.png", (48, 64, 3), "u1", "16-bit colour reduced to 8 bits"),
        ("gray-alpha16.png", (48, 64, 2), "u1", "16-bit colour reduced to 8 bits"),
        ("palette.png", (48, 64, 3), "u1", "palette expanded to RGB"),
        ("palette-transparent.png", (48, 64, 4), "u1", "palette expanded to RGBA"),
        ("rgb-transparent-colour.png", (48, 64, 4), "u1", "transparent colour turned into alpha"),
        ("gray-transparent-level.png", (48, 64, 2), "u1", "transparent colour turned into alpha"),
        ("one-bit.png", (48, 64, 1), "u1", "black and white widened to 8-bit gray"),
        ("gray-alpha.png", (48, 64, 2), "u1", None),
        ("rotated.jpg", (64, 48, 3), "u1", None),
        ("thin-1x5000.png", (5000, 1, 3), "u1", None),
        ("lab.tif", (48, 64, 3), "u1", "Lab converted to sRGB"),
    ],
)
def test_odd_images_convert(
    name: str, shape: tuple[int, ...], dtype: str, remark: str | None
) -> None:
    got = decode(BAD[name][0])
    assert got.pixels.shape == shape
    assert got.pixels.dtype == np.dtype(dtype)
    assert got.remarks == (() if remark is None else (remark,))


def test_16_bit_gray_keeps_its_levels_in_either_byte_order_and_polarity() -> None:
    levels = np.array([[0, 1, 258], [4660, 65534, 65535]], np.uint16)
    big = Image.frombytes("I;16B", (3, 2), levels.astype(">u2").tobytes())
    for data in (
        corpus.saved(Image.fromarray(levels), "PNG"),
        corpus.saved(Image.fromarray(levels), "TIFF"),
        corpus.saved(big, "TIFF"),
        corpus.saved(Image.fromarray(levels.astype(np.int32)), "TIFF"),
        corpus.saved(Image.fromarray(65535 - levels), "TIFF", tiffinfo={262: 0}),
        b"P5 3 2 65535\n" + levels.astype(">u2").tobytes(),
    ):
        assert np.array_equal(decode(data).pixels[:, :, 0], levels)


def test_transparent_colours_are_compared_at_the_depth_of_the_file() -> None:
    two_bits = corpus.png_header(4, 1, 2, 0) + corpus.png_chunk(b"tRNS", b"\0\1")
    two_bits += corpus.png_chunk(b"IDAT", zlib.compress(b"\0\x1b"))
    two_bits += corpus.png_chunk(b"IEND", b"")
    assert decode(two_bits).pixels.tolist() == [[[0, 255], [85, 0], [170, 255], [255, 255]]]
    colours = np.array([[[0x0102, 0x0304, 0x0506], [9, 9, 9]]])
    clear = corpus.png_chunk(b"tRNS", struct.pack(">3H", *colours[0, 0]))
    assert decode(corpus.png(colours, 16, 2, before=clear)).pixels[0, :, 3].tolist() == [0, 255]
    gray = corpus.png(colours[:, :, :1], 16, 0, before=corpus.png_chunk(b"tRNS", b"\1\2"))
    assert decode(gray).pixels.tolist() == [[[1, 0], [0, 255]]]


def test_16_bit_netpbm_colour_is_remarked() -> None:
    data = b"P6 1 1 # a comment\n65535\n" + b"\xff\xff\x80\x00\x00\x00"
    got = decode(data)
    assert got.pixels.shape == (1, 1, 3)
    assert got.remarks == ("16-bit colour reduced to 8 bits",)


def test_phone_jpeg_with_a_second_picture_gives_the_primary_one() -> None:
    first, second = (Image.fromarray(corpus.smooth_noise(n, 16, 24)) for n in (3, 4))
    data = corpus.saved(first, "MPO", save_all=True, append_images=[second])
    assert read_header(data) == Header(width=24, height=16, mode="RGB", format="JPEG", frames=1)
    primary = decode(corpus.saved(first, "JPEG")).pixels
    assert np.array_equal(decode(data).pixels, primary)


def test_header_is_as_stored() -> None:
    rotated = read_header(BAD["rotated.jpg"][0])
    assert rotated == Header(width=64, height=48, mode="RGB", format="JPEG", frames=1)
    assert read_header(BAD["animated.gif"][0]).frames == 12


def test_corpus_is_large_and_each_member_has_an_expectation() -> None:
    assert sum(convertible for _, convertible in BAD.values()) >= 30
    assert {name for name, (_, convertible) in BAD.items() if not convertible} == set(KIND_OF)
    assert corpus.bad_images(0) == BAD


@pytest.mark.parametrize("name", [name for name, (_, convertible) in BAD.items() if convertible])
def test_convertible_members_convert_and_encode(name: str, lenient: None) -> None:
    got = decode(BAD[name][0])
    for file_format in FORMATS:
        assert decode(encode(got, file_format)).pixels.shape[:2] == got.pixels.shape[:2]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", KIND_OF)
def test_bad_members_say_why(name: str, seed: int) -> None:
    with pytest.raises(ImageError) as caught:
        decode(bad_images(seed)[name][0])
    assert caught.value.kind == KIND_OF[name]
    assert len(str(caught.value)) > len(caught.value.kind)


def test_sentences_name_the_thing() -> None:
    with pytest.raises(ImageError, match=r"^animated: 12 frames, wanted a single image$"):
        decode(BAD["animated.gif"][0])
    with pytest.raises(ImageError, match=r"^not an image: looks like HTML text$"):
        decode(BAD["error-page.jpg"][0])
    with pytest.raises(ImageError, match="40000 x 30000"):
        decode(BAD["bomb.png"][0])


def test_broken_exif_costs_only_itself(lenient: None) -> None:
    got = decode(BAD["broken-exif.jpg"][0])
    assert got.exif is None or b"pixelmill" not in got.exif


@pytest.mark.parametrize("name", ["bomb.png", "bomb.gif", "bomb.webp"])
def test_a_bomb_costs_nothing(name: str) -> None:
    before = core.get_stats()["allocated_blocks"]
    tracemalloc.start()
    with pytest.raises(ImageError):
        read_header(BAD[name][0])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200_000
    assert core.get_stats()["allocated_blocks"] == before


def test_limit_on_pixels_is_the_callers() -> None:
    data = corpus.good_image(0, (96, 64))
    assert read_header(data, max_pixels=96 * 64).width == 96
    for read in (read_header, decode):
        with pytest.raises(ImageError, match="6144 pixels, want at most 6143") as caught:
            read(data, max_pixels=96 * 64 - 1)
        assert caught.value.kind == "too_large"


def _mutations(data: bytes, rng: np.random.Generator, count: int) -> Iterator[bytes]:
    for _ in range(count):
        damaged = bytearray(data)
        # half of the flips in the first bytes, where the structure is
        span = len(data) if rng.random() < 0.5 else min(len(data), 200)
        for at in rng.integers(0, span, int(rng.integers(1, 6))):
            damaged[at] = int(rng.integers(256))
        if rng.random() < 0.3:
            del damaged[int(rng.integers(len(damaged))) :]
        yield bytes(damaged)


FUZZED = [
    *("cmyk-profile.jpg", "gray16.png", "palette-transparent.png", "rgba.webp", "one-frame.gif"),
    *("rotated.jpg", "scan.tiff", "windows.bmp", "fax.tif", "progressive.jpg", "netpbm.ppm"),
    *("animated.gif", "two-pages.tif", "wavelet.jp2", "modern.avif", "animated.apng"),
]


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("name", FUZZED)
def test_damage_gives_a_picture_or_an_image_error(name: str, strict: bool) -> None:
    rng = np.random.default_rng(sum(name.encode()))
    with warnings.catch_warnings():
        warnings.simplefilter("error" if strict else "ignore")
        for damaged in _mutations(BAD[name][0], rng, 8 if "profile" in name else 60):
            try:
                got = decode(damaged, max_pixels=1_000_000)
            except ImageError as error:
                assert error.kind  # noqa: PT017 - a picture is as good an outcome
            else:
                assert got.pixels.size > 0


@pytest.mark.parametrize("name", ["rotated.jpg", "palette.png", "rgba.webp", "windows.bmp"])
def test_every_truncation_fails(name: str) -> None:
    data = BAD[name][0]
    for length in range(0, len(data), 37):
        with pytest.raises(ImageError):
            decode(data[:length])


def test_sides_beyond_a_format_are_refused() -> None:
    tall = Picture(pixels=np.zeros((65536, 1, 1), np.uint8))
    for file_format, limit in (("webp", "16383"), ("jpeg", "65535")):
        with pytest.raises(ImageError, match=f"want at most {limit} on a side") as caught:
            encode(tall, output_format("x", file_format))  # type: ignore[arg-type]
        assert caught.value.kind == "too_large_for_format"
    assert decode(encode(tall, "png")).pixels.shape == (65536, 1, 1)


def test_exif_too_long_for_jpeg_is_left_out_there() -> None:
    exif = Image.Exif()
    exif[SOFTWARE] = "x" * 70_000
    source = Picture(pixels=picture(3).pixels, exif=exif.tobytes())
    assert "exif" not in opened(encode(source, "jpeg")).info
    assert opened(encode(source, "png")).getexif()[SOFTWARE] == "x" * 70_000


def test_views_encode_as_their_copies() -> None:
    pixels = picture(3).pixels
    mirrored = Picture(pixels=pixels[:, ::-1])
    assert encode(mirrored, "png") == encode(Picture(pixels=pixels[:, ::-1].copy()), "png")


@pytest.mark.parametrize("pixels", [np.zeros((4, 4)), np.zeros((0, 4, 3), np.uint8)])
def test_pixels_of_another_kind_are_refused(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="pixels must be"):
        Picture(pixels=pixels)


def test_an_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(ImageError("empty", "empty: 0 bytes")))  # noqa: S301
    assert (error.kind, str(error)) == ("empty", "empty: 0 bytes")
    assert copy.copy(error).kind == "empty"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/b.JPG", "jpeg"),
        ("b.jfif", "jpeg"),
        ("c.WebP", "webp"),
        ("d.gif", "png"),
        ("e", "png"),
        ("f.jpg.png", "png"),
    ],
)
def test_keep_follows_the_suffix(name: str, expected: str) -> None:
    assert output_format(name, "keep") == expected
    assert output_format(name, "webp") == "webp"
    assert {".png", ".jpeg", ".heic"} <= IMAGE_SUFFIXES
