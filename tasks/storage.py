"""The only door to fsspec: list, read and write anything it opens, with errors that are ours.

Local folders and S3, where the work is done, have their own modules; memory:// serves tests and
small runs; whatever else fsspec opens goes through its common interface.

StorageError
 |- NotFoundError            no such bucket, folder or object
 |- AccessDeniedError        credentials or permissions
 |- AlreadyExistsError       an exclusive write found the name taken
 |- StorageUnavailableError  network, timeouts, 5xx: worth another try
 |- StorageFullError         the disk or its quota has no room left
 |- InvalidUriError          malformed, or nothing installed opens it
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import fsspec
import fsspec.config
import fsspec.core

from tasks.storage_errors import (
    AccessDeniedError,
    AlreadyExistsError,
    InvalidUriError,
    NotFoundError,
    StorageError,
    StorageFullError,
    StorageUnavailableError,
    ours,
    redact,
)
from tasks.storage_local import LocalStore
from tasks.storage_others import MemoryStore, OtherStore
from tasks.storage_uris import Entry, is_within, join, normalise, split

__all__ = [
    "AccessDeniedError",
    "AlreadyExistsError",
    "Entry",
    "InvalidUriError",
    "NotFoundError",
    "StorageError",
    "StorageFullError",
    "StorageUnavailableError",
    "case_sensitive",
    "delete",
    "disconnect",
    "exists",
    "is_folder",
    "is_within",
    "join",
    "list_pages",
    "normalise",
    "read",
    "redact",
    "stat",
    "write",
]


class _Store(Protocol):
    """What every kind of store does; errors are its own, `ours` translates them."""

    def pages(self, uri: str, page_size: int) -> Iterator[list[Entry]]: ...
    def stat(self, uri: str) -> Entry: ...
    def read(self, uri: str) -> bytes: ...
    def write(self, uri: str, data: bytes | memoryview, *, exclusive: bool) -> Entry: ...
    def delete(self, uri: str) -> None: ...


_lock = threading.Lock()
_stores: dict[str, _Store] = {}  # by protocol (and host), shared by all threads


def disconnect() -> None:
    """Forgets connections, so that the next call reads credentials and endpoint again."""
    with _lock:
        _stores.clear()


def _after_fork() -> None:
    # The child has neither the thread behind a connection nor, perhaps, a free lock.
    global _lock
    _lock = threading.Lock()
    _stores.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def _opened(uri: str) -> Iterator[_Store]:
    """The store of a URI; errors inside the block become ours."""
    protocol, path = split(uri)
    place = protocol
    if protocol not in ("file", "s3", "memory"):
        place += "://" + path.partition("/")[0]  # sftp://a and sftp://b are two connections
    with ours(uri, protocol):
        with _lock:
            store = _stores.get(place)
            if store is None:
                store = _stores[place] = _connect(uri, protocol)
        yield store


def _connect(uri: str, protocol: str) -> _Store:
    if protocol == "file":
        return LocalStore()
    if protocol == "s3":
        return _connect_s3()
    if protocol == "memory":
        return MemoryStore(fsspec.filesystem("memory"))
    if "::" in uri:
        raise InvalidUriError(uri, f"{uri} is a chained URI, want one protocol")
    try:
        fs, _path = fsspec.core.url_to_fs(uri, skip_instance_cache=True, use_listings_cache=False)
    except (ImportError, ValueError) as error:  # fsspec's words name the package to install
        raise InvalidUriError(uri, f"{uri} can not be opened: {error}") from error
    return OtherStore(fs)


def _connect_s3() -> _Store:
    """From the standard variables and what FSSPEC_S3 says."""
    from tasks import storage_s3  # here: importing botocore takes a second

    said = {**fsspec.config.conf.get("s3a", {}), **fsspec.config.conf.get("s3", {})}
    # fsspec reads FSSPEC_S3_KEY=123 as a number, which botocore then refuses
    login = {name: str(said[name]) for name in ("key", "secret", "token") if said.get(name)}
    fs = fsspec.filesystem(
        "s3",
        skip_instance_cache=True,  # this one is shared by threads; fsspec keeps one a thread
        use_listings_cache=False,  # a vanished object must be seen to have vanished
        config_kwargs={**storage_s3.CONFIG, **said.get("config_kwargs", {})},
        **login,
    )
    return storage_s3.S3Store(fs)


def list_pages(uri: str, *, page_size: int = 1000) -> Iterator[list[Entry]]:
    """Every file below a folder, bucket or prefix, in lists of up to `page_size` as they come.

    Nothing is collected: memory is a page (locally, also one folder's names). No order is
    promised. Files that a local write has in progress are not shown.

    Raises:
        ValueError: page_size is below 1.
        NotFoundError: there is no such folder, or no file in it (at the first page).
        StorageError: see the module.
    """
    if page_size < 1:
        raise ValueError(f"page_size must be at least 1, got {page_size}")
    split(uri)  # a malformed URI fails here, not at the first page
    return _list_pages(uri, page_size)


def _list_pages(uri: str, page_size: int) -> Iterator[list[Entry]]:
    found = False
    with _opened(uri) as store:
        for page in store.pages(uri, page_size):
            if page:
                found = True
                yield page
    if not found:
        raise NotFoundError(uri, f"no such folder, or no file in it: {uri}")


def stat(uri: str) -> Entry:
    """Size and tag of one object. Raises NotFoundError, also for a folder; StorageError."""
    with _opened(uri) as store:
        return store.stat(uri)


def exists(uri: str) -> bool:
    """Whether there is an object of exactly this name; a folder is none. Raises StorageError."""
    try:
        stat(uri)
    except NotFoundError:
        return False
    return True


def is_folder(uri: str) -> bool:
    """Whether any file lies below. Raises StorageError, but not for what is not there."""
    try:
        return any(list_pages(uri, page_size=10))
    except NotFoundError:
        return False


def read(uri: str) -> bytes:
    """The whole content of one object. Raises NotFoundError, StorageError."""
    with _opened(uri) as store:
        return store.read(uri)


def write(uri: str, data: bytes | memoryview, *, exclusive: bool = False) -> Entry:
    """Writes one object, folders included, so that readers see all of it or what was before.

    Stores other than local, S3 and memory are as atomic as fsspec's writing of them is: object
    stores are, SFTP is not.

    Args:
        exclusive: create it, or fail if it exists. One of many racing writers wins. On S3,
            finding the same content counts as success: it may be ours, its reply lost.
    Raises:
        ValueError: an empty exclusive write: S3 stores can not promise one winner.
        AlreadyExistsError: exclusive, and it exists.
        StorageError: see the module.
    """
    if exclusive and not len(data):
        raise ValueError(f"an exclusive write needs at least one byte, got none for {redact(uri)}")
    with _opened(uri) as store:
        return store.write(uri, data, exclusive=exclusive)


def delete(uri: str, *, missing_ok: bool = True) -> None:
    """Deletes one object, never a folder.

    Raises:
        NotFoundError: not missing_ok, and it is not there; or it is a local folder.
        StorageError: see the module.
    """
    if not missing_ok:
        stat(uri)  # S3 does not say whether there was something to delete
    with _opened(uri) as store:
        store.delete(uri)


def case_sensitive(folder_uri: str) -> bool:
    """Whether names that differ in case alone are two files there. Raises StorageError.

    Locally a file is made for a moment, in the folder or the nearest one above that exists.
    """
    with _opened(folder_uri) as store:
        return not isinstance(store, LocalStore) or store.case_sensitive(folder_uri)
