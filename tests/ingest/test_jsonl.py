import io
from collections.abc import Iterator
from typing import Any

import pytest

from nightforge.errors import ConfigError, DataError
from nightforge.ingest._columns import records
from nightforge.ingest.jsonl import SAMPLE, Config, read
from nightforge.records import Record, Reject, content_id

GOOD = b'\xef\xbb\xbf{"text": "a tree", "label": "plant"}\n'


def items(content: bytes, cfg: Config = SAMPLE) -> list[Record | Reject]:
    return list(read(io.BytesIO(content), cfg))


def reasons(content: bytes, cfg: Config = SAMPLE) -> list[str]:
    return [i.reason if isinstance(i, Reject) else i.text for i in items(content, cfg)]


def test_a_line_is_a_record() -> None:
    (record,) = items(GOOD)
    assert record == Record(id=content_id("a tree", "plant"), text="a tree", label="plant", source="line 1")


def test_broken_lines_are_rejected_one_by_one() -> None:
    bad = [
        b"{not json",
        b"[1]",
        b'{"label": "x"}',
        b'{"text": " "}',
        b'{"text": {"a": 1}}',
        b"\xff\xfe",
        b'{"text": "\\ud800"}',
    ]
    found = items(GOOD + b"\n".join(bad) + b"\n\n" + b'{"text": 7}')
    assert [i.reason if isinstance(i, Reject) else i.text for i in found] == [
        "a tree",
        "not_json",
        "not_an_object",
        "no_text",
        "no_text",
        "not_a_plain_value",
        "not_utf8",
        "lone_surrogate",
        "7",
    ]
    assert isinstance(found[1], Reject) and found[1].evidence.startswith("line 2: ")
    assert isinstance(found[-1], Record) and found[-1].source == "line 10"


def test_deep_nesting_is_no_crash() -> None:
    assert reasons(GOOD + b'{"text": ' + b"[" * 200_000) == ["a tree", "not_json"]


def test_prompt_and_response_compose_the_text() -> None:
    cfg = Config(columns={"prompt": "q", "response": "a", "document": "url"}, keep=["score"])
    (record,) = items(b'{"q": "what?", "a": "this", "url": "u1", "score": 3, "other": 1}', cfg)
    assert isinstance(record, Record)
    assert (record.text, record.prompt, record.response) == ("what?\nthis", "what?", "this")
    assert record.meta == {"score": 3, "document": "u1"}
    assert reasons(b'{"q": "what?", "a": null, "url": "u", "score": 1}', cfg) == ["no_response"]


def test_an_unknown_column_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no column 'lable'\. Did you mean 'label'\?.*has: label, text"):
        items(GOOD, Config(columns={"text": "text", "label": "lable"}, keep=[]))


def test_rows_are_not_held_while_columns_are_looked_for() -> None:
    taken: list[int] = []

    def rows() -> Iterator[tuple[str, dict[str, Any]]]:
        for at in range(3):
            taken.append(at)
            yield f"line {at}", {"text": "a tree"}

    found = records(rows(), SAMPLE)  # a thousand rows of 16 MB would be 16 GB
    assert isinstance(next(found), Record) and taken == [0]
    with pytest.raises(ConfigError, match="no column 'label'"):
        list(found)


def test_a_blank_label_is_none_and_a_blank_document_groups_nothing() -> None:
    cfg = Config(columns={"text": "text", "label": "label", "document": "page"}, keep=[])
    (record,) = items(b'{"text": "a tree", "label": " ", "page": ""}', cfg)
    assert isinstance(record, Record) and record.label is None and "document" not in record.meta


def test_a_mapping_without_text_is_refused() -> None:
    with pytest.raises(ValueError, match="text, or both prompt and response"):
        Config(columns={"prompt": "q"}, keep=[])


def test_nothing() -> None:
    assert items(b"") == items(b"\n \n") == []


def test_an_array_is_no_json_lines_and_the_way_out_is_said() -> None:
    for array in (b'[\n{"text": "a"},\n{"text": "b"}\n]\n', b'[{"text": "a"},\n {"text": "b"}]\n', b'[{"text": "a"}]'):
        with pytest.raises(DataError, match=r"is a JSON array.*jq -c"):
            items(array)
    kept, lost = items(b'{"text": "a", "label": "x"}\n[{"text": "b"}\n')  # further down, such a line costs itself alone
    assert isinstance(kept, Record) and isinstance(lost, Reject)
