"""Blind pairs, and what answers say about them."""

import json
import re

import pytest

from models.images import Picture, encode
from tasks import preferences, storage
from tasks.failures import RequestError
from tests import collections as c
from tests.corpus import good_image, smooth_noise
from tests.manifests import row, write_shard


def _destination(place: str, name: str, value: int, names: list[str]) -> str:
    destination = storage.join(place, name)
    for one in names:
        pixels = smooth_noise(1, 60, 80) // 2 + value
        storage.write(
            storage.join(destination, f"images/{one}"), encode(Picture(pixels=pixels), "png")
        )
    write_shard(destination, [row(one, model=name) for one in names])
    return destination


def _data(uri: str) -> dict[str, list[dict[str, str]]]:
    held = re.search(r'id="data">(.*?)</script>', storage.read(uri).decode(), re.S)
    assert held is not None
    data: dict[str, list[dict[str, str]]] = json.loads(held[1])
    return data


def test_pairs_are_of_both_and_sides_are_by_chance_that_the_seed_decides(store: str) -> None:
    names = [f"{i}.png" for i in range(30)]
    first = _destination(store, "dark", 0, [*names, "only-here.png"])
    second = _destination(store, "light", 100, names)
    uri = storage.join(store, "ab.html")
    made = preferences.write_comparison(first, second, output=uri, sample=20, seed=3)
    assert (made.pairs, made.unequal) == (20, 0)
    pairs = _data(uri)["pairs"]
    keys = [pair["key"] for pair in pairs]
    assert 4 <= keys.count("a") <= 16
    by_side = {pair["left"] if pair["key"] == "a" else pair["right"] for pair in pairs}
    others = {pair["right"] if pair["key"] == "a" else pair["left"] for pair in pairs}
    assert not by_side & others
    assert len(by_side) == len(others) == 1  # every picture of a destination is the same here
    page = storage.read(uri)
    preferences.write_comparison(first, second, output=uri, sample=20, seed=3)
    assert storage.read(uri) == page
    preferences.write_comparison(first, second, output=uri, sample=20, seed=4)
    assert [pair["key"] for pair in _data(uri)["pairs"]] != keys


def test_outputs_of_different_sizes_make_no_pair(tmp_path: object) -> None:
    c.put(f"{tmp_path}/in", {"a.png": good_image(0, (9, 9))})
    for scale in (2, 3):
        c.run(c.request(f"{tmp_path}/in", f"{tmp_path}/{scale}", scale=scale))
    with pytest.raises(RequestError, match="no source in common"):
        preferences.write_comparison(f"{tmp_path}/2", f"{tmp_path}/3", output=f"{tmp_path}/ab.html")


def _answers(session: str, choices: list[tuple[str, str]], **said: object) -> bytes:
    record: dict[str, object] = {
        "kind": "pixelmill-preferences", "version": 1, "seed": 0, "session": session,
        "a": {"destination": "s3://a", "model": "mill-x4"},
        "b": {"destination": "s3://b", "model": "bicubic"},
        "answers": [{"source": "s", "left": left, "choice": choice} for left, choice in choices],
    }  # fmt: skip
    return json.dumps({**record, **said}).encode()


def test_answers_of_several_people_are_pooled_by_what_was_left(store: str) -> None:
    files = [storage.join(store, f"{i}.json") for i in range(2)]
    storage.write(files[0], _answers("one", [("a", "left"), ("b", "right"), ("a", "right")]))
    storage.write(files[1], _answers("two", [("b", "left"), ("a", "none"), ("a", "left")]))
    [found] = preferences.read_preferences(files)
    assert (found.rate.wins, found.rate.decided, found.undecided, found.raters) == (3, 5, 1, 2)
    lines = preferences.preference_lines([found])
    assert lines[1].split() == [
        "mill-x4", "(s3://a)", "3", "5", "60.0%", "23.1%", "to", "88.2%", "1", "2",
    ]  # fmt: skip
    assert lines[2].split()[2:7] == ["2", "5", "40.0%", "11.8%", "to"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"{}", "no answers of ours"),
        (b"[1]", "no answers of ours"),
        (b"\x89PNG", "no answers of ours"),
        (_answers("x", [("a", "up")]), "another version"),
        (_answers("x", [], version=2), "another version"),
        (_answers("x", [], a="mill"), "no answers of ours"),
    ],
)
def test_other_files_are_refused(tmp_path: object, data: bytes, words: str) -> None:
    storage.write(f"{tmp_path}/x.json", data)
    with pytest.raises(RequestError, match=words):
        preferences.read_preferences([f"{tmp_path}/x.json"])


def test_the_same_answers_twice_are_refused(tmp_path: object) -> None:
    for name in ("x", "y"):
        storage.write(f"{tmp_path}/{name}.json", _answers("same", [("a", "left")]))
    with pytest.raises(RequestError, match="are the same answers"):
        preferences.read_preferences([f"{tmp_path}/x.json", f"{tmp_path}/y.json"])
