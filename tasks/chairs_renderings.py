"""What a collection of renderings shows: classes, azimuths and elevations by names or by a table.

The published set (Aubry et al. 2014, "Seeing 3D chairs") names its files
MODEL/renders/image_III_pEEE_tAAA_rRRR.png: elevation pEEE and azimuth tAAA in degrees, rounded
down. Its azimuths are k * 360 / 31, which is what we note. III counts, but skips a number: it is
not read.
"""

import csv
import io
import math
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tasks import collection, storage, tables
from tasks.chairs_tables import ChairFailure
from tasks.dataset_parts import Split
from tasks.failures import RequestError, persistently
from tasks.output_names import suffix_of
from tasks.storage import Entry

PUBLISHED_AZIMUTHS = 31
_NAME = re.compile(r"image_\d+_p(\d{3})_t(\d{3})_r\d+\.png")
_FOLDER = "renders"


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceView:
    """A rendering that is yet to be read; angles in degrees."""

    relative: str
    entry: Entry
    name: str
    azimuth: float
    elevation: float
    chair: int = 0
    split: Split = "train"


@dataclass(kw_only=True)
class Findings:
    """What a listing has found: views, files that have none, and what is no rendering."""

    views: list[SourceView] = field(default_factory=list)
    odd: list[ChairFailure] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    left_out: Counter[str] = field(default_factory=Counter)


def by_names(source: str) -> Findings:
    """Read them from folders and names. Raises StorageError."""
    found = Findings()
    for page in collection.list_collection(source):
        for relative, entry in page:
            reason = collection.reason_to_leave_out(relative)
            if reason is not None:
                found.left_out[reason] += 1
                continue
            try:
                view = view_of_name(relative, entry)
            except ValueError as error:
                found.odd.append(failed(relative, "odd_name", str(error)))
                continue
            found.names.add(view.name)
            found.views.append(view)
    return found


def view_of_name(relative: str, entry: Entry) -> SourceView:
    """Class, azimuth and elevation of .../MODEL/renders/image_III_pEEE_tAAA_rRRR.png.

    Raises:
        ValueError: it is not named so, or no k * 360 / 31 lies at its azimuth.
    """
    *folders, name = relative.split("/")
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"{name} is not named image_III_pEEE_tAAA_rRRR.png")
    if len(folders) < 2 or folders[-1] != _FOLDER:
        raise ValueError(f"{relative} does not lie in MODEL/{_FOLDER}/")
    elevation, told = int(match[1]), int(match[2])
    step = math.ceil(told * PUBLISHED_AZIMUTHS / 360)
    if step >= PUBLISHED_AZIMUTHS or step * 360 // PUBLISHED_AZIMUTHS != told:
        raise ValueError(
            f"{name} has the azimuth {told}, wanted a multiple of 360 / {PUBLISHED_AZIMUTHS}"
            " rounded down"
        )
    if elevation > 90:
        raise ValueError(f"{name} has the elevation {elevation}, wanted 0 to 90")
    azimuth = step * 360 / PUBLISHED_AZIMUTHS
    return SourceView(
        relative=relative,
        entry=entry,
        name=folders[-2],
        azimuth=azimuth,
        elevation=float(elevation),
    )


def by_table(source: str, parameters: str) -> Findings:
    """Read them from a table; files that it does not name are left out.

    Raises:
        RequestError: it lacks a column, or is not readable.
        StorageError: a store cannot be asked.
    """
    found = Findings()
    entries = {
        relative: entry for page in collection.list_collection(source) for relative, entry in page
    }
    named: set[str] = set()
    for row in _table_rows(parameters):
        relative = str(row["path"])
        named.add(relative)
        try:
            view = _view_of_row(row, relative, entries, source)
        except ValueError as error:
            found.odd.append(failed(relative, "odd_parameters", str(error)))
            continue
        found.names.add(view.name)
        found.views.append(view)
    unnamed = len(entries.keys() - named)
    if unnamed:
        found.left_out["not in the table"] = unnamed
    return found


def _view_of_row(
    row: dict[str, Any], relative: str, entries: dict[str, Entry], source: str
) -> SourceView:
    name = str(row["name"] if row["name"] is not None else "").strip()
    try:
        azimuth, elevation = float(row["azimuth"]), float(row["elevation"])
    except (TypeError, ValueError) as error:
        raise ValueError(f"azimuth and elevation must be numbers: {error}") from error
    if not name or not math.isfinite(azimuth) or not -90 <= elevation <= 90:
        raise ValueError(
            "wanted a class, an azimuth and an elevation of -90 to 90 degrees,"
            f" got {name!r}, {azimuth:g} and {elevation:g}"
        )
    # a file that is not there fails when it is read
    entry = entries.get(relative) or Entry(uri=storage.join(source, relative), size=0, etag="")
    return SourceView(
        relative=relative, entry=entry, name=name, azimuth=azimuth % 360, elevation=elevation
    )


def _table_rows(uri: str) -> list[dict[str, Any]]:
    """path, name, azimuth and elevation of each row.

    Raises:
        RequestError: it lacks a column, or is not readable.
    """
    data = persistently(lambda: storage.read(uri))
    try:
        if suffix_of(uri) == ".parquet":
            rows = tables.from_parquet(data).to_pylist()
        else:
            rows = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig", "replace"))))
    except (ValueError, csv.Error) as error:
        raise RequestError(f"{storage.redact(uri)} can not be read: {error}") from error
    columns = set(rows[0]) if rows else set()
    label = "class" if "class" in columns else "chair"
    missing = {"path", label, "azimuth", "elevation"} - columns
    if missing:
        raise RequestError(
            f"{storage.redact(uri)} lacks {', '.join(sorted(missing))}: want the columns path,"
            " class or chair, azimuth and elevation"
        )
    return [{**row, "name": row[label]} for row in rows]


def drop_repeated(found: Findings) -> None:
    """Of several renderings of one view of a class the first by path is kept."""
    seen: dict[tuple[str, float, float], str] = {}
    kept = []
    for view in sorted(found.views, key=lambda view: view.relative):
        shown = (view.name, view.azimuth, view.elevation)
        if shown in seen:
            sentence = f"shows the same view as {seen[shown]}"
            found.odd.append(failed(view.relative, "repeated_view", sentence))
        else:
            seen[shown] = view.relative
            kept.append(view)
    found.views = kept


def in_order(names: set[str]) -> list[str]:
    """Classes by name; as numbers if all of them are."""
    return sorted(names, key=int) if all(n.isdecimal() for n in names) else sorted(names)


def failed(relative: str, kind: str, sentence: str) -> ChairFailure:
    """The row of a rendering that is not taken in."""
    return ChairFailure(
        source=tables.storable(relative), error_type=kind, error=tables.storable(sentence)
    )
