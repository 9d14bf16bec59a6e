import pytest

from nightforge.clean.c4 import SAMPLE, judge, sentences
from nightforge.records import Record
from nightforge.view import View


def reasons(text: str) -> set[str]:
    return {why.reason for why in judge(View(Record(id="1", text=text)), SAMPLE)}


def test_reasons() -> None:
    assert reasons("One. Two! Three? Four. Five.") == set()
    assert reasons("One.\nTwo.\nThree.\nFour.\n\nFive.") == set()
    assert reasons("One. Two. Three. Four.") == {"too_few_sentences"}
    assert reasons("Lorem IPSUM { dolor }") == {"lorem_ipsum", "curly_bracket", "too_few_sentences"}
    assert reasons("") == {"too_few_sentences"}


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("no end at all", 1),
        ("One. Two.", 2),
        ('He said "so." Then he left.', 2),
        ("Dr. No met Mr. J. Bond, e.g. in Bonn, i.e. there.", 1),
        ("See 3.5 and a.b.c now.", 1),
        ("What?! Yes... no.", 2),
        ("木がある。花もある。", 2),
    ],
)
def test_sentences(line: str, count: int) -> None:
    assert sentences([line], 99) == count
    assert sentences([line], 2) == min(count, 2)  # no further than is asked


def test_a_wall_of_marks_takes_linear_time() -> None:
    for line in ("!-" * 200_000, "!" * 400_000, ". " * 200_000):
        assert sentences([line], 9) == 1
