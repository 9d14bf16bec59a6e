"""Apache Parquet, a batch of rows in memory at a time."""

from collections.abc import Iterator
from typing import Any, BinaryIO

from nightforge.errors import DataError
from nightforge.ingest._columns import Table, check_columns, records
from nightforge.records import Record, Reject

ROWS_PER_BATCH = 1_000


class Config(Table):
    """A Parquet file; a column is a top-level column."""


SAMPLE = Config(columns={"text": "text", "label": "label"}, keep=[])


def read(handle: BinaryIO, cfg: Config) -> Iterator[Record | Reject]:
    """One item for every row.

    Raises:
        ConfigError: a mapped column is not in the schema.
        DataError: not a Parquet file (it has no rows that could be rejected one by one).
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not handle.read(1):
        return
    handle.seek(0)
    try:
        file = pq.ParquetFile(handle)
    except pa.ArrowInvalid as e:
        raise DataError(f"expected a Parquet file: {e}") from None
    check_columns(set(file.schema_arrow.names), cfg)
    wanted = sorted({*cfg.columns.values(), *cfg.keep})
    yield from records(_rows(file.iter_batches(ROWS_PER_BATCH, columns=wanted)), cfg)


def _rows(batches: Iterator[Any]) -> Iterator[tuple[str, dict[str, Any] | Reject]]:
    number = 0
    for batch in batches:
        for row in batch.to_pylist():
            number += 1
            yield f"row {number}", row
