import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nightforge.errors import ConfigError, DataError
from nightforge.ingest.parquet import SAMPLE, Config, read
from nightforge.records import Record, Reject


def file(**columns: Any) -> io.BytesIO:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, write_batch_size=10)  # else 1,024 rows lie in one page
    sink.seek(0)
    return sink


def test_rows_become_records_across_batches() -> None:
    count = 2_500
    found = list(read(file(text=[f"t{i}" for i in range(count)], label=["x"] * count, extra=[1] * count), SAMPLE))
    assert [r.text for r in found if isinstance(r, Record)] == [f"t{i}" for i in range(count)]
    assert isinstance(found[-1], Record) and found[-1].source == "row 2500"


def test_nulls_and_lists_are_rejected() -> None:
    found = list(read(file(text=["a", None], label=["x", "y"]), SAMPLE))
    assert isinstance(found[1], Reject) and found[1].reason == "no_text"
    (odd,) = read(file(text=["a"], label=[["x"]]), SAMPLE)
    assert isinstance(odd, Reject) and odd.reason == "not_a_plain_value"


def test_what_is_kept_is_json(tmp_path: object) -> None:
    import datetime

    (record,) = read(
        file(text=["a"], label=["x"], day=[datetime.date(2026, 1, 2)]),
        Config(columns={"text": "text"}, keep=["day"]),
    )
    assert isinstance(record, Record) and record.meta == {"day": "2026-01-02"}


def test_a_batch_of_long_texts_holds_few_rows() -> None:
    handle = file(text=[f"{i:03d}" + "words " * 100_000 for i in range(100)], label=["x"] * 100)
    before = pa.total_allocated_bytes()
    found = read(handle, SAMPLE)
    assert isinstance(next(iter(found)), Record)
    assert pa.total_allocated_bytes() - before < 30_000_000  # all are 60 MB
    assert len(list(found)) == 99


def test_wrong_column_wrong_file_and_nothing() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'label'"):
        list(read(file(text=["a"], label=["x"]), Config(columns={"text": "text", "label": "labels"}, keep=[])))
    with pytest.raises(DataError, match="expected a Parquet file"):
        list(read(io.BytesIO(b"text,label\na,b\n"), SAMPLE))
    assert list(read(io.BytesIO(), SAMPLE)) == []
