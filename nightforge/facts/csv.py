"""Triples in a CSV file with a header (RFC 4180)."""

import csv
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from nightforge import config
from nightforge.errors import DataError
from nightforge.facts._table import triple
from nightforge.knowledge import Triple
from nightforge.records import Reject


class Config(config.Config):
    """Which columns hold what."""

    subject: str
    """Column of the subject."""
    relation: str
    """Column of the relation."""
    object: str
    """Column of the object."""
    delimiter: str = Field(min_length=1, max_length=1)
    """Between fields."""


SAMPLE = Config(subject="subject", relation="relation", object="object", delimiter=",")


def read(file: Path, cfg: Config) -> Iterator[Triple | Reject]:
    """One item a row.

    Raises:
        DataError: no UTF-8, no CSV, or a named column that the header lacks.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as handle:
            # Strict: a quote that is never closed would else take every fact below it.
            rows = csv.DictReader(handle, delimiter=cfg.delimiter, strict=True)
            wanted = (cfg.subject, cfg.relation, cfg.object)
            if lacking := [name for name in wanted if name not in (rows.fieldnames or ())]:
                raise DataError(f"{file.name}: no column {lacking[0]!r}; the header has: {rows.fieldnames}.")
            for row in rows:
                place = f"line {rows.line_num}"
                yield Reject("too_many_fields", place) if None in row else triple((row[name] for name in wanted), place)
    except (UnicodeDecodeError, csv.Error) as e:
        raise DataError(f"{file.name}: expected CSV in UTF-8: {e}.") from None
