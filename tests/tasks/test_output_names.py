"""Laws of output names: no two sources share one, none leaves the folder, readers know them."""

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.output_names import output_name

Wanted = Literal["png", "webp", "jpeg", "keep"]
WANTED: tuple[Wanted, ...] = ("png", "webp", "jpeg", "keep")

NASTY = [
    "a.jpg", "a.png", "a.jpg.png", "a.png.png", "a.JPG", "A.jpg", "a.jpeg", "a.jfif", "a.jpg.jpg",
    "a.webp", "a.webp.png", "a.tif", "a.tif.png", "a.tif.jpg", "a.noext", "a.noext.png", "a",
    "x", "x.noext", "x.noext.png", "x.noext.noext", "x.txt", "..", "../a.png", "../../a.png", ".",
    "/abs", "/abs.png", "//abs.png", "a//b", "a/b", "a/.noext.png", "./a", "a/./b",
    "a/../b", "b", "a/", "a//",
    "%", "%2E", "%2F", "%25", "%%", "%2e", "a%.png", "a%2E.png", "a\\b.png", "a/b.png", "c:a.png",
    "\x1f\x1f", "\x1fFF", "\u1fff", "%1FFF", "\x01.png", "\n", "\t.png", "\x7f", " ", "a .png",
    "ä.png", "a\u0308.png", "İ.png", "\u212a.png", "k.png", "K.png", "ß.png", "SS.png", "日本.jpg",
    "e" * 300 + ".png", "e" * 301 + ".png", "e" * 300 + ".jpg", "é" * 150 + ".png", "E" * 300,
    "d" * 300 + "/a.png", "d" * 301 + "/a.png", "x." + "s" * 300, "~", "~.png", ".png", ".jpg",
]  # fmt: skip
PIECES = [
    "a", "A", ".", "..", "/", "//", ".png", ".PNG", ".jpg", ".jpeg", ".webp", ".noext", "%", "2E",
    "\\", ":", "*", "\x1f", "\x1c", "FF", "C6", "00", "\u1fff", "\u10c6", "\u200b", "\u0130", "é",
    " ", "~", "b" * 90, "\udc80", "\x80",
]  # fmt: skip

keys = st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map("".join)
nasty = st.one_of(st.sampled_from(NASTY), keys, st.text(min_size=1, max_size=12))
several = st.lists(nasty, min_size=2, max_size=30, unique=True)
wanted_formats = pytest.mark.parametrize("wanted", WANTED)


def names(relatives: list[str], wanted: Wanted, *, case_sensitive: bool = True) -> list[str]:
    return [output_name(r, wanted, case_sensitive=case_sensitive)[0] for r in relatives]


def shared(relatives: list[str], wanted: Wanted, *, case_sensitive: bool) -> list[tuple[str, str]]:
    """Pairs of sources that share an output."""
    first: dict[str, str] = {}
    pairs = []
    outputs = names(relatives, wanted, case_sensitive=case_sensitive)
    for relative, output in zip(relatives, outputs, strict=True):
        key = output if case_sensitive else output.lower()
        if first.setdefault(key, relative) != relative:
            pairs.append((first[key], relative))
    return pairs


@wanted_formats
@pytest.mark.parametrize("case_sensitive", [True, False])
@given(relatives=several)
def test_no_two_sources_share_an_output(
    wanted: Wanted, case_sensitive: bool, relatives: list[str]
) -> None:
    assert shared(relatives, wanted, case_sensitive=case_sensitive) == []


@wanted_formats
@pytest.mark.parametrize("case_sensitive", [True, False])
def test_no_two_of_the_nastiest_share_an_output(wanted: Wanted, case_sensitive: bool) -> None:
    assert shared(NASTY, wanted, case_sensitive=case_sensitive) == []


@wanted_formats
@pytest.mark.parametrize("case_sensitive", [True, False])
def test_outputs_taken_for_sources_meet_none_of_the_others(
    wanted: Wanted, case_sensitive: bool
) -> None:
    outputs = names(NASTY, wanted, case_sensitive=case_sensitive)
    every = sorted({*NASTY, *outputs, *(name.lower() for name in outputs)})
    assert shared(every, wanted, case_sensitive=case_sensitive) == []


@wanted_formats
@pytest.mark.parametrize("case_sensitive", [True, False])
@given(relative=nasty)
def test_every_component_is_one_a_file_system_takes(
    wanted: Wanted, case_sensitive: bool, relative: str
) -> None:
    name, _ = output_name(relative, wanted, case_sensitive=case_sensitive)
    for component in name.split("/"):
        assert component not in ("", ".", "..")
        assert "\\" not in component
        assert component.isprintable()
        assert len(component.encode()) <= 200


@wanted_formats
@given(relative=nasty)
def test_the_suffix_says_the_format(wanted: Wanted, relative: str) -> None:
    name, chosen = output_name(relative, wanted)
    suffixes = {"png": (".png",), "webp": (".webp",), "jpeg": (".jpg", ".jpeg", ".jpe", ".jfif")}
    assert wanted in (chosen, "keep")
    assert name.lower().endswith(suffixes[chosen])


@wanted_formats
@given(relative=nasty)
def test_a_name_depends_on_nothing_but_its_source(wanted: Wanted, relative: str) -> None:
    assert output_name(relative, wanted) == output_name(relative, wanted)


@pytest.mark.parametrize(
    ("relative", "wanted", "expected"),
    [
        ("photos/a.png", "png", "photos/a.png"),
        ("photos/a.jpg", "png", "photos/a.jpg.png"),
        ("photos/a.jpg", "jpeg", "photos/a.jpg"),
        ("photos/a.JPEG", "jpeg", "photos/a.JPEG"),
        ("photos/a.tif", "webp", "photos/a.tif.webp"),
        ("photos/a.jpg", "keep", "photos/a.jpg"),
        ("photos/a.png", "keep", "photos/a.png"),
        ("photos/a.webp", "keep", "photos/a.webp"),
        ("photos/a.tif", "keep", "photos/a.tif.png"),
        ("Été 2024/plage (1).png", "png", "Été 2024/plage (1).png"),
        ("v1.2/a.png", "png", "v1.2/a.png"),
    ],
)
def test_names_are_what_a_reader_expects(relative: str, wanted: Wanted, expected: str) -> None:
    assert output_name(relative, wanted)[0] == expected


def test_lower_case_names_stay_themselves_where_case_does_not_count() -> None:
    assert output_name("photos/a.png", "png", case_sensitive=False)[0] == "photos/a.png"
    assert output_name("photos/A.png", "png", case_sensitive=False)[0].startswith("photos/A~")


@pytest.mark.parametrize("relative", ["../../etc/passwd.png", "/etc/passwd.png", "a/../../b.png"])
def test_no_source_leaves_the_folder(relative: str) -> None:
    name, _ = output_name(relative, "png")
    assert not name.startswith("/")
    assert ".." not in name.split("/")
