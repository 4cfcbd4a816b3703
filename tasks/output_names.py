"""Where a source's output goes: a function of its own name alone, so that it never changes.

No two sources share an output, whatever else lies beside them now or arrives later, and no key
leaves the folder. Hence a converted picture keeps its whole name: `a.jpg` becomes `a.jpg.png`, so
that it can never meet `a.png`.
"""

import hashlib
import re
from typing import Literal

from models.images import IMAGE_SUFFIXES, Format, output_format

SUFFIX: dict[Format, str] = {"png": ".png", "webp": ".webp", "jpeg": ".jpg"}
_SAME_FORMAT: dict[Format, tuple[str, ...]] = {
    "png": (".png",),
    "webp": (".webp",),
    "jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"),
}
_NO_SUFFIX = ".noext"
_UNSAFE = frozenset('%\\:*?"<>|')
_DIGESTED = re.compile(r"~[0-9a-f]{16}(\.[^.]*)?\Z")
_LONGEST = 180  # bytes of one path component; file systems allow 255, temporary names need some


def suffix_of(name: str) -> str:
    """The lower-case suffix of a key's last component, ".jpg"; "" without one."""
    stem, dot, end = name.rpartition("/")[2].rpartition(".")
    return f".{end.lower()}" if dot and stem else ""


def output_name(
    relative: str, wanted: Literal["png", "webp", "jpeg", "keep"], *, case_sensitive: bool = True
) -> tuple[str, Format]:
    """The output's path below DESTINATION/images, and its format.

    Args:
        relative: the source's path below the collection's root, as it stands in the store: it may
            hold "..", "//", control characters, and be of any length.
        case_sensitive: False where the destination takes "A.png" and "a.png" for one file.
    Returns:
        A relative path without "." or ".." or empty components; injective in `relative`.
    """
    chosen = output_format(relative, wanted)
    name = relative
    suffix = suffix_of(name)
    if suffix not in IMAGE_SUFFIXES:
        name, suffix = name + _NO_SUFFIX, _NO_SUFFIX
    stem = name[: len(name) - len(suffix)]
    # a.jpg.png would meet the output of a.jpg, and gets one more suffix itself
    inner = suffix_of("x" + stem.rpartition("/")[2])  # "x": the output of "a/" is a/.noext.png
    taken = inner in IMAGE_SUFFIXES or inner == _NO_SUFFIX
    if taken or suffix not in _SAME_FORMAT[chosen]:
        name += SUFFIX[chosen]
    parts = [_safe_component(part) for part in name.split("/")]
    if not case_sensitive and relative != relative.lower():
        parts[-1] = _with_digest(parts[-1], relative)
    return "/".join(parts), chosen


def _safe_component(part: str) -> str:
    """Percent-encode what a path component must not hold; injective."""
    if part in ("", ".", ".."):
        return "".join(map(_escaped, part)) or "%"
    safe = "".join(_escaped(c) if c in _UNSAFE or not c.isprintable() else c for c in part)
    # what only looks shortened would meet the output of what was, and gets a digest of its own
    plain = len(safe.encode()) <= _LONGEST and not _DIGESTED.search(safe)
    return safe if plain else _with_digest(safe, part)


def _escaped(character: str) -> str:
    code = ord(character)
    return f"%{code:02X}" if code < 256 else f"%u{code:06X}"


def _with_digest(name: str, of: str) -> str:
    """Shorten a name and tell it apart by a digest, keeping its suffix."""
    digest = hashlib.sha256(of.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    suffix = suffix_of(name)[:16]
    stem = name[: len(name) - len(suffix)].encode()[: _LONGEST - 40].decode("utf-8", "ignore")
    return f"{stem}~{digest}{suffix}"
