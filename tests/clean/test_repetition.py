import pytest

from nightforge.clean.repetition import SAMPLE, apply, dup_share, top_share
from nightforge.records import Record, Reject


def reason(text: str) -> str | None:
    result = apply(Record(id="1", text=text), SAMPLE)
    return result.reason if isinstance(result, Reject) else None


def test_shares_by_hand() -> None:
    # "ab ab cd": the pair (ab, ab) once, (ab, cd) once: nothing repeats
    assert top_share(["ab", "ab", "cd"], 2) == 0
    # (a, b) twice holds 4 of 5 characters
    assert top_share(["a", "b", "a", "b", "c"], 2) == 4 / 5
    # words 3 and 4 lie in a pair seen before, and so do 4 and 5: (b, a) was seen at 2
    assert dup_share(["a", "b", "a", "b", "a"], 2) == 3 / 5
    assert dup_share(["a", "b", "c", "a", "b", "d"], 2) == 2 / 6
    assert dup_share([], 2) == top_share([], 2) == 0


@pytest.mark.parametrize("text", ["a small tree", "tall", "the end of the road", ""])
def test_short_texts_without_repetition_pass_the_published_bounds(text: str) -> None:
    assert reason(text) is None


def test_reasons() -> None:
    assert reason("one line\nanother\none line\none line") == "repeated_lines"
    assert reason("buy now cheap " * 9) is not None
    many = "\n\n".join(
        ["a paragraph that comes again and again", *"xyz", *["a paragraph that comes again and again"] * 2]
    )
    assert reason(many) in {"repeated_lines", "repeated_paragraphs"}
