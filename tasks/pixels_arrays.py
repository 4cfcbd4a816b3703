"""Pictures that come as arrays in one or a few files, with splits and labels of their own.

- NAME.npz: arrays train, valid and test (or x_train, ...): uint8, (N, H, W), (N, H, W, C), or
  (N, bytes) of packed bits, a square black-and-white picture each; labels in y_train, ...
- a folder with CIFAR-10's data_batch_1.bin to test_batch.bin: a label, then 3 x 32 x 32 bytes;
- a folder with data_batch_1.png to test_batch.png, RGB: 32 x 32 pixels in a row, a picture each;
  labels as JSON lists in train_labels.json and test_labels.json.
"""

import io
import json
import math
import re
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.pixel_pictures import Bytes
from tasks import storage
from tasks.failures import RequestError, persistently
from tasks.storage import Entry

Labels: TypeAlias = NDArray[np.int64]
OwnSplit = Literal["train", "validation", "test"]
Rows: TypeAlias = tuple[Bytes, Labels | None]
"""Pictures (N, H, W, C), and a label each."""

_KEYS: dict[OwnSplit, tuple[str, ...]] = {
    "train": ("train", "x_train"),
    "validation": ("valid", "validation", "x_valid", "x_validation"),
    "test": ("test", "x_test"),
}
_BATCH = re.compile(r"(data|test)_batch(?:_\d+)?\.(bin|png)")
_SIDE = 32
_VALUES = 3 * _SIDE * _SIDE


@dataclass(frozen=True, kw_only=True)
class ArrayPart:
    """Pictures of one split in one file.

    name: the part's below the source. key: the array's, in a file that has several.
    labels: the file that holds them for a whole split, if that is another one; this part's are
        the `place`-th of `places` equal shares of it.
    """

    entry: Entry
    name: str
    split: OwnSplit
    key: str = ""
    labels: Entry | None = None
    place: int = 0
    places: int = 1


@dataclass(frozen=True, kw_only=True)
class ArrayFacts:
    """What all pictures of a source have in common. binary: they were packed bits."""

    height: int
    width: int
    channels: int
    binary: bool
    classes: int


def array_parts(source: str) -> list[ArrayPart]:
    """The parts of a source that is arrays, in the order of its splits; none: it is images.

    Raises:
        RequestError: an .npz without an array train or test.
        StorageError: the source cannot be read.
    """
    if source.lower().endswith(".npz"):
        return _npz_parts(storage.stat(source))
    if not storage.is_folder(source):
        return []
    entries = {
        entry.uri.rpartition("/")[2]: entry
        for entry in next(storage.list_pages(source), [])
        if entry.uri.count("/") == storage.join(source, "x").count("/")
    }
    if "test_batch.bin" not in entries and "test_batch.png" not in entries:
        return []
    parts = []
    for start, split in (("data", "train"), ("test", "test")):
        names = [n for n in sorted(entries) if (m := _BATCH.fullmatch(n)) and m[1] == start]
        parts += [
            ArrayPart(
                entry=entries[name],
                name=name,
                split=cast(OwnSplit, split),
                labels=_labels_entry(entries, split) if name.endswith(".png") else None,
                place=place,
                places=len(names),
            )
            for place, name in enumerate(names)
        ]
    return parts


def _labels_entry(entries: dict[str, Entry], split: str) -> Entry | None:
    found = [entries[n] for n in entries if re.fullmatch(rf"{split}_la(?:bels|bles)\.json", n)]
    return found[0] if found else None


def _npz_parts(entry: Entry) -> list[ArrayPart]:
    keys = set(_npz(entry.uri, entry.etag))
    parts = [
        ArrayPart(entry=entry, name=split, split=split, key=key)
        for split, wanted in _KEYS.items()
        for key in wanted
        if key in keys
    ]
    if not parts:
        raise RequestError(
            f"{storage.redact(entry.uri)} must have arrays named train, valid and test,"
            f" got {', '.join(sorted(keys)) or 'none'}"
        )
    return parts


@lru_cache(maxsize=1)
def _npz(uri: str, etag: str) -> dict[str, NDArray[np.generic]]:  # noqa: ARG001 (names content)
    data = persistently(lambda: storage.read(uri))
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return dict(arrays.items())
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise RequestError(f"{storage.redact(uri)} cannot be read: {error}") from error


