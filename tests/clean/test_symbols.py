import pytest

from nightforge.clean.symbols import SAMPLE, judge
from nightforge.records import Record
from nightforge.view import View


def why(text: str) -> list[tuple[str, str]]:
    return [(reject.reason, reject.evidence) for reject in judge(View(Record(id="1", text=text)), SAMPLE)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The tree (of old), said he.", []),
        ("", []),
        ("हिन्दी की किताब", []),
        ("abc !", []),
        ("ab !", [("symbols", "0.33 > 0.25")]),
        ("4 abc", [("digits", "0.25 > 0.2")]),
        ("BUY it NOW", [("capitals", "0.75 > 0.5")]),
        ("a word " * 90 + "-" * 101, [("symbol_run", "101 > 100")]),
        ("the key is " + "Qx" * 101, [("long_word", "202 > 200")]),
        ("木" * 300, []),
        ("ab " * 33_334, [("long_line", "100001 > 100000")]),
    ],
)
def test_bounds(text: str, expected: list[tuple[str, str]]) -> None:
    assert why(text) == expected
