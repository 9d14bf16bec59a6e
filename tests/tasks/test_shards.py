"""Shards on disk: batches by rows and by bytes, read as they were written."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from nightforge.records import Record, Reject
from tasks import shards
from tasks.clean_shard import plan


def big(at: int) -> Record:
    return Record(f"{at:02d}", "x" * 1_000_000, source="test")


def test_long_texts_make_small_row_groups_and_chunks(tmp_path: Path) -> None:
    given = [big(at) for at in range(50)]
    shards.write(tmp_path, given)
    (part,) = shards.parts(tmp_path)
    about = pq.read_metadata(part)
    sizes = [about.row_group(i).num_rows for i in range(about.num_row_groups)]
    assert sizes == [8] * 6 + [2], "8 MB each"
    assert list(shards.read(tmp_path)) == given
    assert [(chunk.groups, chunk.start) for chunk in plan(tmp_path)] == [((0, 3), 0), ((3, 7), 24)], "32 MB each"


def test_a_shard_ends_at_its_rows_also_when_batches_are_odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "ROWS_PER_SHARD", 10)
    monkeypatch.setattr(shards, "BYTES_PER_BATCH", 2_500_000)
    shards.write(tmp_path, [big(at) for at in range(25)])
    assert [pq.read_metadata(p).num_rows for p in shards.parts(tmp_path)] == [10, 10, 5]
    assert [r.id for r in shards.read(tmp_path)] == [f"{at:02d}" for at in range(25)]
    assert [chunk.start for chunk in plan(tmp_path)] == [0, 10, 20]


def test_a_table_is_cut_into_row_groups_by_bytes(tmp_path: Path) -> None:
    shards.write(tmp_path / "a", [big(at) for at in range(20)])
    table = pq.read_table(tmp_path / "a")
    shards.write_table(tmp_path / "b.parquet", table)
    about = pq.read_metadata(tmp_path / "b.parquet")
    assert about.num_rows == 20 and about.row_group(0).num_rows == 7, "8 MB of rows of a megabyte and some bytes"


def test_nothing_is_an_empty_shard(tmp_path: Path) -> None:
    shards.write(tmp_path, [])
    assert list(shards.read(tmp_path)) == [] and shards.count(tmp_path) == 0 and plan(tmp_path) == []


def test_a_reject_of_a_stage_without_rules_names_no_others(tmp_path: Path) -> None:
    with shards.RejectShards(tmp_path) as rejects:
        rejects.put(big(1), "balance", Reject("too_many", "of its label"))
    (row,) = shards.rows(tmp_path)
    assert row["also"] == [] and row["reason"] == "too_many"
