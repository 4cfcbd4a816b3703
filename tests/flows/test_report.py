"""The commands that look after a destination, and the report's flow."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from flows.cli import app
from tasks import storage
from tests import collections as c
from tests.corpus import good_image
from tests.manifests import row, write_run, write_shard


def _tell(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    return result.output


def test_a_destination_is_looked_after(tmp_path: object) -> None:
    source = f"{tmp_path}/in"
    c.put(source, {f"{i}.png": good_image(i, (12, 9)) for i in range(3)})
    for name in ("a", "b"):
        c.run(c.request(source, f"{tmp_path}/{name}", shard_size=1))
    one = f"{tmp_path}/a"
    assert json.loads(_tell("status", one, "--source", source, "--json"))["done"] == 3
    assert 'status="ok"} 3' in _tell("status", one, "--prometheus")
    assert "3 parts" in _tell("compact", one)
    assert _tell("status", one).startswith("done    3\n")
    assert _tell("report", one).strip() == f"{one}/report/index.html"
    page = f"{tmp_path}/ab.html"
    said = _tell("report", "--ab", one, f"{tmp_path}/b", "--output", page, "--sample", "2")
    assert said.strip() == f"2 pairs: {page}"


def test_wrong_commands_are_told_in_a_sentence(tmp_path: object) -> None:
    assert "want either DESTINATION or --ab" in _tell("report", code=2)
    assert "needs --output" in _tell("report", "--ab", "a", "b", code=2)
    assert "no run has written anything" in _tell("status", str(tmp_path), code=1)
    storage.write(f"{tmp_path}/x.json", b"{}")
    assert "no answers of ours" in _tell("preferences", f"{tmp_path}/x.json", code=2)


def test_the_status_needs_neither_prefect_nor_torch(tmp_path: object) -> None:
    write_shard(str(tmp_path), [row("a.png")])
    write_run(str(tmp_path))
    script = (
        "import sys; from flows.cli import app; from typer.testing import CliRunner;"
        f"print(CliRunner().invoke(app, ['status', {str(tmp_path)!r}]).output);"
        "print(sorted({'prefect', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout.decode().startswith("done    1")
    assert done.stdout.decode().rstrip().endswith("[]")


@pytest.mark.usefixtures("prefect_server")
def test_the_flow_writes_the_page(tmp_path: object) -> None:
    from flows.report import report_page

    write_shard(str(tmp_path), [row("a.png", source=f"{tmp_path}/a.png")])
    assert report_page(str(tmp_path), sample=1) == f"{tmp_path}/report/index.html"
