"""CSV and its kin (RFC 4180), with a header; quoted fields may hold line breaks."""

import csv
import io
from collections import deque
from collections.abc import Iterator
from typing import Any, BinaryIO

from pydantic import Field

from nightforge.errors import ConfigError
from nightforge.ingest._columns import TEXT_MAX, Table, check_columns, records
from nightforge.records import Record, Reject

_BOMS = ("\udcff\udcfe", "\udcfe\udcff")
"""How UTF-16 begins, read as UTF-8 with its wrong bytes set aside."""


class Config(Table):
    """A CSV file, UTF-8."""

    delimiter: str = Field(min_length=1, max_length=1)
    """Character between fields: "," or ";" or a tab."""


SAMPLE = Config(columns={"text": "text", "label": "label"}, keep=[], delimiter=",")


def read(handle: BinaryIO, cfg: Config) -> Iterator[Record | Reject]:
    """One item for every row below the header; a row that breaks the rules of quoting costs its first line.

    Raises:
        ConfigError: a mapped column is not in the header, or twice.
    """
    return records(_rows(handle, cfg), cfg)


class _Lines:
    """The lines of a file for csv.reader, which may be handed back: a quote that is never closed takes all the rest."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self.text, self.number = text, 0
        self.again: deque[tuple[int, str | None]] = deque()
        self.taken: list[tuple[int, str | None]] = []
        """Lines of the row at hand, with their numbers; None is one that is too long."""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        number, line = self.again.popleft() if self.again else self._read()
        self.taken.append((number, line))
        if line is None:
            raise csv.Error(f"line {number} has more than {TEXT_MAX} characters")
        return line

    def _read(self) -> tuple[int, str | None]:
        line = rest = self.text.readline(TEXT_MAX)
        if not line:
            raise StopIteration
        self.number += 1
        while len(rest) == TEXT_MAX and not rest.endswith(("\n", "\r")):
            rest = self.text.readline(TEXT_MAX)
        return self.number, line if rest is line else None

    def hand_back(self) -> None:
        """Have all lines of the row at hand but the first read again."""
        self.again.extendleft(reversed(self.taken[1:]))


def _rows(handle: BinaryIO, cfg: Config) -> Iterator[tuple[str, dict[str, Any] | Reject]]:
    csv.field_size_limit(TEXT_MAX)
    text = io.TextIOWrapper(handle, encoding="utf-8-sig", errors="surrogateescape", newline="")
    source = _Lines(text)
    reader = csv.reader(source, delimiter=cfg.delimiter, strict=True)
    header: list[str] | None = None
    while True:
        source.taken = []
        try:
            row = next(reader, None)
        except csv.Error as e:
            source.hand_back()
            place = f"line {source.taken[0][0]}"
            yield place, Reject("not_csv", f"{place}: {e}")
            continue
        if row is None:
            break
        place = f"line {source.taken[0][0]}"
        if not row:
            continue
        if header is None:
            if row[0].startswith(_BOMS):
                yield place, Reject("not_utf8", "the file is UTF-16; convert it: iconv -f UTF-16 -t UTF-8")
                break
            header = row
            check_columns(set(header), cfg)
            if twice := [name for name in [*cfg.columns.values(), *cfg.keep] if header.count(name) > 1]:
                raise ConfigError(f"ingest: the header has the column {twice[0]!r} twice; rename one.")
        else:
            yield place, _row(header, row, place)
    text.detach()  # or closing the wrapper would close the handle, which is not ours


def _row(header: list[str], row: list[str], place: str) -> dict[str, Any] | Reject:
    if len(row) != len(header):
        return Reject("fields_unlike_header", f"{place}: {len(row)} fields, header has {len(header)}")
    if any("\udc80" <= c <= "\udcff" for field in row if not field.isascii() for c in field):
        return Reject("not_utf8", place)
    return dict(zip(header, row, strict=True))
