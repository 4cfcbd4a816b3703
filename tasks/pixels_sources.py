"""What a dataset for pixel models is made of: images of a collection, or rows of arrays."""

import hashlib
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from models.image_modes import reduce_to_8_bits
from models.images import decode
from models.pixel_pictures import Bytes
from tasks import collection, storage, tables
from tasks.dataset_parts import Split
from tasks.failures import RequestError, persistently
from tasks.pixels_arrays import ArrayFacts, ArrayPart, array_parts, facts_of, read_part, rows_of
from tasks.pixels_request import PixelsRequest
from tasks.storage import Entry


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceImage:
    """An image file; `relative` is its path below the collection."""

    relative: str
    entry: Entry

    @property
    def label(self) -> str | None:
        """The name of the folder that it lies in."""
        folders = self.relative.split("/")[:-1]
        return tables.storable(folders[-1]) if folders else None


@dataclass(frozen=True, kw_only=True)
class PixelsShard:
    """So many source pictures: images, or the rows first to last - 1 of a part."""

    number: int
    fingerprint: str
    images: tuple[SourceImage, ...] = ()
    part: ArrayPart | None = None
    first: int = 0
    last: int = 0

    def __len__(self) -> int:
        return len(self.images) or self.last - self.first


@dataclass(frozen=True, kw_only=True, eq=False)
class SourcePicture:
    """A picture before it is cut, (H, W, 1 or 3), and what its source says of it."""

    name: str
    pixels: Bytes
    label: int | None
    split: Split | None


@dataclass(kw_only=True, eq=False)
class Findings:
    """What a source holds. names: of its labels, by number; facts: of arrays, None for images."""

    shards: tuple[PixelsShard, ...]
    names: tuple[str, ...]
    facts: ArrayFacts | None
    own_splits: frozenset[Split] = frozenset()
    left_out: Counter[str] = field(default_factory=Counter)


def find_sources(request: PixelsRequest, config_digest: str) -> Findings:
    """List a source and divide it into shards, the same ones for the same source.

    Raises:
        RequestError: nothing is there to take, or arrays that cannot be read.
        StorageError: it cannot be listed.
    """
    parts = array_parts(request.source)
    return _arrays(parts, request, config_digest) if parts else _collection(request, config_digest)


def _arrays(parts: list[ArrayPart], request: PixelsRequest, config_digest: str) -> Findings:
    shards: list[PixelsShard] = []
    for part in parts:
        rows = rows_of(part)
        for first in range(0, rows, request.shard_size):
            last = min(first + request.shard_size, rows)
            tags = f"{part.entry.etag} {part.labels.etag if part.labels else ''}"
            line = f"{config_digest} {part.name} {part.entry.size} {tags} {first} {last}"
            shards.append(
                PixelsShard(
                    number=len(shards),
                    fingerprint=_digest(line),
                    part=part,
                    first=first,
                    last=last,
                )
            )
    facts = facts_of(parts)
    return Findings(
        shards=tuple(shards),
        names=tuple(str(n) for n in range(facts.classes)),
        facts=facts,
        own_splits=frozenset(part.split for part in parts),
    )


def _collection(request: PixelsRequest, config_digest: str) -> Findings:
    images, left_out = [], Counter[str]()
    by_name = not collection.is_list(request.source)
    for page in collection.list_collection(request.source):
        for relative, entry in page:
            reason = collection.reason_to_leave_out(relative) if by_name else None
            if reason is None:
                images.append(SourceImage(relative=relative, entry=entry))
            else:
                left_out[reason] += 1
    if not images:
        raise RequestError(f"there is no image in {storage.redact(request.source)}, wanted some")
    images.sort(key=lambda image: image.relative)
    labelled = request.labels == "folder"
    names = sorted({image.label for image in images if image.label}) if labelled else []
    size = request.shard_size
    held = [tuple(images[start : start + size]) for start in range(0, len(images), size)]
    shards = tuple(
        PixelsShard(number=number, fingerprint=_fingerprint(own, names, config_digest), images=own)
        for number, own in enumerate(held)
    )
    return Findings(shards=shards, names=tuple(names), facts=None, left_out=left_out)


def _fingerprint(images: tuple[SourceImage, ...], names: list[str], config_digest: str) -> str:
    lines = [config_digest, *names]
    lines += [f"{i.relative} {i.entry.size} {i.entry.etag}" for i in images]
    return _digest("\n".join(lines))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def read_image(image: SourceImage, numbers: dict[str, int], stop: threading.Event) -> SourcePicture:
    """An image file's picture in RGB; numbers: of its labels. `stop` ends the waiting for a store.

    Raises:
        ImageError: it cannot be read.
        StorageError: the store cannot be asked.
    """
    data = persistently(lambda: storage.read(image.entry.uri), stop=stop)
    pixels = reduce_to_8_bits(decode(data).pixels)
    colour = pixels[:, :, :3] if pixels.shape[2] > 2 else pixels[:, :, :1].repeat(3, axis=2)
    return SourcePicture(
        name=tables.storable(image.relative),
        pixels=np.ascontiguousarray(colour),
        label=numbers.get(image.label or ""),
        split=None,
    )


def read_rows(shard: PixelsShard) -> Iterator[SourcePicture]:
    """The pictures of a shard of rows. Raises RequestError, StorageError as in `read_part`."""
    if shard.part is None:
        raise ValueError(f"shard {shard.number} is of images, wanted one of rows")
    pictures, labels = read_part(shard.part)
    for row in range(shard.first, min(shard.last, len(pictures))):
        yield SourcePicture(
            name=f"{shard.part.name}/{row:06d}",
            pixels=pictures[row],
            label=None if labels is None else int(labels[row]),
            split=shard.part.split,
        )
