"""Names of things in storage: taking URIs apart and putting them together, no I/O."""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tasks.storage_errors import InvalidUriError

_PROTOCOL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_ONE_SLASH = re.compile(r"(s3a?|gs|gcs|abfs|az|https?|memory|file):(?!//)")
_CHAINED = re.compile(r"[a-z0-9]+::[a-z0-9]+:")
_ALIASES = {"local": "file", "s3a": "s3", "gcs": "gs"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One object: its full URI, its size in bytes (-1: not told) and a tag that edits change."""

    uri: str
    size: int
    etag: str


def paged(entries: Iterable[Entry], page_size: int) -> Iterator[list[Entry]]:
    """The entries in lists of `page_size`; the last may be shorter, or empty."""
    page: list[Entry] = []
    for found in entries:
        page.append(found)
        if len(page) == page_size:
            yield page
            page = []
    yield page


def split(uri: str) -> tuple[str, str]:
    """Protocol and the rest of a URI, exactly as written; a plain path has protocol "file".

    Raises:
        InvalidUriError: empty, chained (`zip://a::s3://b`), or has a NUL or a lost slash.
    """
    if not uri or "\0" in uri:
        raise InvalidUriError(uri, f"a URI is a folder or PROTOCOL://..., got {uri!r}")
    match = _PROTOCOL.match(uri)
    if match:
        protocol = match[1].lower()
        return _ALIASES.get(protocol, protocol), uri[match.end() :]
    if _ONE_SLASH.match(uri):
        raise InvalidUriError(uri, f"{uri} lacks '//' after the protocol, want PROTOCOL://...")
    if _CHAINED.match(uri):
        raise InvalidUriError(uri, f"{uri} is a chained URI, want one protocol")
    return "file", uri


def bucket_and_key(uri: str) -> tuple[str, str]:
    """Bucket and exact key ('' for the bucket itself) of an S3 URI.

    s3fs's own split drops '?versionId=' and the slashes of keys made of them; this keeps all.

    Raises:
        InvalidUriError: it names no bucket.
    """
    _, path = split(uri)
    if path.startswith("arn:"):  # an access point has a slash inside its "bucket"
        parts = path.split("/", 2)
        return "/".join(parts[:2]), parts[2] if len(parts) > 2 else ""
    bucket, _, key = path.partition("/")
    if not bucket:
        raise InvalidUriError(uri, f"{uri} names no bucket, want s3://BUCKET/KEY")
    return bucket, key


def local_path(uri: str) -> str:
    """The absolute path behind a plain path or file:// URI, without '..' or a trailing slash."""
    return os.path.abspath(os.path.expanduser(split(uri)[1] or "/"))  # noqa: PTH100, PTH111


def normalise(uri: str | os.PathLike[str]) -> str:
    """One spelling a folder: an absolute path, or PROTOCOL://... without a trailing slash.

    Raises:
        InvalidUriError: see `split`; or an S3 URI without a bucket.
    """
    text = os.fspath(uri)
    protocol, path = split(text)
    if protocol == "file":
        return local_path(text)
    if protocol == "s3":
        bucket_and_key(text)
    elif protocol == "memory":
        path = path.lstrip("/")
    elif protocol in ("http", "https"):
        return text  # there a trailing slash is another page
    return f"{protocol}://{path.rstrip('/')}"


def join(base: str, *parts: str) -> str:
    """The URI of something below `base`: parts are kept exactly, '..', '//' and all.

    An empty part is left out. Check untrusted parts with `is_within` before writing there.

    Raises:
        InvalidUriError: the base is empty.
    """
    split(base)
    match = _PROTOCOL.match(base)
    root = match[0] if match else ""
    below = base[len(root) :].rstrip("/")
    kept = [part for part in parts if part]
    if not below and root and not base.endswith("///"):
        return root + "/".join(kept)  # "memory://" and "a": one more slash would be a name
    return root + "/".join([below, *kept]) if kept or below else base


def is_within(inner: str, outer: str) -> bool:
    """Whether `inner` is `outer` or lies below it; local links and '..' are resolved first."""
    first, second = _comparable(inner), _comparable(outer)
    return first == second or first.startswith(second.rstrip("/") + "/")


def _comparable(uri: str) -> str:
    plain = normalise(uri)
    return plain if split(plain)[0] != "file" else os.path.normcase(os.path.realpath(plain))
