import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nightforge.ingest import jsonl, parquet
from nightforge.ingest._chats import Malformed, turns
from nightforge.records import Record, Reject, chat_text

OPENAI = [{"role": "user", "content": "why?"}, {"role": "assistant", "content": "so.\n\nand so"}]
SHAREGPT = [{"from": "human", "value": "why?"}, {"from": "GPT", "value": "so.\n\nand so"}]
PARTS = [{"role": "user", "content": [{"type": "text", "text": "why?"}]}, OPENAI[1]]


def read(*rows: object, column: str = "messages") -> list[Record | Reject]:
    cfg = jsonl.Config(columns={"messages": column, "label": "label"}, keep=[])
    content = "".join(json.dumps({column: row, "label": "x"}) + "\n" for row in rows)
    return list(jsonl.read(io.BytesIO(content.encode()), cfg))


@pytest.mark.parametrize("chat", [OPENAI, SHAREGPT, PARTS, json.dumps(OPENAI)])
def test_every_form_becomes_one(chat: object) -> None:
    (record,) = read(chat)
    assert isinstance(record, Record) and record.meta == {"messages": OPENAI}
    assert record.text == chat_text(OPENAI) == "why?\n\nso.\n\nand so" and record.label == "x"


@pytest.mark.parametrize(
    ("chat", "reason"),
    [
        (None, "no_messages"),
        ([], "chat_without_turns"),
        ("not json", "chat_not_json"),
        ("[" * 100_000, "chat_not_json"),
        ({"role": "user"}, "chat_not_a_list"),
        (["hello"], "turn_not_an_object"),
        ([{"content": "x"}], "unknown_role"),
        ([{"role": "narrator", "content": "x"}], "unknown_role"),
        ([{"role": ["user"], "content": "x"}], "unknown_role"),
        ([{"role": "user", "content": None}], "turn_without_text"),
        ([{"role": "user", "content": {"text": "x"}}], "turn_without_text"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}], "turn_with_other_than_text"),
        ([{"role": "user", "content": " "}], "no_text"),
        ([{"role": "user", "content": "\ud800"}], "lone_surrogate"),
        ([{"role": "user", "content": "a\0b"}], "nul_character"),
    ],
)
def test_a_malformed_chat_is_rejected_with_the_reason(chat: object, reason: str) -> None:
    (found,) = read(chat)
    assert isinstance(found, Reject) and found.reason == reason and found.evidence.startswith("line 1")


def test_who_speaks_and_where_a_turn_ends_make_another_document() -> None:
    same_text = [
        OPENAI,
        [OPENAI[0], {"role": "user", "content": OPENAI[1]["content"]}],
        [OPENAI[0], {"role": "assistant", "content": "so."}, {"role": "assistant", "content": "and so"}],
        SHAREGPT,
    ]
    found = [r for r in read(*same_text) if isinstance(r, Record)]
    assert len({r.text for r in found}) == 1
    assert len({r.id for r in found}) == 3 and found[0].id == found[3].id, "ShareGPT's form says the same"


def test_pairs_that_are_cut_elsewhere_are_other_documents() -> None:
    cfg = jsonl.Config(columns={"prompt": "q", "response": "a"}, keep=[])
    one, other = jsonl.read(io.BytesIO(b'{"q": "x\\ny", "a": "z"}\n{"q": "x", "a": "y\\nz"}\n'), cfg)
    assert isinstance(one, Record) and isinstance(other, Record)
    assert one.text == other.text and one.id != other.id


def test_a_column_of_structs_in_parquet() -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"conversations": [SHAREGPT, None]}), sink)
    sink.seek(0)
    found = list(parquet.read(sink, parquet.Config(columns={"messages": "conversations"}, keep=[])))
    assert [r.meta["messages"] for r in found if isinstance(r, Record)] == [OPENAI]
    assert [r.reason for r in found if isinstance(r, Reject)] == ["no_messages"]


def test_messages_stand_alone_in_the_mapping() -> None:
    with pytest.raises(ValueError, match="columns map messages"):
        jsonl.Config(columns={"messages": "m", "text": "t"}, keep=[])
    with pytest.raises(Malformed, match="chat_not_a_list"):
        turns(7)
