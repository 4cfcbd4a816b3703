"""Laws of the PNG writer: what Pillow reads is what was given; metadata arrives."""

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from models import png
from models.pixels import Pixels
from models.png import encode_png
from tests.corpus import smooth_noise


def _opened(data: bytes) -> Image.Image:
    image = Image.open(BytesIO(data))
    image.load()
    return image


def _noise(height: int, width: int, channels: int, dtype: type = np.uint8) -> Pixels:
    top = np.iinfo(dtype).max
    rng = np.random.default_rng(height * 1000 + width)
    return rng.integers(0, top, (height, width, channels), dtype, endpoint=True)


@given(
    height=st.integers(1, 40), width=st.integers(1, 40), channels=st.integers(1, 4),
    strip=st.integers(1, 500),
)  # fmt: skip
def test_what_is_read_is_what_was_written(
    height: int, width: int, channels: int, strip: int
) -> None:
    pixels = _noise(height, width, channels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(png, "_STRIP_BYTES", strip)
        image = _opened(encode_png(pixels))
    assert image.mode == {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels]
    assert np.array_equal(np.asarray(image).reshape(pixels.shape), pixels)


def test_16_bits_of_gray_stay_16_bits() -> None:
    pixels = _noise(19, 23, 1, np.uint16)
    image = _opened(encode_png(pixels))
    assert image.mode == "I;16"
    assert np.array_equal(np.asarray(image)[:, :, None], pixels)


def test_a_file_may_have_many_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = _noise(50, 50, 3)
    one = encode_png(pixels)
    monkeypatch.setattr(png, "_CHUNK_BYTES", 100)
    many = encode_png(pixels)
    assert many.count(b"IDAT") > 10
    assert np.array_equal(np.asarray(_opened(many)), np.asarray(_opened(one)))


def test_profile_and_exif_arrive() -> None:
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0131] = "pixelmill"
    image = _opened(encode_png(_noise(4, 4, 3), icc=icc, exif=exif.tobytes()))
    assert image.info["icc_profile"] == icc
    assert image.getexif()[0x0131] == "pixelmill"


def test_views_are_written_as_their_copies() -> None:
    pixels = _noise(20, 30, 3)
    assert encode_png(pixels[:, ::-1]) == encode_png(pixels[:, ::-1].copy())


def test_it_is_no_larger_than_pillow_s_run_lengths_on_a_photograph_like_picture() -> None:
    pixels = smooth_noise(0, 300, 400)
    sink = BytesIO()
    Image.fromarray(pixels).save(sink, "PNG", compress_level=1, compress_type=3)
    assert len(encode_png(pixels)) < 1.02 * len(sink.getvalue())


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 5), np.uint8), np.zeros((0, 4, 3), np.uint8),
     np.zeros((4, 4, 3), np.float32)],
)  # fmt: skip
def test_what_is_no_picture_is_refused(pixels: Pixels) -> None:
    with pytest.raises(ValueError, match="pixels must be"):
        encode_png(pixels)
