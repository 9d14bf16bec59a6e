from nightforge.clean.fineweb import SAMPLE, judge
from nightforge.records import Record
from nightforge.view import View

LONG = "A line of some length that says a thing of its own, number {}."


def why(text: str) -> list[tuple[str, str]]:
    return [(reject.reason, reject.evidence) for reject in judge(View(Record(id="1", text=text)), SAMPLE)]


def reasons(text: str) -> set[str]:
    return {reason for reason, _ in why(text)}


def lines(*kinds: str) -> str:
    return "\n".join(kind.format(at) for at, kind in enumerate(kinds))


def test_prose_stays() -> None:
    assert why(lines(*[LONG] * 5)) == why("") == why("\n\n") == []


def test_lines_that_end_nowhere() -> None:
    open_ended = LONG.rstrip(".")
    assert reasons(lines(*[open_ended] * 7, LONG)) == set(), "1 of 8"
    assert why(lines(*[open_ended] * 8, LONG)) == [("few_ended_lines", "0.11 < 0.12")]


def test_short_lines() -> None:
    assert reasons(lines(LONG, LONG, LONG, *["short but of a few words {}."] * 6)) == set(), "6 of 9"
    assert reasons(lines(LONG, *["short but of a few words {}."] * 3)) == {"short_lines"}


def test_repeated_lines_count_by_their_characters() -> None:
    assert why(lines(LONG, *[LONG.format(0)] * 2)) == [("repeated_line_characters", "0.667 > 0.01")]


def test_line_breaks_a_word() -> None:
    assert reasons("\n".join(f"Unbrokenwordoftwentycharsand{at} more." for at in "abcdefgh")) == {"line_breaks"}


def test_words_of_another_tokenizer_decide() -> None:
    view = View(Record(id="1", text=lines(*[LONG] * 5)), ["word"] * 9)
    assert [w.reason for w in judge(view, SAMPLE)] == ["line_breaks"], "four breaks in nine words"
