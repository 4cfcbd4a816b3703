"""The pictures of a report: which, and each before and after, small enough to stand in the page."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from threading import Event
from typing import Any

import pyarrow as pa

from models.images import ImageError, decode
from models.pixels import Pixels
from tasks import storage
from tasks.manifest_parts import having
from tasks.report_page import data_uri

_SIDE = 720
_DETAIL = 360
_EXTREMES = 6
_MOST_BYTES = 12 * 2**20
_MOST_PIXELS = 60e6
_WORKERS = 2

Row = dict[str, Any]


def pictures(destination: str, current: pa.Table, sample: int) -> dict[str, object]:
    """Groups of pictures with their titles, and what could not be shown.

    Args:
        current: current rows of the manifest. sample: how many beside the best and the worst.
    """
    groups = choose(_showable(current), sample)
    wanted = {row["source"]: row for _, members in groups for row in members}
    shown: dict[str, dict[str, object]] = {}
    size, unreadable, left_out = 0, 0, 0
    for row, made in _drawn(destination, list(wanted.values())):
        if made is None:
            unreadable += 1
        elif size > _MOST_BYTES:
            left_out += 1
        else:
            size += sum(len(text) for text in made.values() if isinstance(text, str))
            shown[row["source"]] = made
    ids = {source: str(number) for number, source in enumerate(shown)}
    return {
        "groups": [
            {"title": title, "pictures": [ids[r["source"]] for r in rows if r["source"] in ids]}
            for title, rows in groups
        ],
        "pictures": {ids[source]: made for source, made in shown.items()},
        "unreadable": unreadable,
        "left_out": left_out,
    }


def _showable(current: pa.Table) -> list[Row]:
    columns = ["source", "output", "width", "height", "output_width", "output_height", "psnr",
               "ssim", "decode_s", "infer_s", "encode_s"]  # fmt: skip
    ok = having(current, "status", "ok").select(columns)
    rows: list[Row] = ok.to_pylist()
    return [
        r
        for r in rows
        if r["output"] and 0 < (r["output_width"] or 0) * (r["output_height"] or 0) <= _MOST_PIXELS
    ]


def choose(rows: Sequence[Row], sample: int) -> list[tuple[str, list[Row]]]:
    """A sample by chance, the same each time, and the extremes: by PSNR, else by time a pixel."""
    chosen = Random(0).sample(list(rows), min(sample, len(rows)))  # noqa: S311 (no secret)
    judged = [row for row in rows if row["psnr"] is not None]
    if judged:
        titles, key, kept = ("Best PSNR", "Worst PSNR"), _by_loss, judged
    else:
        titles, key, kept = ("Quickest per pixel", "Slowest per pixel"), _by_time, list(rows)
    ordered = sorted(kept, key=lambda row: (key(row), row["source"]))
    extremes = min(_EXTREMES, len(ordered))
    return [
        ("Sample", chosen),
        (titles[0], ordered[:extremes]),
        (titles[1], ordered[::-1][:extremes]),
    ]


def _by_loss(row: Row) -> float:
    return -float(row["psnr"])


def _by_time(row: Row) -> float:
    work = sum(row[f"{stage}_s"] or 0.0 for stage in ("decode", "infer", "encode"))
    return float(work) / float(row["output_width"] * row["output_height"])


def _drawn(destination: str, rows: Sequence[Row]) -> Iterator[tuple[Row, dict[str, object] | None]]:
    from models.report_pictures import before_and_after  # torch takes seconds to import

    lost = Event()

    def draw(row: Row) -> dict[str, object] | None:
        if lost.is_set():
            return None
        try:
            source = read_colours(row["source"])
            output = read_colours(storage.join(destination, row["output"]))
        except storage.StorageUnavailableError:
            lost.set()  # the sources' store cannot be reached: no minutes for each of the others
            return None
        except (storage.StorageError, ImageError):
            return None  # moved or deleted since: the page says how many
        made = before_and_after(source, output, side=_SIDE, detail=_DETAIL)
        card: dict[str, object] = {
            "source": storage.redact(row["source"]),
            "sizes": [row[name] for name in ("width", "height", "output_width", "output_height")],
            "psnr": row["psnr"],
            "ssim": row["ssim"],
            "seconds": sum(row[f"{s}_s"] or 0.0 for s in ("decode", "infer", "encode")),
            "aligned": made.aligned,
            "before": data_uri(made.whole[0], "webp"),
            "after": data_uri(made.whole[1], "webp"),
        }
        if made.detail is not None:
            card["detail_before"] = data_uri(made.detail[0], "webp")
            card["detail_after"] = data_uri(made.detail[1], "webp")
        return card

    yield from _in_order(rows, draw)


def _in_order(
    rows: Sequence[Row], draw: Callable[[Row], dict[str, object] | None]
) -> Iterator[tuple[Row, dict[str, object] | None]]:
    with ThreadPoolExecutor(_WORKERS) as pool:
        yield from zip(rows, pool.map(draw, rows), strict=True)


def read_colours(uri: str) -> Pixels:
    """A picture's pixels, (H, W, 3) uint8. Raises StorageError, ImageError."""
    from models.report_pictures import colours

    return colours(decode(storage.read(uri)).pixels)
