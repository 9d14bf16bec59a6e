"""CSV and its kin (RFC 4180), with a header; quoted fields may hold line breaks."""

import csv
import io
from collections.abc import Iterator
from typing import Any, BinaryIO

from pydantic import Field

from nightforge.ingest._columns import Table, records
from nightforge.records import Record, Reject

FIELD_CHARS_MAX = 16_000_000
"""The reader's own limit of 131,072 characters a field is less than a long document."""


class Config(Table):
    """A CSV file, UTF-8."""

    delimiter: str = Field(min_length=1, max_length=1)
    """Character between fields: "," or ";" or a tab."""


SAMPLE = Config(columns={"text": "text", "label": "label"}, keep=[], delimiter=",")


def read(handle: BinaryIO, cfg: Config) -> Iterator[Record | Reject]:
    """One item for every row below the header.

    Raises:
        ConfigError: a mapped column is not in the header.
    """
    return records(_rows(handle, cfg), cfg)


def _rows(handle: BinaryIO, cfg: Config) -> Iterator[tuple[str, dict[str, Any] | Reject]]:
    csv.field_size_limit(FIELD_CHARS_MAX)
    text = io.TextIOWrapper(handle, encoding="utf-8-sig", errors="surrogateescape", newline="")
    reader = csv.reader(text, delimiter=cfg.delimiter)
    header: list[str] | None = None
    while True:
        place = f"line {reader.line_num + 1}"
        try:
            row = next(reader, None)
        except csv.Error as e:
            yield place, Reject("not_csv", f"{place}: {e}")
            continue
        if row is None:
            break
        if header is None:
            header = row
        elif row:
            yield place, _row(header, row, place)
    text.detach()  # or closing the wrapper would close the handle, which is not ours


def _row(header: list[str], row: list[str], place: str) -> dict[str, Any] | Reject:
    if len(row) != len(header):
        return Reject("fields_unlike_header", f"{place}: {len(row)} fields, header has {len(header)}")
    if any("\udc80" <= c <= "\udcff" for field in row for c in field):
        return Reject("not_utf8", place)
    return dict(zip(header, row, strict=True))
