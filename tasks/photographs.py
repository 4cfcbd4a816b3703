"""A collection of photographs to train on: which are held out, and all on the local disk."""

import hashlib
import logging
import mmap
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from models.images import ImageError
from models.photographs import reduced
from models.pixels import Pixels
from tasks import collection, storage
from tasks.failures import RequestError, explain, persistently
from tasks.picture_pairs import decode_colour
from tasks.prefetch import prefetched
from tasks.runs import StoppedError
from tasks.transform import processors

log = logging.getLogger(__name__)

_SHARE, _FEWEST, _MOST = 10, 4, 16
"""One in ten photographs is held out, at least 4 and at most 16."""
_INDEX = np.dtype([("start", "<i8"), ("height", "<i4"), ("width", "<i4")])


@dataclass(frozen=True, kw_only=True)
class PhotographSplit:
    """URIs in the order of their paths. `digest` is of all paths and etags, `held_out_digest` of
    those that are never trained on: an edited photograph makes another one.
    """

    training: tuple[str, ...]
    held_out: tuple[str, ...]
    digest: str
    held_out_digest: str


def split_photographs(source: str) -> PhotographSplit:
    """List a collection and hold out those whose paths have the lowest digests.

    So a photograph that is added rarely changes what is held out.

    Raises:
        RequestError: fewer than five pictures, or a list that cannot be read.
        StorageError: there is no such source, or its store cannot be asked.
    """
    source = storage.normalise(source)
    by_name = not collection.is_list(source)
    found: list[tuple[str, str, str]] = []
    try:
        for page in persistently(lambda: list(collection.list_collection(source))):
            for relative, entry in page:
                if not (by_name and collection.reason_to_leave_out(relative)):
                    found.append((relative, entry.uri, entry.etag))
    except storage.StorageError:
        raise
    except ValueError as error:
        raise RequestError(str(error)) from error
    if len(found) <= _FEWEST:
        raise RequestError(
            f"{storage.redact(source)} has {len(found)} pictures; a training wants at least"
            f" {_FEWEST + 1}, of which {_FEWEST} are held out"
        )
    found.sort()
    count = min(_MOST, max(_FEWEST, len(found) // _SHARE))
    chosen = {relative for relative, _, _ in sorted(found, key=lambda f: _digest(f[0]))[:count]}
    held = [f for f in found if f[0] in chosen]
    return PhotographSplit(
        training=tuple(uri for relative, uri, _ in found if relative not in chosen),
        held_out=tuple(uri for _, uri, _ in held),
        digest=_digest(*(text for relative, _, etag in found for text in (relative, etag))),
        held_out_digest=_digest(*(text for relative, _, etag in held for text in (relative, etag))),
    )


def _digest(*texts: str) -> str:
    state = hashlib.sha256()
    for text in texts:
        state.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return state.hexdigest()[:16]


class StagedPhotographs(Sequence[Pixels]):
    """Pixels of one file behind a memory map: memory holds an index, the cache the rest."""

    def __init__(self, file: mmap.mmap, index: NDArray[np.void]) -> None:
        self._file = file
        self._index = index

    def __len__(self) -> int:
        return len(self._index)

    @overload
    def __getitem__(self, k: int) -> Pixels: ...
    @overload
    def __getitem__(self, k: slice) -> list[Pixels]: ...
    def __getitem__(self, k: int | slice) -> Pixels | list[Pixels]:
        if isinstance(k, slice):
            return [self[i] for i in range(*k.indices(len(self)))]
        start, height, width = (int(value) for value in self._index[k])
        size = height * width * 3
        flat: Pixels = np.frombuffer(self._file, np.uint8, size, start)
        return flat.reshape(height, width, 3)


def stage_photographs(
    uris: Sequence[str], path: Path, *, side: int, stop: threading.Event
) -> StagedPhotographs:
    """Decode photographs, reduce them to that shorter side and write them into a file.

    That takes 3 side^2 bytes or somewhat more for each: 33 GB for 100,000 of 288 pixels. A damaged
    or vanished one is left out, with a warning.

    Raises:
        RequestError: not one of them can be used.
        StoppedError: `stop` was set.
        StorageError: the store cannot be reached.
    """
    index, start = [], 0
    made = prefetched(
        lambda k: _photograph(uris[k], side), range(len(uris)), workers=processors(), ahead=16
    )
    with path.open("wb") as file:
        for pixels in made:
            if stop.is_set():
                raise StoppedError("stopped while photographs were read; nothing was trained yet")
            if pixels is not None:
                file.write(pixels.tobytes())
                index.append((start, *pixels.shape[:2]))
                start += pixels.size
    _tell_left_out(len(uris) - len(index), uris)
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return StagedPhotographs(mapped, np.array(index, _INDEX))


def read_photographs(uris: Sequence[str], *, side: int) -> list[Pixels]:
    """A few photographs, reduced, in memory; as for `stage_photographs`."""
    found = [pixels for uri in uris if (pixels := _photograph(uri, side)) is not None]
    _tell_left_out(len(uris) - len(found), uris)
    return found


def _tell_left_out(count: int, uris: Sequence[str]) -> None:
    if count == len(uris):
        raise RequestError(f"not one of {len(uris)} photographs can be read: {uris[0]} and others")
    if count:
        log.warning("%d of %d photographs are left out: they cannot be read", count, len(uris))


def _photograph(uri: str, side: int) -> Pixels | None:
    """None for one that is damaged or has vanished, which the log says."""
    try:
        return reduced(decode_colour(persistently(partial(storage.read, uri))), side)
    except (ImageError, storage.NotFoundError) as error:
        log.warning("%s is left out: %s", storage.redact(uri), explain(error))
        return None
