"""Stores without work of their own to do here: memory://, and whatever else fsspec opens."""

import threading
from collections.abc import Iterator
from typing import Any

from tasks.storage_uris import Entry, paged, split


class MemoryStore:
    """This process's memory, over fsspec's MemoryFileSystem. Thread-safe."""

    def __init__(self, fs: Any) -> None:
        self._fs = fs
        self._lock = threading.Lock()  # fsspec looks whether a name is free, and writes later

    def pages(self, uri: str, page_size: int) -> Iterator[list[Entry]]:
        """Every object below the prefix, sorted."""
        prefix = _memory_path(uri).rstrip("/") + "/"
        paths = (path for path in sorted(self._fs.store) if path.startswith(prefix))
        return paged((self._entry(path) for path in paths), page_size)

    def stat(self, uri: str) -> Entry:
        """Raises FileNotFoundError."""
        return self._entry(_memory_path(uri))

    def read(self, uri: str) -> bytes:
        """Raises FileNotFoundError."""
        return bytes(self._file(_memory_path(uri)).getbuffer())  # no seek: others read it too

    def write(self, uri: str, data: bytes | memoryview, *, exclusive: bool) -> Entry:
        """Raises FileExistsError."""
        path = _memory_path(uri)
        with self._lock:
            self._fs.pipe_file(path, bytes(data), mode="create" if exclusive else "overwrite")
            return self._entry(path)

    def delete(self, uri: str) -> None:
        """Deletes it, if it is there."""
        self._fs.store.pop(_memory_path(uri), None)

    def _file(self, path: str) -> Any:
        found = self._fs.store.get(path)
        if found is None:
            raise FileNotFoundError(path)
        return found

    def _entry(self, path: str) -> Entry:
        found = self._file(path)
        etag = f"{int(found.modified.timestamp() * 1e6):x}-{found.size:x}"
        return Entry(uri=f"memory:/{path}", size=found.size, etag=etag)


def _memory_path(uri: str) -> str:
    return "/" + split(uri)[1].strip("/")


class OtherStore:
    """Any file system of fsspec: errors and atomicity are those of its implementation."""

    def __init__(self, fs: Any) -> None:
        self._fs = fs

    def pages(self, uri: str, page_size: int) -> Iterator[list[Entry]]:
        """Every file below, folder by folder."""
        return paged(self._walk(uri), page_size)

    def _walk(self, uri: str) -> Iterator[Entry]:
        for _folder, _folders, files in self._fs.walk(uri, detail=True, on_error="raise"):
            for info in files.values():
                yield _entry(self._fs.unstrip_protocol(info["name"]), info)

    def stat(self, uri: str) -> Entry:
        """Raises IsADirectoryError."""
        info = self._fs.info(uri)
        if info["type"] == "directory":
            raise IsADirectoryError(uri)
        return _entry(uri, info)

    def read(self, uri: str) -> bytes:
        """The whole object."""
        return bytes(self._fs.cat_file(uri))

    def write(self, uri: str, data: bytes | memoryview, *, exclusive: bool) -> Entry:
        """As fsspec does it: object stores show it whole, SFTP and the like do not."""
        self._fs.pipe_file(uri, bytes(data), mode="create" if exclusive else "overwrite")
        return self.stat(uri)

    def delete(self, uri: str) -> None:
        """Deletes it, if it is there."""
        if self._fs.exists(uri):
            self._fs.rm_file(uri)


def _entry(uri: str, info: dict[str, Any]) -> Entry:
    size = info.get("size")
    names = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "modified", "created")
    tag = next((info[name] for name in names if info.get(name)), "")
    return Entry(uri=uri, size=-1 if size is None else int(size), etag=str(tag).strip('"'))
