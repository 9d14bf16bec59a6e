import io
from typing import Literal

import pytest

from nightforge.ingest.text import Config, read
from nightforge.records import Record, Reject

CONTENT = b"\none\ntwo\n\n  \nthree\xc3\xa9\r\n"


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("line", [("one", "line 2"), ("two", "line 3"), ("threeé", "line 6")]),
        ("paragraph", [("one\ntwo", "line 2"), ("threeé", "line 6")]),
        ("file", [("one\ntwo\n\n  \nthreeé", "line 2")]),
    ],
)
def test_units(unit: Literal["file", "paragraph", "line"], expected: list[tuple[str, str]]) -> None:
    found = list(read(io.BytesIO(CONTENT), Config(unit=unit, label="x")))
    assert [(r.text, r.source) for r in found if isinstance(r, Record)] == expected
    assert all(isinstance(r, Record) and r.label == "x" for r in found)


def test_a_unit_with_a_broken_line_is_rejected_whole() -> None:
    content = b"one\n\xff\n\ntwo"
    shown = [
        [i.reason if isinstance(i, Reject) else i.text for i in read(io.BytesIO(content), Config(unit=u, label=None))]
        for u in ("line", "paragraph", "file")
    ]
    assert shown == [["one", "not_utf8", "two"], ["not_utf8", "two"], ["not_utf8"]]


def test_nothing() -> None:
    for unit in ("line", "paragraph", "file"):
        assert list(read(io.BytesIO(b"\n \n"), Config(unit=unit, label=None))) == []
