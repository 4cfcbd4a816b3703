"""Laws of collections: what counts as an image, what is done, how the rest is cut into shards."""

import io
import itertools
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import storage, tables
from tasks.collection import (
    DoneIndex,
    PlanConfig,
    PlanCounts,
    Shard,
    list_collection,
    plan_shards,
    read_done,
    reason_to_leave_out,
)
from tasks.storage import Entry
from tasks.tables import ManifestRow

Pages = list[list[tuple[str, Entry]]]
Status = Literal["ok", "failed"]


@pytest.fixture(params=["local", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URI of an empty place; what is S3's own is tested with storage."""
    return str(tmp_path / "store") if request.param == "local" else f"memory://{uuid.uuid4()}"


def listed(source: str) -> dict[str, Entry]:
    """What a source lists, by relative path; each at most once."""
    pairs = [pair for page in list_collection(source) for pair in page]
    assert len({relative for relative, _ in pairs}) == len(pairs)
    return dict(pairs)


def filled(place: str, *names: str) -> str:
    for name in names:
        storage.write(storage.join(place, name), name.encode())
    return place


@pytest.mark.parametrize(
    ("relative", "reason"),
    [
        ("a.png", None),
        ("deep/er/a.JPEG", None),
        ("../a.webp", None),
        ("./a.tif", None),
        (".a.png", "hidden"),
        ("._a.png", "hidden"),
        (".git/a.png", "hidden"),
        ("x/.cache/y/a.png", "hidden"),
        ("desktop.ini", "system file"),
        ("x/Thumbs.db", "system file"),
        ("a.txt", "not an image"),
        ("a", "not an image"),
        ("png", "not an image"),
        (".png", "hidden"),
        ("a.png/readme", "not an image"),
        ("a.png.part", "not an image"),
    ],
)
def test_what_is_left_out_by_name(relative: str, reason: str | None) -> None:
    assert reason_to_leave_out(relative) == reason


def page_of(sizes: list[int], start: int = 0) -> list[tuple[str, Entry]]:
    named = [(f"{start + i}.png", size) for i, size in enumerate(sizes)]
    return [(name, Entry(uri=f"/in/{name}", size=size, etag=f"e{name}")) for name, size in named]


def planned(
    pages: Pages, config: PlanConfig, done: DoneIndex | None = None
) -> tuple[list[Shard], PlanCounts]:
    counts = PlanCounts()
    shards = plan_shards(
        pages, done or DoneIndex.empty(), config_digest="c", config=config, counts=counts
    )
    return list(shards), counts


listings = st.lists(st.lists(st.integers(0, 120), max_size=15), max_size=6)


@given(sizes=listings, shard_size=st.integers(1, 9), shard_bytes=st.integers(1, 300))
def test_every_image_is_in_exactly_one_shard_in_order(
    sizes: list[list[int]], shard_size: int, shard_bytes: int
) -> None:
    pages = [page_of(page, 100 * i) for i, page in enumerate(sizes)]
    shards, counts = planned(pages, PlanConfig(shard_size=shard_size, shard_bytes=shard_bytes))
    expected = [(e.uri, r, e.size, e.etag) for page in pages for r, e in page]
    got = [(s.uri, s.relative, s.size, s.etag) for shard in shards for s in shard.sources]
    assert got == expected
    assert [shard.number for shard in shards] == list(range(len(shards)))
    assert (counts.found, counts.to_do) == (len(expected), len(expected))
    assert counts.already_done == 0
    assert counts.left_out.total() == 0


@given(sizes=listings, shard_size=st.integers(1, 9), shard_bytes=st.integers(1, 300))
def test_shards_are_as_full_as_their_bounds_allow(
    sizes: list[list[int]], shard_size: int, shard_bytes: int
) -> None:
    pages = [page_of(page, 100 * i) for i, page in enumerate(sizes)]
    shards, _ = planned(pages, PlanConfig(shard_size=shard_size, shard_bytes=shard_bytes))
    for shard in shards:
        total = sum(source.size for source in shard.sources)
        assert 1 <= len(shard.sources) <= shard_size
        assert total <= shard_bytes or len(shard.sources) == 1
    for shard, following in itertools.pairwise(shards):
        more = sum(s.size for s in shard.sources) + following.sources[0].size
        assert len(shard.sources) == shard_size or more > shard_bytes


def test_an_over_large_image_is_alone() -> None:
    shards, _ = planned([page_of([10, 10, 5000, 10, 10])], PlanConfig(shard_bytes=100))
    assert [[s.size for s in shard.sources] for shard in shards] == [[10, 10], [5000], [10, 10]]


@given(sizes=listings, limit=st.integers(0, 40))
def test_a_limit_takes_the_first(sizes: list[list[int]], limit: int) -> None:
    pages = [page_of(page, 100 * i) for i, page in enumerate(sizes)]
    every = [r for page in pages for r, _ in page]
    shards, counts = planned(pages, PlanConfig(shard_size=4, limit=limit))
    assert [s.relative for shard in shards for s in shard.sources] == every[:limit]
    assert counts.to_do == min(limit, len(every))


def test_planning_streams_and_a_limit_ends_the_listing() -> None:
    pulled: list[int] = []

    def pages() -> Pages:
        def endless():  # type: ignore[no-untyped-def]
            for number in range(10**6):
                pulled.append(number)
                yield page_of([1] * 10, 10 * number)

        return endless()  # type: ignore[no-any-return, no-untyped-call]

    config = PlanConfig(shard_size=5, limit=25)
    counts = PlanCounts()
    shards = plan_shards(
        pages(), DoneIndex.empty(), config_digest="c", config=config, counts=counts
    )
    next(shards)
    assert len(pulled) == 1
    assert len(list(shards)) == 4
    assert len(pulled) == 3


def test_what_is_no_image_by_name_is_counted_and_left_out_unless_it_was_listed() -> None:
    names = ["a.png", ".b.png", "c.txt", "Desktop.ini", "d"]
    page = [(name, Entry(uri=f"/in/{name}", size=1, etag="e")) for name in names]
    shards, counts = planned([page], PlanConfig())
    assert [s.relative for s in shards[0].sources] == ["a.png"]
    assert counts.left_out == {"hidden": 1, "not an image": 2, "system file": 1}
    assert counts.found == 1
    shards, counts = planned([page], PlanConfig(by_name=False))
    assert [s.relative for s in shards[0].sources] == names
    assert counts.left_out.total() == 0


def test_outputs_lie_below_images_in_the_format_asked_for() -> None:
    page = [(n, Entry(uri=f"/in/{n}", size=1, etag="e")) for n in ("x/a.png", "x/a.jpg")]
    shards, _ = planned([page], PlanConfig(format="png"))
    outputs = [(s.output, s.format) for s in shards[0].sources]
    assert outputs == [("images/x/a.png", "png"), ("images/x/a.jpg.png", "png")]


START = datetime(2026, 1, 1, tzinfo=UTC)


def row(
    source: str, minute: int, *, etag: str = "e1", status: Status = "ok", config: str = "A"
) -> ManifestRow:
    return ManifestRow(
        source=source,
        source_etag=etag,
        source_bytes=1,
        status=status,
        model="m",
        model_digest="d",
        config_digest=config,
        run="r",
        shard=0,
        finished_at=START + timedelta(minutes=minute),
    )


def recorded(place: str, *parts: list[ManifestRow]) -> DoneIndex:
    """What `read_done` finds after these manifest parts; their names tell nothing of their age."""
    for number, rows in enumerate(parts):
        name = f"manifest/run={uuid.uuid4()}/shard-{number}.parquet"
        storage.write(storage.join(place, name), tables.to_parquet(rows, tables.MANIFEST))
    return read_done(place)


def is_done(index: DoneIndex, source: str, etag: str, config: str) -> bool:
    return bool(index.done([Entry(uri=source, size=1, etag=etag)], config)[0])


def test_a_new_destination_has_nothing_done(place: str) -> None:
    index = read_done(place)
    assert len(index) == 0
    assert not is_done(index, "/a", "e1", "A")


def test_done_is_ok_with_the_same_etag_and_config(place: str) -> None:
    index = recorded(place, [row("/a", 1), row("/b", 2, status="failed")])
    assert len(index) == 2
    assert is_done(index, "/a", "e1", "A")
    assert not is_done(index, "/a", "e2", "A")
    assert not is_done(index, "/a", "e1", "B")
    assert not is_done(index, "/b", "e1", "A")
    assert not is_done(index, "/c", "e1", "A")


@pytest.mark.parametrize("reverse", [False, True])
def test_only_the_latest_row_of_a_source_counts(place: str, reverse: bool) -> None:
    histories = {
        "ok-failed": [row("ok-failed", 1), row("ok-failed", 2, status="failed")],
        "failed-ok": [row("failed-ok", 1, status="failed"), row("failed-ok", 2)],
        "A-B": [row("A-B", 1), row("A-B", 2, config="B")],
        "A-B-A": [row("A-B-A", 1), row("A-B-A", 2, config="B"), row("A-B-A", 3)],
        "edited": [row("edited", 1), row("edited", 2, etag="e2")],
    }
    parts = [[rows[i] for rows in histories.values() if i < len(rows)] for i in range(3)]
    index = recorded(place, *(parts[::-1] if reverse else parts))
    assert len(index) == len(histories)
    done = {source for source in histories if is_done(index, source, "e1", "A")}
    # model A, then B overwrote the output: A is to do again
    assert done == {"failed-ok", "A-B-A"}
    assert is_done(index, "A-B", "e1", "B")
    assert is_done(index, "edited", "e2", "A")


def test_a_plan_leaves_out_what_is_done(place: str) -> None:
    index = recorded(place, [row("/in/0.png", 1, etag="e0.png", config="c")])
    shards, counts = planned([page_of([1, 1, 1])], PlanConfig(), index)
    assert [s.relative for s in shards[0].sources] == ["1.png", "2.png"]
    assert (counts.found, counts.already_done, counts.to_do) == (3, 1, 2)


def test_many_sources_are_told_apart(place: str) -> None:
    rows = [row(f"/in/{i}.png", i % 7, status="ok" if i % 3 else "failed") for i in range(3000)]
    index = recorded(place, rows[:1000], rows[1000:])
    entries = [Entry(uri=f"/in/{i}.png", size=1, etag="e1") for i in range(3500)]
    expected = [i < 3000 and i % 3 != 0 for i in range(3500)]
    assert index.done(entries, "A").tolist() == expected


def test_a_damaged_manifest_part_is_an_error_that_names_it(place: str) -> None:
    storage.write(storage.join(place, "manifest/run=r/shard-0.parquet"), b"PAR1 nonsense")
    with pytest.raises(ValueError, match=r"shard-0\.parquet"):
        read_done(place)


def test_a_folder_lists_everything_below_it(place: str) -> None:
    source = filled(place, "a.png", "x/b.jpg", "x/y/c.txt", "x/y/.d.png")
    found = listed(source)
    assert set(found) == {"a.png", "x/b.jpg", "x/y/c.txt", "x/y/.d.png"}
    assert found["x/b.jpg"] == storage.stat(storage.join(source, "x/b.jpg"))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.png", {"a.png", "ab.png"}),
        ("?.png", {"a.png"}),
        ("*/*.png", {"x/c.png", "y/c.png"}),
        ("x/**/*.png", {"c.png", "z/d.png", "z/w/e.png"}),
        ("**/*.png", {"a.png", "ab.png", "x/c.png", "y/c.png", "x/z/d.png", "x/z/w/e.png"}),
        ("x/*/d.png", {"z/d.png"}),
        ("[b-z]/c.png", {"x/c.png", "y/c.png"}),
        ("x/z/**", {"d.png", "w/e.png", "w/f.jpg"}),
    ],
)
def test_globs_keep_stars_within_a_component_and_double_stars_across(
    place: str, pattern: str, expected: set[str]
) -> None:
    source = filled(
        place, "a.png", "ab.png", "a.jpg", "x/c.png", "y/c.png", "x/z/d.png", "x/z/w/e.png",
        "x/z/w/f.jpg",
    )  # fmt: skip
    found = listed(storage.join(source, pattern))
    assert set(found) == expected
    assert all(entry.uri.endswith("/" + relative) for relative, entry in found.items())


