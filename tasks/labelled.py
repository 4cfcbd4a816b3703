"""Collections of pictures with labels: folders named after classes, or Parquet with a label."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from tasks import collection, storage, tables
from tasks.failures import RequestError, persistently

_IMAGE_COLUMNS = ("image", "img")


@dataclass(frozen=True, kw_only=True)
class LabelledSource:
    """A picture that is yet to be read, and what it shows."""

    source: str
    label: str
    load: Callable[[], bytes]


def read_labelled(uri: str) -> Iterator[LabelledSource]:
    """Every labelled picture of a collection.

    Args:
        uri: a Parquet file, or a folder or glob. A Parquet file has a column `image` or `img`,
            struct {bytes, path} as Hugging Face writes it, and a column `label`: text, or numbers
            that its metadata may name. The label of an image file is its folder's name.
    Raises:
        RequestError: a Parquet file without these columns.
        StorageError: nothing is there, or it cannot be read.
    """
    if uri.endswith(".parquet"):
        yield from _rows(uri)
        return
    for page in collection.list_collection(uri):
        for relative, entry in page:
            if entry.uri.endswith(".parquet"):
                yield from _rows(entry.uri)
            elif collection.reason_to_leave_out(relative) is None:
                read = partial(storage.read, entry.uri)
                yield LabelledSource(
                    source=tables.storable(entry.uri),
                    label=tables.storable(entry.uri.split("/")[-2]),
                    load=partial(persistently, read),
                )


def _rows(uri: str) -> Iterator[LabelledSource]:
    try:
        table = tables.from_parquet(persistently(lambda: storage.read(uri)))
    except ValueError as error:
        raise RequestError(f"{storage.redact(uri)}: {error}") from error
    column = next((c for c in _IMAGE_COLUMNS if c in table.column_names), None)
    if column is None or "label" not in table.column_names:
        raise RequestError(
            f"{storage.redact(uri)} must have the columns image (or img) and label,"
            f" got {', '.join(table.column_names)}"
        )
    if not pa.types.is_struct(table.schema.field(column).type):
        raise RequestError(
            f"{storage.redact(uri)}: the column {column} must be a struct of bytes and path,"
            f" got {table.schema.field(column).type}"
        )
    names = _class_names(table.schema)
    for number, (image, label) in enumerate(
        zip(table.column(column), table.column("label"), strict=True)
    ):
        found = image.as_py() or {}
        yield LabelledSource(
            source=f"{tables.storable(uri)}#{number}",
            label=_named(label.as_py(), names),
            load=partial(_bytes_of, found),
        )


def _bytes_of(image: dict[str, Any]) -> bytes:
    data = image.get("bytes")
    if not data:
        raise ValueError("the row holds no image bytes")
    return bytes(data)


def _class_names(schema: pa.Schema) -> list[str]:
    """The names that Hugging Face's metadata gives the labels' numbers; none where there are."""
    try:
        described = json.loads((schema.metadata or {})[b"huggingface"])
        return [str(name) for name in described["info"]["features"]["label"]["names"]]
    except (KeyError, ValueError, TypeError):
        return []


def _named(label: Any, names: list[str]) -> str:
    if isinstance(label, int) and 0 <= label < len(names):
        return names[label]
    return str(label)
