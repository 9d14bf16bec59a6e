"""What arrives broken ends in a reject with place and reason, or in an error of ours: every reader, any bytes."""

import csv as stdlib_csv
import io
import json
import struct
import tracemalloc
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nightforge import methods
from nightforge.errors import ConfigError, DataError
from nightforge.ingest import jsonl, parquet, text
from nightforge.ingest._columns import TEXT_MAX, Table
from nightforge.records import Record, Reject

FORMATS = methods.names("ingest")
TEXT_ONLY: dict[str, Any] = {"columns": {"text": "text"}, "keep": []}


def read(name: str, content: bytes | io.BufferedIOBase, cfg: Any = None) -> list[Record | Reject]:
    module = methods.load("ingest", name)
    handle = io.BytesIO(content) if isinstance(content, bytes) else content
    return list(module.read(handle, cfg or module.SAMPLE))


def outcome(item: Record | Reject) -> str:
    return item.reason if isinstance(item, Reject) else item.text


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=150, deadline=None)
@given(content=st.binary(max_size=400))
def test_any_bytes_give_rows_rejects_or_an_error_of_ours(name: str, content: bytes) -> None:
    try:
        items = read(name, content)
    except (DataError, ConfigError):
        return
    for item in items:
        assert isinstance(item, Record | Reject)
        assert str(item if isinstance(item, Reject) else [item.text, item.label, item.source]).encode() is not None


def parquet_file(**columns: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, row_group_size=10)
    return sink.getvalue()


GOOD_PARQUET = parquet_file(text=[f"text number {i}" for i in range(30)], label=["x"] * 30)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(at=st.integers(0, len(GOOD_PARQUET) - 1), flipped=st.binary(min_size=1, max_size=6))
def test_damage_anywhere_in_parquet_is_told(at: int, flipped: bytes) -> None:
    try:
        items = read("parquet", GOOD_PARQUET[:at] + flipped + GOOD_PARQUET[at + len(flipped) :])
    except (DataError, ConfigError):
        return
    assert all(isinstance(item, Record | Reject) for item in items)


@given(
    rows=st.lists(
        st.dictionaries(st.sampled_from(["text", "other"]), st.none() | st.integers() | st.text() | st.lists(st.text()))
    )
)
def test_every_line_of_json_is_a_row_or_a_reject(rows: list[dict[str, object]]) -> None:
    rows = [{"text": "at the head"}, *rows]
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    assert len(read("jsonl", content, jsonl.Config(**TEXT_ONLY))) == len(rows)


@given(rows=st.lists(st.tuples(st.text(st.characters(exclude_categories=["Cs"])), st.text(alphabet='a",\n é'))))
def test_every_row_of_csv_is_a_row_or_a_reject(rows: list[tuple[str, str]]) -> None:
    sink = io.StringIO(newline="")
    writer = stdlib_csv.writer(sink)
    writer.writerows([("text", "label"), *rows])
    found = read("csv", sink.getvalue().encode())
    assert len(found) == len(rows)
    for (text_given, label), item in zip(rows, found, strict=True):
        if isinstance(item, Record):
            assert (item.text, item.label) == (text_given, label if label.strip() else None)
        else:
            assert not text_given.strip() or "\0" in text_given + label, "only these are no texts"


