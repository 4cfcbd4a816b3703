"""Two runs of one job over one destination at the same time: twice the work, the same result."""

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from models.images import decode
from tasks import storage
from tests import collections as c
from tests.corpus import good_image

ROOT = Path(__file__).resolve().parents[2]
IMAGES = 80

CURRENT = """
select source, status from read_parquet('{}/manifest/*/*.parquet')
qualify row_number() over (partition by source order by finished_at desc, run desc) = 1
"""
"""As the README asks for the current row of every source."""


@pytest.fixture(scope="module")
def prefect_url(prefect_server: None) -> str:
    from prefect.settings import PREFECT_API_URL

    return str(PREFECT_API_URL.value())


def start(source: str, destination: str, url: str) -> subprocess.Popen[str]:
    """The command, as a user starts it."""
    words = ["upscale", source, destination, "--model", "bicubic", "--scale", "2"]
    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli", *words, "--shard-size", "7"],
        cwd=ROOT,
        env={**os.environ, "PREFECT_API_URL": url},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def check(store: str, destination: str, lines: list[str], tmp_path: Path) -> None:
    """Both are done, each source has one current row, each output is whole and the right one."""
    whole = storage.join(store, "whole")
    c.run(c.request(storage.join(store, "in"), whole))
    rows, current = c.manifest(destination), c.current_rows(destination)
    records = c.run_records(destination).to_pylist()
    local = tmp_path / "looked-at"
    for page in storage.list_pages(storage.join(destination, "manifest")):
        for part in page:
            storage.write(str(local / "manifest" / "/".join(part.uri.split("/")[-2:])),
                          storage.read(part.uri))  # fmt: skip
    asked = duckdb.sql(CURRENT.format(local)).fetchall()
    print(f"\nsources {IMAGES}, rows {rows.num_rows}, current rows {len(asked)}; {lines}")
    assert [record["status"] for record in records] == ["done", "done"]
    assert IMAGES <= rows.num_rows <= 2 * IMAGES
    assert len(asked) == len(current) == IMAGES
    assert {status for _source, status in asked} == {"ok"}
    outputs = c.outputs(destination)
    assert outputs == c.outputs(whole)
    assert {row["output"] for row in current.values()} == outputs.keys()
    assert all(decode(data).pixels.size for data in outputs.values())
    assert c.run(c.request(storage.join(store, "in"), destination)).to_do == 0


def test_two_commands_at_once_leave_one_current_row_a_source(
    local_and_s3: str, prefect_url: str, tmp_path: Path
) -> None:
    source, destination = (storage.join(local_and_s3, name) for name in ("in", "out"))
    c.put(source, {f"{i:03d}.png": good_image(i, (64 + i % 5, 48)) for i in range(IMAGES)})
    both = [start(source, destination, prefect_url) for _ in range(2)]
    told = [process.communicate(timeout=500)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    check(local_and_s3, destination, [text.strip().splitlines()[-1] for text in told], tmp_path)


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
