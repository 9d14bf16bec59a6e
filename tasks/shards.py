"""Records on disk: folders of Parquet shards with one schema, read and written a batch at a time."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from nightforge.errors import DataError
from nightforge.records import Record, Reject

ROWS_PER_SHARD = 100_000
ROWS_PER_BATCH = 1_000
BYTES_PER_BATCH = 8_000_000
"""A batch is written when it holds so many rows or so many bytes of text; it becomes a row group, read as one."""

LONG = {"id", "text", "prompt", "response", "content", "evidence"}
"""Columns without a dictionary of their values: few are equal, and where long ones are, a shard would hide its size."""

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        ("prompt", pa.string()),
        ("response", pa.string()),
        ("content", pa.binary()),
        pa.field("media_type", pa.string(), nullable=False),
        ("label", pa.string()),
        pa.field("source", pa.string(), nullable=False),
        ("language", pa.string()),
        pa.field("meta", pa.string(), nullable=False),  # JSON
    ]
)
REJECTS = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("rule", pa.string()),
        ("reason", pa.string()),
        ("evidence", pa.string()),
        ("also", pa.list_(pa.string())),  # `rule:reason` of the other rules that fired on the row
    ]
)


class Shards:
    """Writes rows of one schema to `folder/part-00000.parquet`, …; an empty folder still gets one empty shard.

    Use as a context manager; memory holds one batch.
    """

    def __init__(self, folder: Path, schema: pa.Schema = SCHEMA) -> None:
        self.folder, self.schema, self.rows = folder, schema, 0
        self._batch: list[dict[str, Any]] = []
        self._bytes = 0
        self._writer: pq.ParquetWriter | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, row: dict[str, Any]) -> None:
        """Append one row."""
        self._batch.append(row)
        self._bytes += sum(len(value) for value in row.values() if isinstance(value, str | bytes))
        full = len(self._batch) >= ROWS_PER_BATCH or self._bytes >= BYTES_PER_BATCH
        if full or (self.rows + len(self._batch)) % ROWS_PER_SHARD == 0:
            self._flush()

    def _flush(self) -> None:
        if self._writer is not None and self.rows and self.rows % ROWS_PER_SHARD == 0:
            self._writer.close()
            self._writer = None
        if self._writer is None:
            shard = part(self.folder, self.rows // ROWS_PER_SHARD)
            self._writer = pq.ParquetWriter(shard, self.schema, **_encoding(self.schema))
        self._writer.write_table(pa.Table.from_pylist(self._batch, schema=self.schema))
        self.rows += len(self._batch)
        self._batch, self._bytes = [], 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if kind is None and (self._batch or self._writer is None):
            self._flush()
        if self._writer is not None:
            self._writer.close()


class RecordShards(Shards):
    """Shards of records."""

    def put(self, record: Record) -> None:
        """Append one record."""
        self.add({name: getattr(record, name) for name in SCHEMA.names if name != "meta"} | {"meta": meta(record)})


class RejectShards(Shards):
    """Shards of rejected rows, each with the rule, the reason and the evidence."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, REJECTS)

    def put(self, record: Record, rule: str, reject: Reject) -> None:
        """Append one rejected row."""
        self.add(
            {
                "id": record.id,
                "source": record.source,
                "rule": rule,
                "reason": reject.reason,
                "evidence": reject.evidence,
                "also": [],
            }
        )


def meta(record: Record) -> str:
    """The facts of a record as they lie on disk: JSON, its keys sorted."""
    return json.dumps(record.meta, sort_keys=True, ensure_ascii=False)


def part(folder: Path, number: int) -> Path:
    """Where a shard lies."""
    return folder / f"part-{number:05d}.parquet"


def parts(folder: Path) -> list[Path]:
    """The shards of a folder, in order.

    Raises:
        DataError: the folder holds none.
    """
    found = sorted(folder.glob("*.parquet"))
    if not found:
        raise DataError(f"{folder}: expected Parquet shards (part-00000.parquet, …), found none.")
    return found


def rows(folder: Path) -> Iterator[dict[str, Any]]:
    """Every row of a folder of shards as a dict, one batch in memory at a time."""
    for shard in parts(folder):
        with pq.ParquetFile(shard) as file:
            for group in range(file.num_row_groups):  # batches would run over row groups, and so be of any size
                for batch in file.iter_batches(ROWS_PER_BATCH, row_groups=[group]):
                    yield from batch.to_pylist()


def read(folder: Path) -> Iterator[Record]:
    """Every record of a folder of shards, one batch in memory at a time."""
    for row in rows(folder):
        yield Record(**{**row, "meta": json.loads(row["meta"])})


def _encoding(schema: pa.Schema) -> dict[str, Any]:
    return {"compression": "zstd", "use_dictionary": [name for name in schema.names if name not in LONG]}


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table as one shard, in row groups as `Shards` makes them."""
    rows = max(1, min(ROWS_PER_BATCH, BYTES_PER_BATCH * table.num_rows // max(1, table.nbytes)))
    pq.write_table(table, path, row_group_size=rows, **_encoding(table.schema))


def write(folder: Path, records: Iterable[Record]) -> int:
    """Write records as shards; returns how many."""
    with RecordShards(folder) as shards:
        for record in records:
            shards.put(record)
    return shards.rows


def count(folder: Path) -> int:
    """Rows in a folder of shards, from the Parquet footers alone."""
    return sum(pq.ParquetFile(shard).metadata.num_rows for shard in parts(folder))