@given(content=st.lists(st.binary(max_size=30).map(lambda b: b.replace(b"\n", b""))).map(b"\n".join))
def test_every_line_of_text_is_a_row_a_reject_or_blank(content: bytes) -> None:
    if content[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        return
    blank = sum(_blank(line) for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n"))
    assert len(read("text", content)) == content.count(b"\n") + 1 - blank


def _blank(line: bytes) -> bool:
    try:
        return not line.decode().strip()
    except UnicodeDecodeError:
        return False


class Long(io.RawIOBase):
    """A file that is made as it is read: some bytes, one byte very often, some bytes."""

    def __init__(self, head: bytes, filler: bytes, length: int, tail: bytes) -> None:
        self.left, self.parts = length, [head, tail]
        self.filler = filler

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.parts and len(self.parts) == 2:
            made = self.parts.pop(0)
        elif self.left:
            made = self.filler * min(self.left, len(buffer) // len(self.filler))
            self.left -= len(made) // len(self.filler)
        else:
            made = self.parts.pop(0) if self.parts else b""
        buffer[: len(made)] = made
        return len(made)


@pytest.mark.parametrize(
    ("name", "head", "tail"),
    [
        ("jsonl", b'{"text": "one", "label": ""}\n{"text": "', b'"}\n{"text": "two"}\n'),
        ("csv", b"text,label\none,\n", b",\ntwo,\n"),
        ("csv", b'text,label\none,\n"', b'",\ntwo,\n'),
        ("text", b"one\n", b"\ntwo\n"),
    ],
)
def test_a_line_of_100_mb_is_one_reject_and_stays_out_of_memory(name: str, head: bytes, tail: bytes) -> None:
    handle = io.BufferedReader(Long(head, b"x", 100_000_000, tail))
    tracemalloc.start()
    found = [outcome(item) for item in read(name, handle)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == ["one", "not_csv" if name == "csv" else "too_long", "two"]
    assert peak < 8 * TEXT_MAX, f"{peak} bytes"


def test_a_file_that_is_one_document_may_not_be_endless() -> None:
    handle = io.BufferedReader(Long(b"one\n", b"x" * 999 + b"\n", 100_000, b"y"))
    tracemalloc.start()
    (found,) = read("text", handle, text.Config(unit="file", label=None))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(found, Reject) and found.reason == "too_long" and peak < 4 * TEXT_MAX


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "latin-1", "utf-32"])
def test_wrong_encodings(encoding: str) -> None:
    for name, content in (
        ("jsonl", '{"text": "café", "label": "x"}\n' * 3),
        ("csv", "text,label\ncafé,x\n"),
        ("text", "café\n" * 3),
    ):
        try:
            found = read(name, content.encode(encoding))
        except ConfigError as e:
            assert name == "csv" and "no column" in str(e) and str(e).isprintable() and str(e).encode()
            continue
        assert found and all(isinstance(item, Reject) for item in found), (name, found)
        if encoding == "utf-16":
            assert "iconv -f UTF-16" in found[0].evidence  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": "a\\u0000b"}', "nul_character"),
        (b'{"text": "a\x00b"}', "not_json"),
        (b'{"text": NaN}', "not_json"),
        (b'{"text": "x", "n": -Infinity}', "not_json"),
        (b'{"text": "x", "n": 1e999}', "not_json_able"),
        (b'{"text": "x", "n": %s}' % (b"9" * 5_000), "not_json"),
        (b'{"text": "x", "n": "\\udc00"}', "lone_surrogate"),
        (b'{"text": "x", "n": %s1%s}' % (b"[" * 900, b"]" * 900), "x"),
        (b'{"text": "x", "n": %s}' % (b'{"a":' * 100_000), "not_json"),
        (b'{"text": "x", "n": 1', "not_json"),
        (b'{"text": true, "n": 1}', "True"),
        (b'{"text": "first", "text": "last", "n": 1}', "last"),
    ],
)
def test_json_that_is_none_or_that_no_file_holds(line: bytes, reason: str) -> None:
    cfg = jsonl.Config(columns={"text": "text"}, keep=["n"])
    assert [outcome(i) for i in read("jsonl", b'{"text": "good", "n": 0}\n' + line + b"\n", cfg)] == ["good", reason]


def test_a_label_or_a_document_that_no_file_holds() -> None:
    cfg = jsonl.Config(columns={"text": "text", "label": "label", "document": "url"}, keep=[])
    rows = (b'{"text": "x", "label": "\\udc00", "url": ""}', b'{"text": "x", "label": "", "url": "\\udc00"}')
    assert [outcome(i) for i in read("jsonl", b"\n".join(rows), cfg)] == ["lone_surrogate"] * 2


