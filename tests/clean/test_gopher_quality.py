from typing import Any

import pytest

from nightforge.clean.gopher_quality import SAMPLE, Config, judge
from nightforge.records import Record, Reject
from nightforge.view import View

GOOD = "The trees of the forest have to be old, and that is what we walk with. " * 4


def why(text: str, words: list[str] | None = None, **changed: Any) -> list[Reject]:
    cfg = Config(**{**SAMPLE.model_dump(), **changed})
    return list(judge(View(Record(id="1", text=text), words), cfg))


def reasons(text: str, **changed: Any) -> set[str]:
    return {reject.reason for reject in why(text, **changed)}


def test_prose_stays_and_short_prose_goes_for_its_length_alone() -> None:
    assert reasons(GOOD) == set()
    assert reasons(GOOD[:71]) == {"too_few_words"}
    assert reasons("") == {"too_few_words", "few_stop_words"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("to be of a to be of a " * 10, "short_words"),
        ("the incomprehensibilities of internationalization " * 20, "long_words"),
        ("the # tree of # " * 25, "hashes"),
        ("the forest... of trees… and " * 25, "ellipses"),
        ("- the tree of life\n• the tree of life\n" * 10, "bullet_lines"),
        ("the tree of life ...\nof the world and all that there is\n" * 10, "ellipsis_lines"),
        ("the forest 100 200 of years 300 400 " * 20, "few_alphabetic_words"),
        ("green trees grow tall here " * 20, "few_stop_words"),
    ],
)
def test_each_bound_alone(text: str, reason: str) -> None:
    assert reasons(text) == {reason}


def test_a_share_at_its_bound_stays() -> None:
    cfg = {"words_min": 5, "words_max": 5, "stop_words_min": 1}
    assert reasons("the tree grows tall 1", **cfg) == set(), "four of five words hold a letter: 0.8"
    assert reasons("the tree grows 200 1", **cfg) == {"few_alphabetic_words"}
    assert reasons("the tree grows tall here now", **cfg) == {"too_many_words"}


def test_stop_words_count_once_each_whatever_their_case() -> None:
    cfg = {"words_min": 0}
    assert reasons("The the THE tree", **cfg) == {"few_stop_words"}
    assert reasons("The tree of life", **cfg) == set()


def test_punctuation_among_the_words_fails_texts_that_ours_keeps() -> None:
    text = "the (big) tree, of [all] " * 25
    spacy = ["the", "(", "big", ")", "tree", ",", "of", "[", "all", "]"] * 25
    assert reasons(text) == set()
    assert [r.reason for r in why(text, spacy)] == ["few_alphabetic_words"], "5 of 10: as datatrove decides"
    assert why(text, spacy)[0].evidence == "0.50 < 0.8"


def test_every_reason_that_fires_is_named() -> None:
    assert reasons("# 1 … 2 … 3 …") == {
        "too_few_words", "short_words", "few_alphabetic_words", "hashes", "ellipses", "ellipsis_lines", "few_stop_words"
    }  # fmt: skip
