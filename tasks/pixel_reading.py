"""The pictures of a pixel job: of a collection's files, or of a dataset's Parquet parts."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import pyarrow as pa
from numpy.typing import NDArray

from models.images import MAX_PIXELS, ImageError, Picture, decode
from models.pixel_pictures import Bytes
from tasks import collection, storage, tables
from tasks.collection import Shard, Source
from tasks.failures import listed_persistently, persistently
from tasks.prefetch import prefetched
from tasks.storage import Entry

_READERS, _AHEAD = 4, 16

ToLevels = Callable[[Picture], Bytes]
"""(H, W, C) levels of a decoded picture; raises ImageError."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PixelPicture:
    """A picture, or why there is none.

    channels: the source's own, 1 or 3. label: its own. condition: the class that the model is told.
    """

    source: Source
    levels: Bytes | None = None
    channels: int = 0
    label: int | None = None
    condition: int | None = None
    split: str | None = None
    error: Exception | None = None
    decode_s: float = 0.0

    @property
    def size(self) -> tuple[int, int]:
        """Height and width. Raises ValueError where there is no picture."""
        height, width = self.pixels.shape[:2]
        return int(height), int(width)

    @property
    def pixels(self) -> NDArray[Any]:
        """The levels. Raises ValueError where there are none."""
        if self.levels is None:
            raise ValueError(f"{self.source.uri} has no pixels: {self.error}")
        return self.levels


def is_dataset(source: str) -> bool:
    """Whether a source is a folder with Parquet parts under data/, as `dataset pixels` leaves it.

    Raises:
        StorageError: the store cannot be asked.
    """
    if collection.is_list(source):
        return False
    try:
        first = persistently(partial(_first_page, storage.join(source, "data")))
    except storage.NotFoundError:
        return False
    return all(entry.uri.endswith(".parquet") for entry in first)


def _first_page(folder: str) -> list[Entry]:
    return next(storage.list_pages(folder, page_size=10))


def list_pictures(source: str, split: str | None) -> Iterator[list[tuple[str, Entry]]]:
    """Pages of (path below the source, entry): files, or rows of a dataset as PART#ROW.

    Args:
        split: of a dataset; None is all of them. A collection has none.
    Raises:
        NotFoundError: nothing is there.
        ValueError: a part that is no Parquet file with a column image.
    """
    if not is_dataset(source):
        yield from collection.list_collection(source)
        return
    root = storage.join(source, "data")
    found = False
    for page in listed_persistently(root):
        for entry in sorted(page, key=lambda entry: entry.uri):
            relative = entry.uri[len(root) + 1 :]
            if split in (None, relative.split("/")[0]):
                found = True
                yield _rows_of(entry, relative)
    if not found:
        raise storage.NotFoundError(root, f"the dataset {source} has no split {split!r}")


def _rows_of(entry: Entry, relative: str) -> list[tuple[str, Entry]]:
    rows = _part(entry.uri, entry.etag).num_rows
    stem, each = relative.removesuffix(".parquet"), entry.size // max(1, rows)
    return [
        (f"{stem}-{n:06d}.png", Entry(uri=f"{entry.uri}#{n}", size=each, etag=entry.etag))
        for n in range(rows)
    ]


@lru_cache(maxsize=4)
def _part(uri: str, etag: str) -> pa.Table:
    """A part of a dataset; several rows of it are read one after the other."""
    del etag  # another file of the same name is another part
    table = tables.from_parquet(persistently(lambda: storage.read(uri)))
    if "image" not in table.column_names:
        names = ", ".join(table.column_names)
        raise ValueError(f"{storage.redact(uri)} must have a column image, it has {names}")
    return table


def read_shard(
    shard: Shard,
    to_levels: ToLevels,
    *,
    dataset: bool,
    label: int | None,
    classes: int,
    max_pixels: int = MAX_PIXELS,
) -> Iterator[PixelPicture]:
    """The shard's pictures in order, read ahead by threads; a bad one says why in `error`.

    Args:
        label: what the model is told instead of a picture's own label.
        classes: of the model; 0 is told nothing.
        max_pixels: of a picture that is still decoded.
    Raises:
        StorageUnavailableError: the store cannot be reached.
    """

    def make(number: int) -> PixelPicture:
        source = shard.sources[number]
        try:
            data, own, split = _read(source, dataset=dataset)
            began = time.thread_time()
            picture = decode(data, max_pixels=max_pixels)
            return PixelPicture(
                source=source,
                levels=to_levels(picture),
                channels=3 if picture.pixels.shape[2] >= 3 else 1,
                label=own,
                condition=_condition(own, label, classes),
                split=split,
                decode_s=time.thread_time() - began,
            )
        except storage.StorageUnavailableError:
            raise
        except (ImageError, storage.StorageError, MemoryError, ValueError) as error:
            return PixelPicture(source=source, error=error)

    yield from prefetched(make, range(len(shard.sources)), workers=_READERS, ahead=_AHEAD)


def _read(source: Source, *, dataset: bool) -> tuple[bytes, int | None, str | None]:
    """Bytes, label and split."""
    if not dataset:
        return persistently(lambda: storage.read(source.uri)), None, None
    uri, _, number = source.uri.rpartition("#")
    table, row = _part(uri, source.etag), int(number)
    data = (table.column("image")[row].as_py() or {}).get("bytes")
    if not data:
        raise ValueError("the row holds no image bytes")
    label = table.column("label")[row].as_py() if "label" in table.column_names else None
    own = label if isinstance(label, int) else None
    return bytes(data), own, source.relative.split("/")[0]


def _condition(own: int | None, given: int | None, classes: int) -> int | None:
    if not classes:
        return None
    label = own if given is None else given
    if label is None:
        raise ImageError(
            "no_label",
            f"the model wants one of {classes} classes, the picture has no label; give --label",
        )
    if not 0 <= label < classes:
        raise ImageError("no_label", f"the model has the classes 0 to {classes - 1}, got {label}")
    return label