def test_column_names_that_cannot_be_printed() -> None:
    with pytest.raises(ConfigError) as refused:
        read("jsonl", json.dumps({"\udc00": 1, "x" * 9_999: 2} | {f"c{i}": 0 for i in range(99)}).encode())
    assert len(str(refused.value).encode()) < 1_000


def test_kept_columns_do_not_pass_for_our_own_facts() -> None:
    with pytest.raises(ValueError, match="'parent'"):
        Table(columns={"text": "t"}, keep=["parent"])


def test_a_quote_that_is_never_closed_costs_its_line() -> None:
    content = b'text,label\none,x\n"two,x\nthree,x\nfour,x\n'
    assert [outcome(i) for i in read("csv", content)] == ["one", "not_csv", "three", "four"]
    found = read("csv", b'text,label\n"a"b,x\n"two\nlines",x\nthree,x\n')
    assert [outcome(i) for i in found] == ["not_csv", "two\nlines", "three"]
    assert isinstance(found[1], Record) and found[1].source == "line 3"


def test_a_header_that_names_a_column_twice() -> None:
    with pytest.raises(ConfigError, match="'text' twice"):
        read("csv", b"text,label,text\na,b,c\n")


def test_a_parquet_whose_page_is_corrupt_loses_that_group_and_says_so() -> None:
    sink = io.BytesIO()
    rows = [f"{i:04d}" + "abcdefgh" * 40 for i in range(30)]
    pq.write_table(
        pa.table({"text": rows, "label": rows}), sink, row_group_size=10, compression="gzip", use_dictionary=False
    )
    content = bytearray(sink.getvalue())
    column = pq.ParquetFile(sink).metadata.row_group(1).column(0)
    end = column.data_page_offset + column.total_compressed_size
    content[end - 60 : end - 20] = bytes(40)
    found = read("parquet", bytes(content))
    assert [type(i) for i in found] == [Record] * 10 + [Reject] * 10 + [Record] * 10
    assert isinstance(found[10], Reject) and found[10].reason == "corrupt_row_group" and "row 11" in found[10].evidence


@pytest.mark.parametrize("kept", [0.3, 0.7, 0.99])
def test_a_parquet_that_is_cut_off_is_an_error_of_ours(kept: float) -> None:
    with pytest.raises(DataError, match="whole to its end"):
        read("parquet", GOOD_PARQUET[: int(kept * len(GOOD_PARQUET))])
    with pytest.raises(DataError, match="whole to its end"):
        read("parquet", b"PAR1" + struct.pack("<I", 2**31) + b"PAR1")


def test_values_of_parquet_that_are_no_text() -> None:
    broken = pa.array([b"good", b"\xff", b"fine"], pa.binary()).view(pa.string())
    found = read("parquet", parquet_file(text=broken), parquet.Config(**TEXT_ONLY))
    assert [outcome(i) for i in found] == ["good", "unreadable_value", "fine"]
    assert isinstance(found[1], Reject) and found[1].evidence.startswith("row 2: ")
    cfg = parquet.Config(columns={"text": "text"}, keep=["n"])
    found = read("parquet", parquet_file(text=["a", "b", "c"], n=[1.5, float("nan"), float("inf")]), cfg)
    assert [outcome(i) for i in found] == ["a", "b", "not_json_able"]
    assert isinstance(found[1], Record) and found[1].meta == {"n": None}, "pandas writes a missing number so"
    labelled = parquet_file(text=["a"], label=[float("nan")])
    assert [i.label for i in read("parquet", labelled) if isinstance(i, Record)] == [None]
    assert [outcome(i) for i in read("parquet", parquet_file(text=[b"x"]), parquet.Config(**TEXT_ONLY))] == [
        "not_a_plain_value"
    ]