def test_a_glob_that_matches_nothing_is_an_error(place: str) -> None:
    filled(place, "a.png")
    with pytest.raises(storage.NotFoundError, match="nothing matches"):
        listed(storage.join(place, "*.tif"))


def test_an_object_whose_name_has_glob_characters_is_itself(place: str) -> None:
    source = filled(place, "a[1].png", "a1.png")
    assert set(listed(storage.join(source, "a[1].png"))) == {"a[1].png"}


def test_one_image_is_a_collection_of_one(place: str) -> None:
    source = filled(place, "x/a.png", "x/b.png")
    assert set(listed(storage.join(source, "x/a.png"))) == {"a.png"}


def test_what_is_not_there_is_an_error(place: str) -> None:
    with pytest.raises(storage.NotFoundError):
        listed(storage.join(place, "nothing"))


def as_csv(uris: list[str]) -> tuple[str, bytes]:
    return "list.csv", "\r\n".join(["label,uri", *(f"1,{uri}" for uri in uris)]).encode()


def as_parquet(uris: list[str]) -> tuple[str, bytes]:
    sink = io.BytesIO()
    pq.write_table(pa.table({"label": [1] * len(uris), "uri": uris}), sink)
    return "list.parquet", sink.getvalue()


kinds = pytest.mark.parametrize("kind", [as_csv, as_parquet])
Kind = Callable[[list[str]], tuple[str, bytes]]


