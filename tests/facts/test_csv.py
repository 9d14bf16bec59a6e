"""Triples from CSV."""

from pathlib import Path

import pytest

from nightforge.errors import DataError
from nightforge.facts import csv
from nightforge.knowledge import Triple
from nightforge.records import Reject


def test_by_hand(tmp_path: Path) -> None:
    file = tmp_path / "facts.csv"
    file.write_text('subject,relation,object\nOslo,is in,Norway\n"San\nJosé",is in,"Costa Rica"\nRome,,Italy\n')
    assert list(csv.read(file, csv.SAMPLE)) == [
        Triple("Oslo", "is in", "Norway", "line 2"),
        Triple("San José", "is in", "Costa Rica", "line 4"),
        Reject("no_relation", "line 5"),
    ]


def test_a_missing_column_and_another_encoding_are_said(tmp_path: Path) -> None:
    file = tmp_path / "facts.csv"
    file.write_text("s,relation,object\na,b,c\n")
    with pytest.raises(DataError, match=r"no column 'subject'; the header has: \['s', 'relation', 'object'\]"):
        list(csv.read(file, csv.SAMPLE))
    file.write_bytes("subject,relation,object\nKöln,is in,x\n".encode("latin-1"))
    with pytest.raises(DataError, match="expected CSV in UTF-8"):
        list(csv.read(file, csv.SAMPLE))


def test_a_field_too_many_is_no_fact_and_an_open_quote_swallows_nothing(tmp_path: Path) -> None:
    """`Paris, France` without quotes would else be told as `Paris`; an open quote would take all facts below it."""
    file = tmp_path / "facts.csv"
    file.write_text("subject,relation,object\nLouvre,is in,Paris, France\nOslo,is in,Norway\n")
    assert list(csv.read(file, csv.SAMPLE)) == [
        Reject("too_many_fields", "line 2"),
        Triple("Oslo", "is in", "Norway", "line 3"),
    ]
    file.write_text('subject,relation,object\nLouvre,is in,"Paris\nOslo,is in,Norway\n')
    with pytest.raises(DataError, match="expected CSV in UTF-8: unexpected end of data"):
        list(csv.read(file, csv.SAMPLE))
