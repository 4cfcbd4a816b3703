"""Local folders: streaming listing and writes that appear whole or not at all."""

import os
import re
import secrets
import stat as modes
from collections.abc import Iterator
from pathlib import Path

from tasks.storage_errors import AlreadyExistsError, NotFoundError
from tasks.storage_uris import Entry, local_path, paged

# What _temporary_name makes; a crash may leave one behind, and no listing shows it.
_TEMPORARY = re.compile(r"\..*\.[0-9a-f]{16}\.tmp", re.DOTALL)
_LONGEST_STEM = 200  # bytes; a name has 255, and ours adds 22 to it


class LocalStore:
    """Files by plain path or file:// URI. Every method raises OSError where the system does."""

    def pages(self, uri: str, page_size: int) -> Iterator[list[Entry]]:
        """Every file below the folder, see `_walk`."""
        return paged(_walk(local_path(uri)), page_size)

    def stat(self, uri: str) -> Entry:
        """The entry of one file, behind links."""
        path = local_path(uri)
        status = os.stat(path)  # noqa: PTH116 - a million of them: no Path object each
        if modes.S_ISDIR(status.st_mode):
            raise IsADirectoryError(path)
        return _entry(path, status)

    def read(self, uri: str) -> bytes:
        """The whole file."""
        return Path(local_path(uri)).read_bytes()

    def write(self, uri: str, data: bytes | memoryview, *, exclusive: bool) -> Entry:
        """Writes a file that appears under its name whole and on disk.

        Raises:
            AlreadyExistsError: exclusive, and the name is taken.
        """
        path = local_path(uri)
        folder, name = os.path.split(path)
        Path(folder).mkdir(parents=True, exist_ok=True)
        temporary = f"{folder.rstrip('/')}/{_temporary_name(name)}"
        try:
            written = _write_through(temporary, data)
            if exclusive:
                _link(temporary, path)
            else:
                os.replace(temporary, path)  # noqa: PTH105
        finally:
            Path(temporary).unlink(missing_ok=True)
        _sync_folder(folder)
        return _entry(path, written)

    def delete(self, uri: str) -> None:
        """Deletes a file, if it is there."""
        Path(local_path(uri)).unlink(missing_ok=True)

    def case_sensitive(self, uri: str) -> bool:
        """Whether `a` and `A` are two names in the folder, or where it will be made."""
        there = Path(local_path(uri))
        while not there.is_dir() and there != there.parent:
            there = there.parent
        probe = there / _temporary_name("case")
        probe.touch(exist_ok=False)
        try:
            return not probe.with_name(probe.name.upper()).exists()
        finally:
            probe.unlink(missing_ok=True)


def _entry(path: str, status: os.stat_result) -> Entry:
    """The entry of a file; its tag is the time of its last change (ns) and its size, in hex."""
    etag = f"{status.st_mtime_ns:x}-{status.st_size:x}"
    return Entry(uri=path, size=status.st_size, etag=etag)


def _walk(root: str) -> Iterator[Entry]:
    """Every file below `root`, folder by folder, names sorted; memory is one folder's names.

    Links to files are followed; links to folders are not (they may form a cycle). Sockets,
    pipes and devices are left out: reading one may never end. Raises OSError.
    """
    if not os.path.isdir(root):  # noqa: PTH112
        raise NotFoundError(root, f"no such folder: {root}")
    waiting = [_children(root)]
    while waiting:
        path, is_folder = next(waiting[-1], ("", False))
        if not path:
            waiting.pop()
        elif is_folder:
            waiting.append(_children_left(path))
        elif (status := _status(path)) is not None:
            yield _entry(path, status)


def _children(folder: str) -> Iterator[tuple[str, bool]]:
    """Path of each child and whether it is a folder of its own, sorted by name."""
    folders, names = set(), []
    with os.scandir(folder) as found:
        for child in found:
            if child.is_dir(follow_symlinks=False):
                folders.add(child.name)
            elif _TEMPORARY.fullmatch(child.name):
                continue
            names.append(child.name)
    names.sort()
    return ((f"{folder.rstrip('/')}/{name}", name in folders) for name in names)


def _children_left(folder: str) -> Iterator[tuple[str, bool]]:
    """Its children; none if the folder is gone since the one above was read."""
    try:
        return _children(folder)
    except FileNotFoundError:
        return iter(())


def _status(path: str) -> os.stat_result | None:
    """The file's status, of the link itself where it leads nowhere; None: not a file, or gone."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except FileNotFoundError:
        try:
            return os.lstat(path)  # listed, so that reading it says what is wrong
        except FileNotFoundError:
            return None  # deleted since the folder was read: it is not there any more
    return status if modes.S_ISREG(status.st_mode) else None


def _link(temporary: str, path: str) -> None:
    try:
        os.link(temporary, path)  # unlike a rename, fails where the name is taken
    except FileExistsError as error:
        raise AlreadyExistsError(path, f"{path} exists already, and was to be created") from error


def _temporary_name(name: str) -> str:
    stem = os.fsencode(name)[:_LONGEST_STEM].decode(errors="ignore")
    return f".{stem}.{secrets.token_hex(8)}.tmp"


def _write_through(path: str, data: bytes | memoryview) -> os.stat_result:
    with open(path, "xb", buffering=0) as file:  # noqa: PTH123
        rest = memoryview(data).cast("B")
        while rest:
            rest = rest[file.write(rest) :]
        os.fsync(file.fileno())
        return os.fstat(file.fileno())


def _sync_folder(folder: str) -> None:
    """Puts a rename on disk: without it, a power cut could undo it after we said done."""
    if os.name == "nt":
        return  # a folder can not be opened there, and NTFS journals renames
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
