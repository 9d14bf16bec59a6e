"""Apache Parquet, a batch of rows in memory at a time."""

from collections.abc import Iterator
from typing import Any, BinaryIO

from nightforge.errors import DataError
from nightforge.ingest._columns import Table, check_columns, records
from nightforge.records import Record, Reject

ROWS_PER_BATCH, BYTES_PER_BATCH = 1_000, 16_000_000
READ_BYTES = 1 << 20
"""Bytes of a column read at a time; without it, pyarrow holds a row group's whole column."""
GROUP_ROWS_MAX = 100_000_000
"""Writers put a million rows into a group; a number beyond this is taken for damage, and not counted off in rejects."""


class Config(Table):
    """A Parquet file; a column is a top-level column."""


SAMPLE = Config(columns={"text": "text", "label": "label"}, keep=[])


def read(handle: BinaryIO, cfg: Config) -> Iterator[Record | Reject]:
    """One item for every row; of a row group that is corrupt, those that cannot be read are rejected.

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
        file = pq.ParquetFile(handle, buffer_size=READ_BYTES, pre_buffer=False)
        names = set(file.schema_arrow.names)
    except (pa.ArrowException, OSError, ValueError) as e:
        raise DataError(f"expected a Parquet file, whole to its end: {e}") from None
    check_columns(names, cfg)
    yield from records(_rows(file, sorted({*cfg.columns.values(), *cfg.keep})), cfg)


def _rows(file: Any, columns: list[str]) -> Iterator[tuple[str, dict[str, Any] | Reject]]:
    import pyarrow as pa

    first = 1
    for group in range(file.num_row_groups):
        about = file.metadata.row_group(group)
        rows, number = about.num_rows, first
        if rows > GROUP_ROWS_MAX:
            raise DataError(f"expected a Parquet file, got a row group that claims {rows} rows: its end is corrupt")
        at_once = min(ROWS_PER_BATCH, max(1, BYTES_PER_BATCH * rows // max(1, about.total_byte_size)))
        after = first + rows
        try:
            for batch in file.iter_batches(at_once, row_groups=[group], columns=columns):
                for row in _values(batch, number):
                    yield f"row {number}", row
                    number += 1
        except (pa.ArrowException, OSError, ValueError) as e:
            why = f"row group {group}: {e}"
            yield from ((f"row {at}", Reject("corrupt_row_group", f"row {at}: {why}")) for at in range(number, after))
        first = after


def _values(batch: Any, first: int) -> Iterator[dict[str, Any] | Reject]:
    """The rows of a batch; one that Python cannot hold, such as a text that is not UTF-8, is rejected by itself."""
    try:
        yield from batch.to_pylist()
    except (ValueError, OverflowError):
        for at in range(batch.num_rows):
            try:
                yield batch.slice(at, 1).to_pylist()[0]
            except (ValueError, OverflowError) as e:
                yield Reject("unreadable_value", f"row {first + at}: {e}")
