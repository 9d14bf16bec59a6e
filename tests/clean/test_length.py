import pytest

from nightforge.clean.length import Config, judge
from nightforge.records import Record, pair_text
from nightforge.view import View

CFG = Config(words_min=2, words_max=4, chars_min=5, chars_max=20)


def reasons(text: str) -> set[str]:
    return {why.reason for why in judge(View(Record(id="1", text=text)), CFG)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ab cd", set()),
        ("ab c", {"too_few_characters"}),
        ("abcde", {"too_few_words"}),
        ("a b c d", set()),
        ("a b c d e", {"too_many_words"}),
        ("abcdefghij abcdefghi", set()),
        ("abcdefghij abcdefghij", {"too_many_characters"}),
        ("木は高いよ", {"too_many_words"}),
        ("-- -- -- a", {"too_few_words"}),
        ("a", {"too_few_characters", "too_few_words"}),
        ("abc " * 6, {"too_many_characters", "too_many_words"}),
    ],
)
def test_a_text_at_a_bound_stays_and_every_reason_is_named(text: str, expected: set[str]) -> None:
    assert reasons(text) == expected


def test_a_pair_is_as_long_as_both_its_parts() -> None:
    assert not reasons(pair_text("why so", "no"))
    assert reasons(pair_text("why so", "no one can know")) == {"too_many_words", "too_many_characters"}


def test_the_evidence_is_the_size_against_its_bound() -> None:
    assert [why.evidence for why in judge(View(Record(id="1", text="a")), CFG)] == ["1 < 5", "1 < 2"]