@lru_cache(maxsize=2)
def read_part(part: ArrayPart) -> Rows:
    """All pictures of a part, and their labels if there are some.

    Raises:
        RequestError: an array of another type or shape, or not one label a picture.
        StorageError: the file cannot be read.
    """
    shown = f"{storage.redact(part.entry.uri)} ({part.name})"
    if part.key:
        arrays = _npz(part.entry.uri, part.entry.etag)
        pictures = _pictures(arrays[part.key], shown)
        found = arrays.get("y_" + part.key.removeprefix("x_"))
        labels = None if found is None else _checked_labels(found, len(pictures), shown)
        return pictures, labels
    data = persistently(lambda: storage.read(part.entry.uri))
    if part.name.endswith(".bin"):
        if not data or len(data) % (_VALUES + 1):
            raise RequestError(
                f"{shown} must be rows of {_VALUES + 1} bytes, got {len(data)} bytes"
            )
        rows = np.frombuffer(data, np.uint8).reshape(-1, _VALUES + 1)
        return _planes(rows[:, 1:]), rows[:, 0].astype(np.int64)
    return _png_rows(data, part, shown)


def _planes(rows: Bytes) -> Bytes:
    """(N, 3072), all red values first -> (N, 32, 32, 3)."""
    return np.ascontiguousarray(rows.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1))


def _png_rows(data: bytes, part: ArrayPart, shown: str) -> Rows:
    with _opened(data, shown) as image:
        try:
            flat = np.asarray(image)
        except OSError as error:
            raise RequestError(f"{shown} cannot be read: {error}") from error
    pictures = flat.reshape(-1, _SIDE, _SIDE, 3)
    if part.labels is None:
        return pictures, None
    where, shares = part.labels.uri, part.places
    try:
        told = np.asarray(json.loads(persistently(lambda: storage.read(where))))
    except ValueError as error:
        raise RequestError(f"{storage.redact(where)} is no JSON list: {error}") from error
    labels = _checked_labels(told, len(pictures) * shares, storage.redact(where))
    return pictures, labels[part.place * len(pictures) :][: len(pictures)]


def _opened(data: bytes, shown: str) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=["PNG"])
    except OSError as error:
        raise RequestError(f"{shown} cannot be read: {error}") from error
    if image.mode != "RGB" or image.width != _SIDE * _SIDE:
        raise RequestError(
            f"{shown} must be RGB and {_SIDE * _SIDE} pixels wide, got {image.mode} {image.width}"
        )
    return image


def _pictures(array: NDArray[np.generic], shown: str) -> Bytes:
    if array.dtype != np.uint8 or not len(array):
        raise RequestError(f"{shown} must be uint8, got {array.dtype} {array.shape}")
    if array.ndim == 2:
        side = math.isqrt(array.shape[1] * 8)
        if array.shape[1] != -(-side * side // 8):
            raise RequestError(
                f"{shown}: rows of {array.shape[1]} bytes are no square of packed bits"
            )
        bits = np.unpackbits(array.astype(np.uint8), axis=1, count=side * side)
        return bits.reshape(-1, side, side, 1) * np.uint8(255)
    pictures = array[..., None] if array.ndim == 3 else array
    if pictures.ndim != 4 or pictures.shape[3] not in (1, 3):
        raise RequestError(f"{shown} must be (N, H, W), (N, H, W, 1 or 3), got {array.shape}")
    return pictures.astype(np.uint8)


def _checked_labels(found: NDArray[np.generic], count: int, shown: str) -> Labels:
    labels = found.reshape(-1)
    if labels.dtype.kind not in "iu" or len(labels) != count or int(labels.min()) < 0:
        raise RequestError(
            f"{shown}: wanted {count} labels, numbers from 0 on, got {found.dtype} {found.shape}"
        )
    return labels.astype(np.int64)


def rows_of(part: ArrayPart) -> int:
    """How many pictures a part has. Raises RequestError, StorageError as in `read_part`."""
    if part.name.endswith(".bin"):
        return part.entry.size // (_VALUES + 1)
    if part.name.endswith(".png"):
        data = persistently(lambda: storage.read(part.entry.uri))
        with _opened(data, storage.redact(part.entry.uri)) as image:
            return image.height
    return len(_npz(part.entry.uri, part.entry.etag)[part.key])


def facts_of(parts: list[ArrayPart]) -> ArrayFacts:
    """What the pictures of these parts have in common.

    Raises:
        RequestError: they differ, or as in `read_part`.
    """
    found: set[tuple[int, ...]] = set()
    classes, packed = 0, True
    for part in parts:
        pictures, labels = read_part(part)
        found.add(pictures.shape[1:])
        classes = max(classes, 0 if labels is None else int(labels.max()) + 1)
        packed = packed and bool(part.key) and _is_packed(part)
    if len(found) != 1:
        raise RequestError(f"the parts' pictures must be alike, got {sorted(found)}")
    height, width, channels = found.pop()
    return ArrayFacts(height=height, width=width, channels=channels, binary=packed, classes=classes)


def _is_packed(part: ArrayPart) -> bool:
    return _npz(part.entry.uri, part.entry.etag)[part.key].ndim == 2
