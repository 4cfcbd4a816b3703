"""Laws of how a dataset of rows is kept: a shard's record commits it, what is left over goes."""

from dataclasses import dataclass
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks import dataset_parts, storage

SCHEMA = pa.schema([("split", pa.string()), ("value", pa.int64())])


@dataclass(frozen=True, kw_only=True)
class _Row:
    split: dataset_parts.Split
    value: int


def _write(store: str, number: int, *values: int) -> None:
    rows = [_Row(split="test" if value % 2 else "train", value=value) for value in values]
    dataset_parts.write_shard(store, number, f"fingerprint-{number}", rows, (), SCHEMA)


def test_a_shard_is_a_part_for_each_split_and_a_record_of_them(store: str) -> None:
    _write(store, 0, 2, 4, 5)
    (record,) = dataset_parts.all_shards(store, 1)
    parts = dataset_parts.parts_of([record])
    assert [(p["path"], p["rows"]) for p in parts] == [
        ("data/test/shard-00000.parquet", 1),
        ("data/train/shard-00000.parquet", 2),
    ]
    assert dataset_parts.rows_by_split(parts) == {"train": 2, "validation": 0, "test": 1}
    table = pq.read_table(BytesIO(storage.read(storage.join(store, parts[1]["path"]))))
    assert table.column("value").to_pylist() == [2, 4]


def test_a_shard_without_a_whole_record_is_not_finished(store: str) -> None:
    _write(store, 0, 2)
    _write(store, 1, 3)
    storage.write(storage.join(store, "shards/shard-00001.json"), b'{"number": 1, "par')
    assert list(dataset_parts.finished_shards(store)) == [0]
    with pytest.raises(ValueError, match=r"shards \[1\] are not finished: run it again"):
        dataset_parts.all_shards(store, 2)


def test_what_a_smaller_source_no_longer_has_is_deleted(store: str) -> None:
    _write(store, 0, 2)
    _write(store, 1, 3)
    dataset_parts.delete_left_over(store, dataset_parts.all_shards(store, 1))
    left = sorted(e.uri[len(store) :] for page in storage.list_pages(store) for e in page)
    assert left == ["/data/train/shard-00000.parquet", "/shards/shard-00000.json"]


def test_the_digest_is_of_the_parts_and_of_what_shaped_them(store: str) -> None:
    def digest(*values: int, config: str = "c") -> str:
        _write(store, 0, *values)
        parts = dataset_parts.parts_of(dataset_parts.all_shards(store, 1))
        return dataset_parts.dataset_digest(config, parts)

    assert digest(1, 2) == digest(1, 2)
    assert len({digest(1, 2), digest(1, 4), digest(1, 2, config="d")}) == 3
