"""What the docs tell a reader to type is valid."""

import re
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from tasks import tables

_ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"```sql\n(.*?)```", re.DOTALL)
_FIRST, _SECOND = "20261128T030000-aaaaaa", "20261128T030500-bbbbbb"
_LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#]+)")


def _destination(folder: Path) -> Path:
    """A manifest of one image done twice and one that failed, and two runs."""
    rows = [
        _row("a.png", "ok", run=_FIRST, minute=1),
        _row("a.png", "ok", run=_SECOND, minute=2),
        _row("b.png", "failed", run=_FIRST, minute=1),
    ]
    for run in (_FIRST, _SECOND):
        part = [row for row in rows if row["run"] == run]
        place = folder / "manifest" / f"run={run}"
        place.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(part, tables.MANIFEST), place / "shard-00000.parquet")
    (folder / "runs").mkdir()
    record = dict.fromkeys(tables.RUNS.names) | {"run": _FIRST, "ok": 1, "seconds": 2.0}
    pq.write_table(
        pa.Table.from_pylist([record], tables.RUNS), folder / "runs" / f"run={_FIRST}.parquet"
    )
    return folder


def _row(name: str, status: str, *, run: str, minute: int) -> dict[str, object]:
    row: dict[str, object] = dict.fromkeys(tables.MANIFEST.names)
    return row | {
        "source": name,
        "output": f"images/{name}",
        "status": status,
        "error_type": None if status == "ok" else "DecodeError",
        "error": None if status == "ok" else "no image",
        "output_width": 8,
        "output_height": 8,
        "output_bytes": 64,
        "run": run,
        "finished_at": datetime(2026, 11, 28, 3, minute, tzinfo=UTC),
    }


def test_every_query_runs_and_the_current_rows_are_the_latest(tmp_path: Path) -> None:
    where = _destination(tmp_path / "out")
    connection = duckdb.connect()
    queries = []
    for page in (_ROOT / "docs" / "queries.md", _ROOT / "README.md"):
        queries += _BLOCK.findall(page.read_text())
    assert len(queries) >= 9
    for query in queries:
        if "httpfs" not in query:
            connection.execute(query.replace("demo-output", str(where)).replace(
                "create view", "create or replace view"))  # fmt: skip
    found = connection.execute("select source, status, run from current order by source")
    assert found.fetchall() == [("a.png", "ok", _SECOND), ("b.png", "failed", _FIRST)]


def test_every_link_between_the_pages_leads_somewhere() -> None:
    pages = [_ROOT / "README.md", _ROOT / "CONTRIBUTING.md", _ROOT / "deployments" / "README.md"]
    pages += sorted((_ROOT / "docs").glob("*.md"))
    broken = [
        f"{page.name}: {link}"
        for page in pages
        for link in _LINK.findall(page.read_text())
        if not (page.parent / link).exists()
    ]
    assert broken == []