@kinds
def test_a_list_takes_relative_and_absolute_uris_once_each(place: str, kind: Kind) -> None:
    filled(place, "in/a.png", "in/x/b.png", "far/c.png")
    inside, far = storage.join(place, "in/a.png"), storage.join(place, "far/c.png")
    name, data = kind(["x/b.png", inside, "a.png", "x/b.png", far])
    storage.write(storage.join(place, "in", name), data)
    found = listed(storage.join(place, "in", name))
    assert len(found) == 3
    assert found["a.png"].uri == inside
    assert found["x/b.png"].size == len("in/x/b.png")
    (outside,) = set(found) - {"a.png", "x/b.png"}
    assert found[outside].uri == far
    assert outside.startswith("elsewhere/")
    assert outside.endswith("/far/c.png")


@kinds
def test_a_listed_object_that_is_missing_has_no_etag(place: str, kind: Kind) -> None:
    filled(place, "a.png")
    name, data = kind(["a.png", "gone.png"])
    storage.write(storage.join(place, name), data)
    found = listed(storage.join(place, name))
    assert found["a.png"].etag != ""
    assert found["gone.png"] == Entry(uri=storage.join(place, "gone.png"), size=0, etag="")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("list.csv", b"url,label\r\na.png,1\r\n"),
        ("list.csv", b""),
        ("list.parquet", b"not parquet"),
        ("list.parquet", as_parquet(["a.png"])[1][:-9]),
    ],
)
def test_a_list_without_a_uri_column_is_an_error(place: str, name: str, data: bytes) -> None:
    storage.write(storage.join(place, name), data)
    with pytest.raises(ValueError, match="uri"):
        listed(storage.join(place, name))


def test_a_parquet_list_without_a_uri_column_is_an_error(place: str) -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"url": ["a.png"]}), sink)
    storage.write(storage.join(place, "list.parquet"), sink.getvalue())
    with pytest.raises(ValueError, match="uri"):
        listed(storage.join(place, "list.parquet"))
