"""From a collection of images to shards of what is still to do, in a stream."""

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache, partial
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.images import IMAGE_SUFFIXES, Format
from tasks import storage, tables
from tasks.failures import listed_persistently, persistently
from tasks.manifest_parts import read_parts
from tasks.output_names import output_name, suffix_of
from tasks.storage import Entry

OutputFormat = Literal["png", "webp", "jpeg", "keep"]

_SYSTEM_FILES = frozenset({"desktop.ini", "thumbs.db"})
_GLOB_CHARACTERS = frozenset("*?[")
_MANIFEST_READERS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One image to work on, and where its output goes below DESTINATION."""

    uri: str
    relative: str
    size: int
    etag: str
    output: str
    format: Format


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """The unit of work, retry and commit."""

    number: int
    sources: tuple[Source, ...]


@dataclass(kw_only=True)
class PlanCounts:
    """What planning has met so far; it grows while the shards are taken."""

    found: int = 0
    already_done: int = 0
    to_do: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


def reason_to_leave_out(relative: str) -> str | None:
    """Why a key is no image by its name: "hidden", "system file", "not an image"; or None."""
    parts = relative.split("/")
    if any(part.startswith(".") and part not in (".", "..") for part in parts):
        return "hidden"
    if parts[-1].lower() in _SYSTEM_FILES:
        return "system file"
    return None if suffix_of(relative) in IMAGE_SUFFIXES else "not an image"


def list_collection(source: str) -> Iterator[list[tuple[str, Entry]]]:
    """Pages of (path below the collection's root, entry), streaming.

    Args:
        source: a prefix or folder, a glob, one image, or a Parquet or CSV list with a `uri` column
            (relative ones are taken from the list's own folder).
    Raises:
        NotFoundError: nothing is there.
        ValueError: a list without a `uri` column, or not readable as what its name says.
    """
    if _GLOB_CHARACTERS & set(source) and not persistently(partial(storage.exists, source)):
        yield from _list_glob(source)
    elif persistently(partial(storage.is_folder, source)):
        for page in listed_persistently(source):
            yield [(_below(source, entry.uri), entry) for entry in page]
    elif is_list(source):
        yield from _list_table(source, suffix_of(source))
    else:
        entry = persistently(partial(storage.stat, source))
        yield [(source.rpartition("/")[2], entry)]


def check_exists(source: str) -> None:
    """Ask the store whether a source is there at all; a glob is not asked.

    Raises:
        NotFoundError: it is neither an object nor a folder with something in it.
        StorageError: the store cannot be asked.
    """
    if not (_GLOB_CHARACTERS & set(source)) and not storage.is_folder(source):
        storage.stat(source)


def is_list(source: str) -> bool:
    """Whether a source is, by its name, a Parquet or CSV list and not a collection itself."""
    return suffix_of(source) in (".parquet", ".csv")


@lru_cache(maxsize=64)
def is_single(source: str) -> bool:
    """Whether a source is one image and no collection."""
    several = _GLOB_CHARACTERS & set(source) or is_list(source)
    return not several and not persistently(partial(storage.is_folder, source))


def _below(root: str, uri: str) -> str:
    return uri[len(root) + 1 :] if root and not root.endswith("/") else uri[len(root) :]


def _list_glob(pattern: str) -> Iterator[list[tuple[str, Entry]]]:
    """`*` and `?` stay within a path component, `**` spans several."""
    first = min(pattern.index(c) for c in _GLOB_CHARACTERS if c in pattern)
    root = pattern[:first].rpartition("/")[0]
    wanted = _below(root, pattern).split("/")
    met = False
    for page in listed_persistently(root):
        named = [(_below(root, entry.uri), entry) for entry in page]
        matching = [(r, e) for r, e in named if _matches(r.split("/"), wanted)]
        met = met or bool(matching)
        yield matching
    if not met:
        raise storage.NotFoundError(pattern, f"nothing matches {pattern}")


def _matches(parts: list[str], wanted: list[str]) -> bool:
    if not wanted:
        return not parts
    if wanted[0] == "**":
        return any(_matches(parts[i:], wanted[1:]) for i in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], wanted[0]) and _matches(parts[1:], wanted[1:])


def _list_table(source: str, suffix: str) -> Iterator[list[tuple[str, Entry]]]:
    """The distinct URIs of a list; those that cannot be found come with an empty etag."""
    folder = source.rpartition("/")[0]
    seen: set[bytes] = set()
    with ThreadPoolExecutor(_MANIFEST_READERS) as pool:
        for uris in _batches(_listed_uris(source, suffix), 1000):
            resolved = {_digest(u): u for u in (_resolve(folder, uri) for uri in uris)}
            fresh = [uri for key, uri in resolved.items() if key not in seen]
            seen.update(resolved)
            entries = pool.map(_stat_or_missing, fresh)
            yield [(_relative_in_list(folder, e.uri), e) for e in entries]


def _listed_uris(source: str, suffix: str) -> list[str]:
    data = persistently(partial(storage.read, source))
    if suffix == ".parquet":
        try:
            values = tables.from_parquet(data, ["uri"]).column("uri").to_pylist()
        except (ValueError, KeyError) as error:
            raise ValueError(f"{source} is no Parquet list with a `uri` column") from error
        return [str(value) for value in values if value]
    reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig", "replace")))
    if "uri" not in (reader.fieldnames or []):
        raise ValueError(f"{source} has the columns {reader.fieldnames}, wanted one named uri")
    return [row["uri"].strip() for row in reader if (row["uri"] or "").strip()]


def _resolve(folder: str, uri: str) -> str:
    absolute = "://" in uri or uri.startswith("/")
    return storage.normalise(uri if absolute else storage.join(folder, uri))


def _relative_in_list(folder: str, uri: str) -> str:
    """Below the list's folder its path there; anywhere else the whole URI as a path."""
    if storage.is_within(uri, folder):
        return _below(folder, uri)
    return "elsewhere/" + uri.replace("://", "/").lstrip("/")


def _stat_or_missing(uri: str) -> Entry:
    try:
        return persistently(partial(storage.stat, uri))
    except storage.StorageUnavailableError:
        raise  # it may well be there
    except storage.StorageError:
        # it becomes a failed row, with the reason, when the engine tries to read it
        return Entry(uri=uri, size=0, etag="")


def _batches(values: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


def _digest(text: str, size: int = 16) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest()


_KEY = np.dtype([("high", "<u8"), ("low", "<u8")])


@dataclass(frozen=True, kw_only=True, eq=False)
class DoneIndex:
    """For each source its current row's state: 24 bytes a source, sorted by the source's digest."""

    sources: NDArray[np.void]
    states: NDArray[np.uint64]

    @staticmethod
    def empty() -> "DoneIndex":
        """Nothing is done."""
        return DoneIndex(sources=np.empty(0, _KEY), states=np.empty(0, np.uint64))

    def __len__(self) -> int:
        return len(self.sources)

    def done(self, entries: list[Entry], config_digest: str) -> NDArray[np.bool_]:
        """Which entries are done: their current row is ok, with this etag and config."""
        if not len(self.sources):
            return np.zeros(len(entries), bool)
        keys = np.frombuffer(b"".join(_digest(tables.storable(e.uri)) for e in entries), _KEY)
        wanted = np.frombuffer(
            b"".join(_state("ok", e.etag, config_digest) for e in entries), np.uint64
        )
        at = np.searchsorted(self.sources["high"], keys["high"])
        at = np.minimum(at, len(self.sources) - 1)
        same: NDArray[np.bool_] = (self.sources[at] == keys) & (self.states[at] == wanted)
        return same


def _state(status: str, etag: str, config_digest: str) -> bytes:
    return _digest("\0".join((status, etag, config_digest)), 8)


def config_of_model(config_digest: str, model_digest: str) -> str:
    """What to plan with against `read_done(..., by_model=True)`: this config by this model only."""
    return f"{config_digest}+{model_digest}"


def read_done(destination: str, *, by_model: bool = False) -> DoneIndex:
    """Index the current row of every source that a destination's manifests know.

    The current row of a source is its latest. A part that is no Parquet file is an error: it was
    written whole or not at all, so somebody damaged it.

    Args:
        by_model: tell rows apart by their model's digest, too: see `config_of_model`.
    Raises:
        ValueError: a manifest part cannot be read.
    """
    keys, states, times = [], [], []
    for key, state, at in read_parts(destination, partial(_read_part, by_model=by_model)):
        keys.append(key)
        states.append(state)
        times.append(at)
    if not keys:
        return DoneIndex.empty()
    key, state, at = np.concatenate(keys), np.concatenate(states), np.concatenate(times)
    order = np.lexsort((at, key["low"], key["high"]))
    key, state = key[order], state[order]
    last = np.append(key[1:] != key[:-1], True)
    return DoneIndex(sources=key[last], states=state[last])


_STATE_COLUMNS = ["source", "source_etag", "config_digest", "status", "finished_at"]


def _read_part(
    uri: str, *, by_model: bool
) -> tuple[NDArray[np.void], NDArray[np.uint64], NDArray[np.int64]]:
    columns = [*_STATE_COLUMNS, "model_digest"] if by_model else _STATE_COLUMNS
    try:
        table = tables.from_parquet(persistently(partial(storage.read, uri)), columns)
    except ValueError as error:
        raise ValueError(f"{uri}: {error}") from error
    source, etag, config, status = (
        [value or "" for value in table.column(i).to_pylist()] for i in range(4)
    )
    if by_model:
        models = table.column("model_digest").to_pylist()
        config = [config_of_model(c, str(m)) for c, m in zip(config, models, strict=True)]
    key = np.frombuffer(b"".join(map(_digest, source)), _KEY)
    state = np.frombuffer(b"".join(map(_state, status, etag, config)), np.uint64)
    return key, state, table.column(4).cast(pa.int64()).to_numpy()


@dataclass(frozen=True, kw_only=True)
class PlanConfig:
    """How a collection is cut into shards: at most so many images and bytes each."""

    shard_size: int = 256
    shard_bytes: int = 64 * 2**20
    limit: int | None = None
    format: OutputFormat = "png"
    case_sensitive: bool = True
    by_name: bool = True
    """Leave out what is no image by its name; False where the user listed each source."""


def plan_shards(
    pages: Iterable[list[tuple[str, Entry]]],
    done: DoneIndex,
    *,
    config_digest: str,
    config: PlanConfig,
    counts: PlanCounts,
) -> Iterator[Shard]:
    """Shards of what is to do, while the listing still runs; `counts` grows along."""
    waiting: list[Source] = []
    waiting_bytes, number = 0, 0
    named = partial(output_name, wanted=config.format, case_sensitive=config.case_sensitive)
    for page in pages:
        for relative, entry in _to_do(page, done, config_digest, counts, by_name=config.by_name):
            if config.limit is not None and counts.to_do >= config.limit:
                break
            name, chosen = named(relative)
            full = len(waiting) >= config.shard_size
            if waiting and (full or waiting_bytes + entry.size > config.shard_bytes):
                yield Shard(number=number, sources=tuple(waiting))
                waiting, waiting_bytes, number = [], 0, number + 1
            counts.to_do += 1
            waiting_bytes += entry.size
            waiting.append(
                Source(
                    uri=entry.uri,
                    relative=relative,
                    size=entry.size,
                    etag=entry.etag,
                    output=f"images/{name}",
                    format=chosen,
                )
            )
        if config.limit is not None and counts.to_do >= config.limit:
            break
    if waiting:
        yield Shard(number=number, sources=tuple(waiting))


def _to_do(
    page: list[tuple[str, Entry]],
    done: DoneIndex,
    config_digest: str,
    counts: PlanCounts,
    *,
    by_name: bool,
) -> Iterator[tuple[str, Entry]]:
    images = []
    for relative, entry in page:
        reason = reason_to_leave_out(relative) if by_name else None
        if reason is None:
            images.append((relative, entry))
        else:
            counts.left_out[reason] += 1
    counts.found += len(images)
    finished = done.done([entry for _, entry in images], config_digest)
    counts.already_done += int(finished.sum())
    for (relative, entry), is_done in zip(images, finished, strict=True):
        if not is_done:
            yield relative, entry
