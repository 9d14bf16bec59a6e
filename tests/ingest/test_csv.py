import io

import pytest

from nightforge.errors import ConfigError
from nightforge.ingest.csv import SAMPLE, Config, read
from nightforge.records import Record, Reject


def texts(content: bytes, cfg: Config = SAMPLE) -> list[str]:
    return [i.reason if isinstance(i, Reject) else i.text for i in read(io.BytesIO(content), cfg)]


def test_quotes_line_breaks_and_a_bom() -> None:
    content = '\ufefflabel,text\r\nplant,"a ""tall"" tree,\nold"\r\n\r\nfood,soupe à l’oignon\r\n'.encode()
    found = list(read(io.BytesIO(content), SAMPLE))
    assert [(r.text, r.label, r.source) for r in found if isinstance(r, Record)] == [
        ('a "tall" tree,\nold', "plant", "line 2"),
        ("soupe à l’oignon", "food", "line 5"),
    ]


def test_another_delimiter() -> None:
    cfg = Config(columns={"text": "body"}, keep=["n"], delimiter="\t")
    (record,) = read(io.BytesIO(b"body\tn\na, b\t1\n"), cfg)
    assert isinstance(record, Record) and record.text == "a, b" and record.meta == {"n": "1"}


def test_broken_rows_are_rejected_one_by_one() -> None:
    assert texts(b"text,label\na,b,c\nd\n\xff,x\nok,y\n,z\n") == [
        "fields_unlike_header",
        "fields_unlike_header",
        "not_utf8",
        "ok",
        "no_text",
    ]


def test_a_long_document_is_read_and_the_handle_stays_open() -> None:
    handle = io.BytesIO(b"text,label\n" + b"x" * 500_000 + b",y\n")
    assert len(next(iter(read(handle, SAMPLE))).text) == 500_000  # type: ignore[union-attr]
    handle = io.BytesIO(b"text,label\nx,y\n")
    list(read(handle, SAMPLE))
    assert not handle.closed


def test_an_unknown_column_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'text'"):
        texts(b"texts,label\na,b\n".replace(b"texts", b"text"), Config(columns={"text": "txt"}, keep=[], delimiter=","))


def test_blank_lines_above_the_header_are_passed_over() -> None:
    assert texts(b"\n\r\ntext,label\na tree,plant\n") == ["a tree"]


def test_another_delimiter_than_said_stops_at_the_header() -> None:
    with pytest.raises(ConfigError, match=r"no column 'text'\..*has: text;label"):
        texts(b"text;label\na tree, old;plant\n")
    with pytest.raises(ConfigError, match="twice"):
        texts(b"text,n,n\na,1,2\n", Config(columns={"text": "text"}, keep=["n"], delimiter=","))


def test_nothing() -> None:
    assert texts(b"") == texts(b"\n\n") == texts(b"text,label\n") == []
