"""Rows of a table as facts: Parquet, DuckDB or SQLite files, through a query of SQL.

The query runs in DuckDB or SQLite in memory of its own, on a database opened to read only, with no way out to other
files or to a network.
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field

from nightforge.errors import DataError
from nightforge.facts._table import Rows, facts
from nightforge.knowledge import Triple
from nightforge.records import Reject

ROWS_PER_BATCH = 10_000


class Config(Rows):
    """A query, and which of its columns are facts."""

    query: str = Field(min_length=1)
    """SQL; a Parquet file is the table `rows`. Order it, or the facts come in any order."""


SAMPLE = Config(query="SELECT * FROM rows", subject="city", relations={"country": "is in"})


def read(file: Path, cfg: Config) -> Iterator[Triple | Reject]:
    """The facts of each row that the query gives.

    Raises:
        DataError: no such file, the database refuses the query, or a named column is not in its rows.
    """
    import duckdb
    import pyarrow as pa

    try:
        yield from facts(((f"row {at}", row) for at, row in enumerate(_rows(file, cfg.query), 1)), cfg)
    except (sqlite3.Error, duckdb.Error, pa.ArrowException, OSError) as e:
        raise DataError(f"{file.name}: the query failed: {e} (query: {cfg.query})") from None


def _rows(file: Path, query: str) -> Iterator[dict[str, Any]]:
    with file.open("rb") as handle:
        head = handle.read(16)
    if head.startswith(b"SQLite format 3"):
        yield from _sqlite(file, query)
    else:
        yield from _duckdb(file, query, parquet=head.startswith(b"PAR1"))


def _sqlite(file: Path, query: str) -> Iterator[dict[str, Any]]:
    connection = sqlite3.connect(f"{file.absolute().as_uri()}?immutable=1", uri=True)  # or it makes files
    try:
        connection.set_authorizer(
            lambda action, *_: sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_ATTACH else sqlite3.SQLITE_OK
        )
        cursor = connection.execute(query)
        names = [column[0] for column in cursor.description or ()]
        for row in cursor:
            yield dict(zip(names, row, strict=True))
    finally:
        connection.close()


def _duckdb(file: Path, query: str, *, parquet: bool) -> Iterator[dict[str, Any]]:
    import duckdb
    import pyarrow.dataset as ds

    closed: dict[str, Any] = {
        "enable_external_access": False,
        "autoinstall_known_extensions": False,
        "threads": 1,  # rows come in the order of the file
    }
    with duckdb.connect(":memory:" if parquet else str(file), read_only=not parquet, config=closed) as connection:
        if parquet:
            connection.register("rows", ds.dataset(file, format="parquet"))
        result = connection.execute(query)
        names = [column[0] for column in result.description or ()]
        while some := result.fetchmany(ROWS_PER_BATCH):
            for row in some:
                yield dict(zip(names, row, strict=True))
