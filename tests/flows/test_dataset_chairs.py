"""The flows of chairs, with Prefect; their commands."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from flows.cli_dataset_chairs import chairs, chairs_ingest
from tasks import storage
from tasks.chairs_dataset import open_chairs_dataset, read_chairs
from tasks.runs import TooManyFailedError
from tests import collections as c


def test_the_flows_render_a_dataset_and_take_renderings_in(
    prefect_server: None, tmp_path: Path
) -> None:
    from prefect.client.orchestration import get_client

    from flows.dataset_chairs import dataset_chairs, dataset_chairs_ingest

    made = str(tmp_path / "made")
    summary = dataset_chairs(made, chairs=3, azimuths=4, size=32, shard_size=2)
    assert (summary.new, summary.counts) == (24, {"train": 18, "validation": 3, "test": 3})
    view = next(read_chairs(open_chairs_dataset(made), "train"))

    source, taken = storage.join(str(tmp_path), "in"), str(tmp_path / "taken")
    name = "m/renders/image_000_p020_t000_r096.png"
    c.put(source, {name: view.image, "m/renders/broken.png": b"text"})
    with pytest.raises(TooManyFailedError, match=r"50\.0% of the images failed"):
        dataset_chairs_ingest(source, taken, size=16)
    assert open_chairs_dataset(taken).counts == {"train": 1, "validation": 0, "test": 0}
    assert c.run_records(taken).column("status").to_pylist() == ["done"]
    with get_client(sync_client=True) as client:
        found = client.read_artifacts()
    assert any("24 views of 3 chairs" in str(a.description) for a in found)


def test_a_wrong_command_is_told_in_a_sentence_before_anything_starts(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command("chairs")(chairs)
    app.command("chairs-ingest")(chairs_ingest)
    destination, runner = str(tmp_path / "out"), CliRunner()
    for arguments, sentence in (
        (["chairs", destination, "--elevations", "20,up"], "separated by commas, got '20,up'"),
        (["chairs", destination, "--size", "3"], "size must be 8 to 2048, got 3"),
        (["chairs-ingest", str(tmp_path), destination], "must not lie inside the source"),
    ):
        result = runner.invoke(app, arguments)
        assert result.exit_code == 2
        assert sentence in result.stderr
    assert not (tmp_path / "out").exists()
