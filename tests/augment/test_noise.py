import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightforge.augment.noise import SAMPLE, Action, vary
from nightforge.records import Record

TEXT = "one brown  fox jumps\n\nover `the` lazy dog at 3.50 today"
NOWHERE = Path("none")


def variants(text: str, seed: int = 0, **changes: object) -> list[Record]:
    cfg = SAMPLE.model_copy(update={"word_share": 1.0, "tries": 4, **changes})
    return list(vary(Record(id="r", text=text), cfg, random.Random(seed), NOWHERE))


@given(st.integers(0, 10_000))
def test_a_swap_keeps_the_words_and_the_white_space(seed: int) -> None:
    for variant in variants(TEXT, seed, actions=["swap"], word_share=0.3):
        if all(" " in e["before"] for e in variant.meta["edits"]):
            assert Counter(variant.text.split()) == Counter(TEXT.split())
        assert [c for c in variant.text if c.isspace()] == [c for c in TEXT if c.isspace()]
        assert "`the`" in variant.text and "3.50" in variant.text


def test_words_are_left_out_with_one_space() -> None:
    assert {v.text for s in range(20) for v in variants("aa bb cc", s, actions=["delete"], word_share=0.1)} == {
        "bb cc",
        "aa cc",
        "aa bb ",
    }


def test_words_of_the_same_text_are_put_in() -> None:
    for variant in variants(TEXT, actions=["insert"], word_share=0.2):
        added = Counter(variant.text.split()) - Counter(TEXT.split())
        assert added and set(added) <= set(TEXT.split()) and not Counter(TEXT.split()) - Counter(variant.text.split())


@pytest.mark.parametrize(("action", "longer"), [("swap", 0), ("delete", -1), ("insert", 1), ("substitute", 0)])
def test_characters(action: Action, longer: int) -> None:
    for variant in variants(TEXT, unit="characters", actions=[action], letters_min=4):
        for edit in variant.meta["edits"]:
            assert len(edit["after"]) == len(edit["before"]) + longer and edit["after"].isalpha()
        assert "`the`" in variant.text and "3.50" in variant.text


@given(st.text(max_size=60), st.integers(0, 99))
def test_edits_never_overlap(text: str, seed: int) -> None:
    for variant in variants(text, seed, actions=["swap", "delete", "insert", "substitute"]):
        end = 0
        for edit in variant.meta["edits"]:
            assert edit["at"] >= end and text[edit["at"] :].startswith(edit["before"])
            end = edit["at"] + len(edit["before"])


def test_one_word_is_too_few() -> None:
    assert variants("alone") == variants("") == []
