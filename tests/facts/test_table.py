"""Rows of Parquet, DuckDB and SQLite become the same facts; a query can neither write nor look elsewhere."""

import sqlite3
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nightforge.errors import DataError
from nightforge.facts import table
from nightforge.knowledge import Triple
from nightforge.records import Reject

ROWS = {"city": ["Oslo", "Rome", None], "country": ["Norway", "Italy", "Spain"], "people": [709_000.0, None, 1.0]}
CFG = table.Config(
    query="SELECT city, country, people FROM rows ORDER BY country DESC",
    subject="city",
    relations={"country": "is in", "people": "has inhabitants"},
)
EXPECTED = [
    Reject("no_subject", "row 1"),
    Triple("Oslo", "is in", "Norway", "row 2"),
    Triple("Oslo", "has inhabitants", "709000", "row 2"),
    Triple("Rome", "is in", "Italy", "row 3"),
]


@pytest.fixture(params=["parquet", "duckdb", "sqlite"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"cities.{request.param}"
    rows = list(zip(*ROWS.values(), strict=True))
    if request.param == "parquet":
        pq.write_table(pa.table(ROWS), path)
        return path
    connect = duckdb.connect if request.param == "duckdb" else sqlite3.connect
    connection = connect(str(path))
    connection.execute("CREATE TABLE rows (city VARCHAR, country VARCHAR, people DOUBLE)")
    connection.executemany("INSERT INTO rows VALUES (?, ?, ?)", rows)
    connection.commit()
    connection.close()
    return path


def test_the_same_facts_from_each(file: Path) -> None:
    assert list(table.read(file, CFG)) == EXPECTED


def test_a_wrong_query_and_a_missing_column_are_said(file: Path) -> None:
    with pytest.raises(DataError, match="the query failed"):
        list(table.read(file, CFG.model_copy(update={"query": "SELECT town FROM rows"})))
    missing = CFG.model_copy(update={"query": "SELECT city, country FROM rows LIMIT 1"})
    with pytest.raises(DataError, match="the query gives no column 'people'; it gives: city, country"):
        list(table.read(file, missing))


def test_a_query_can_neither_write_nor_look_elsewhere(file: Path, tmp_path: Path) -> None:
    before = file.read_bytes()
    other = tmp_path / "other.csv"
    other.write_text("city\nsecret\n")
    for query in (
        "INSERT INTO rows VALUES ('x', 'y', 1)",
        f"COPY (SELECT 1) TO '{tmp_path / 'out.csv'}'",
        f"SELECT * FROM '{other}'",
        f"ATTACH '{tmp_path / 'made.db'}' AS made",
    ):
        with pytest.raises(DataError, match="the query failed"):
            list(table.read(file, CFG.model_copy(update={"query": query})))
    assert file.read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} == {file.name, "other.csv"}


def test_reading_leaves_nothing_beside_the_file(tmp_path: Path) -> None:
    """A database whose journal is a write-ahead log would get two files beside it, which were then read as facts."""
    path = tmp_path / "cities.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE rows (city, country, people)")
    connection.execute("INSERT INTO rows VALUES ('Oslo', 'Norway', NULL)")
    connection.commit()
    connection.close()
    assert list(table.read(path, CFG)) == [Triple("Oslo", "is in", "Norway", "row 1")]
    assert [p.name for p in tmp_path.iterdir()] == ["cities.db"]
