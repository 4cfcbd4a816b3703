"""Blind comparison of two destinations: the page that asks, and the table of what was answered."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from models.images import ImageError
from models.preferences import WinRate, win_rate
from tasks import manifest_parts, storage
from tasks.failures import RequestError, persistently
from tasks.report_page import data_uri, page
from tasks.report_pictures import read_colours

_WINDOW = 512
_KIND = "pixelmill-preferences"
_MOST_BYTES = 40 * 2**20
_QUESTION = "Which picture looks more real?"


@dataclass(frozen=True, kw_only=True)
class PairedPage:
    """What was written: the page's URI, its pairs, and the sources that make none."""

    uri: str
    pairs: int
    unequal: int
    """Sources of which the two have outputs of different sizes, or one that cannot be read."""


def write_comparison(
    first: str, second: str, *, output: str, sample: int = 30, seed: int = 0
) -> PairedPage:
    """Write the page that shows windows of the outputs of both, side by side and unnamed.

    Args:
        first, second: destinations of two runs over the same sources.
        output: the page's URI. sample: pairs. seed: decides which, their order and their sides.
    Raises:
        RequestError: a sample below 1, or no source that both have done.
        StorageError: one of them cannot be read, or the page not written.
    """
    if sample < 1:
        raise RequestError(f"sample must be at least 1, got {sample}")
    places = {"a": storage.normalise(first), "b": storage.normalise(second)}
    outputs = {side: _outputs(place) for side, place in places.items()}
    pairs, unequal = _pairs(outputs["a"], outputs["b"], sample, seed)
    if not pairs:
        raise RequestError(
            f"{first} and {second} have no source in common with outputs of one size"
        )
    models = {side: next(iter(outputs[side].values()))[1] for side in places}
    comparison: dict[str, object] = {"kind": _KIND, "version": 1, "seed": seed}
    comparison |= {
        side: {"destination": storage.redact(place), "model": models[side]}
        for side, place in places.items()
    }
    target = storage.normalise(output)
    data: dict[str, object] = {"question": _QUESTION, "comparison": comparison, "pairs": pairs}
    made = page("ab", "Blind comparison - pixelmill", data)
    persistently(lambda: storage.write(target, made))
    return PairedPage(uri=target, pairs=len(pairs), unequal=unequal)


def _pairs(
    first: dict[str, tuple[str, str]], second: dict[str, tuple[str, str]], sample: int, seed: int
) -> tuple[list[dict[str, object]], int]:
    """Pairs in an order and with sides by chance, and how many sources made none."""
    chance = Random(seed)  # noqa: S311 (no secret)
    both = sorted(set(first) & set(second))
    chance.shuffle(both)
    pairs: list[dict[str, object]] = []
    unequal, size = 0, 0
    for source in both:
        if len(pairs) == sample or size > _MOST_BYTES:
            break
        drawn = _pair(first[source][0], second[source][0])
        if drawn is None:
            unequal += 1
            continue
        left = chance.choice(("a", "b"))
        one, other = drawn if left == "a" else drawn[::-1]
        size += len(one) + len(other)
        pairs.append({"source": storage.redact(source), "key": left, "left": one, "right": other})
    return pairs, unequal


def _outputs(place: str) -> dict[str, tuple[str, str]]:
    """Source -> the URI of its output, and the model that made it."""
    rows = manifest_parts.read_rows(
        place, ["source", "status", "output", "model", "run", "finished_at"]
    )
    current = manifest_parts.current(rows)
    ok = manifest_parts.having(current, "status", "ok")
    return {
        row["source"]: (storage.join(place, row["output"]), row["model"]) for row in ok.to_pylist()
    }


def _pair(first: str, second: str) -> tuple[str, str] | None:
    """The same window of both, all but lossless; None where they do not show the same."""
    from models.picture_grid import crop  # torch takes seconds to import
    from models.report_pictures import encoded, window

    try:
        one, other = read_colours(first), read_colours(second)
    except (storage.StorageError, ImageError):
        return None
    if one.shape != other.shape:
        return None
    side = min(_WINDOW, *one.shape[:2])
    at = window(one, side)
    made = [data_uri(encoded(crop(p, at, side), "jpeg", 95), "jpeg") for p in (one, other)]
    return made[0], made[1]


@dataclass(frozen=True, kw_only=True)
class Preference:
    """What was preferred between two models, over all who answered; `a` wins `rate.wins` times."""

    a: str
    b: str
    raters: int
    undecided: int
    rate: WinRate


def read_preferences(uris: Sequence[str]) -> list[Preference]:
    """The answers in files that the page saved, pooled by the two destinations compared.

    Raises:
        RequestError: no answers file, one that is given twice, or a file of another kind.
        StorageError: a file cannot be read.
    """
    if not uris:
        raise RequestError("want at least one file of answers, got none")
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    sessions: dict[str, str] = {}
    for uri in uris:
        record = _answers(storage.normalise(uri))
        session = str(record["session"])
        if session in sessions:
            raise RequestError(f"{uri} and {sessions[session]} are the same answers")
        sessions[session] = uri
        groups.setdefault((_named(record["a"]), _named(record["b"])), []).append(record)
    return [_preference(names, records) for names, records in sorted(groups.items())]


def _answers(uri: str) -> dict[str, Any]:
    data = persistently(lambda: storage.read(uri))
    try:
        record: dict[str, Any] = json.loads(data)
        fits = record["kind"] == _KIND and record["version"] == 1 and record["session"]
        choices = {(answer["left"], answer["choice"]) for answer in record["answers"]}
        _named(record["a"]), _named(record["b"])
    except (ValueError, KeyError, TypeError) as error:
        raise RequestError(f"{uri} holds no answers of ours: {error!r}") from error
    allowed = {(side, choice) for side in "ab" for choice in ("left", "right", "none")}
    if not fits or not choices <= allowed:
        raise RequestError(f"{uri} holds no answers of ours, or answers of another version")
    return record


def _named(side: dict[str, Any]) -> str:
    return f"{side['model']} ({side['destination']})"


def _preference(names: tuple[str, str], records: list[dict[str, Any]]) -> Preference:
    answers = [answer for record in records for answer in record["answers"]]
    decided = [answer for answer in answers if answer["choice"] != "none"]
    wins = sum((answer["choice"] == "left") == (answer["left"] == "a") for answer in decided)
    return Preference(
        a=names[0],
        b=names[1],
        raters=len(records),
        undecided=len(answers) - len(decided),
        rate=win_rate(wins, len(decided)),
    )


def preference_lines(found: Sequence[Preference]) -> list[str]:
    """A table, a line a model: wins, their share of the decided, and its 95 % interval."""
    rows = [("preferred", "wins", "of", "rate", "95 % interval", "undecided", "answers files")]
    for one in found:
        rate = one.rate
        for name, wins, low, high in (
            (one.a, rate.wins, rate.low, rate.high),
            (one.b, rate.decided - rate.wins, 1 - rate.high, 1 - rate.low),
        ):
            share = f"{wins / rate.decided:.1%}" if rate.decided else "-"
            interval = f"{low:.1%} to {high:.1%}"
            counts = (str(wins), str(rate.decided), share, interval)
            rows.append((name, *counts, str(one.undecided), str(one.raters)))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            text.ljust(width) if i == 0 else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
