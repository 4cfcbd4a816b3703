"""The dataset flow, with Prefect."""

import pytest

from tasks import storage
from tasks.runs import TooManyFailedError
from tasks.sr_pairs import open_sr_dataset, read_pairs
from tests import collections as c
from tests.corpus import good_image


def test_the_flow_builds_adds_and_leaves_its_artifacts(prefect_server: None, store: str) -> None:
    from prefect.client.orchestration import get_client

    from flows.dataset import dataset_sr

    source, destination = storage.join(store, "in"), storage.join(store, "out")
    c.put(source, {f"{i:03d}.png": good_image(i, (48, 32)) for i in range(6)})
    shares = {"validation": 0.4, "test": 0.2}
    first = dataset_sr(source, destination, scale=2, shard_size=4, **shares)  # type: ignore[arg-type]
    assert (first.new, first.failed) == (6, 0)
    c.put(source, {"100.png": good_image(100, (48, 32)), "broken.png": b"text"})
    with pytest.raises(TooManyFailedError, match=r"12\.5% of the images failed"):
        dataset_sr(source, destination, scale=2, **shares)  # type: ignore[arg-type]

    dataset = open_sr_dataset(destination)
    pairs = [p for split in dataset.counts for p in read_pairs(destination, split)]
    assert len(pairs) == sum(dataset.counts.values()) == 7
    assert c.run_records(destination).column("status").to_pylist() == ["done", "done"]
    with get_client(sync_client=True) as client:
        found = client.read_artifacts()
    assert any(a.type == "table" and first.run in str(a.data) for a in found)
    assert any(a.type == "table" and "7 images: " in str(a.description) for a in found)
