import pytest

from nightforge.clean.length import Config, apply
from nightforge.records import Record, Reject

CFG = Config(words_min=2, words_max=4, chars_min=5, chars_max=20)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ab cd", None),
        ("ab c", "too_few_characters"),
        ("abcde", "too_few_words"),
        ("a b c d", None),
        ("a b c d e", "too_many_words"),
        ("abcdefghij abcdefghi", None),
        ("abcdefghij abcdefghij", "too_many_characters"),
        ("木は高いよ", "too_many_words"),
        ("-- -- -- a", "too_few_words"),
    ],
)
def test_a_text_at_a_bound_stays(text: str, reason: str | None) -> None:
    result = apply(Record(id="1", text=text), CFG)
    assert (result.reason if isinstance(result, Reject) else None) == reason
