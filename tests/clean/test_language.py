from pathlib import Path

import pytest

from nightforge.clean.language import SAMPLE, Config, judge, prepare
from nightforge.records import Mark, Record, Reject
from nightforge.view import View

ENGLISH = "A tall tree stands at the end of the road, and nobody knows who planted it there."
GERMAN = "Ein hoher Baum steht am Ende der Straße, und niemand weiß, wer ihn dort gepflanzt hat."


def found(text: str, cfg: Config = SAMPLE) -> list[Reject | Mark]:
    return list(judge(View(Record(id="1", text=text)), cfg, prepare(cfg, Path("none"))))


def test_the_language_is_marked() -> None:
    language, score = found(ENGLISH)
    assert language == Mark("language", "en")
    assert isinstance(score, Mark) and score.name == "language_score" and 0.9 < float(score.value) <= 1


def test_others_go() -> None:
    *marks, reject = found(GERMAN)
    assert marks[0] == Mark("language", "de")
    assert isinstance(reject, Reject) and reject.reason == "other_language"
    assert len(found(GERMAN, SAMPLE.model_copy(update={"languages": []}))) == 2, "all languages stay, and are named"


def test_what_is_unsure_goes() -> None:
    sure = SAMPLE.model_copy(update={"score_min": 1.0})
    assert [r.reason for r in found(ENGLISH + " " + GERMAN[:20], sure) if isinstance(r, Reject)] == ["language_unsure"]


@pytest.mark.parametrize("text", ["asdkj", "", "12345 " * 40, "Baum"])
def test_few_letters_are_not_judged(text: str) -> None:
    assert found(text) == []


def test_capitals_and_line_breaks_do_not_hide_it() -> None:
    assert found(ENGLISH.upper().replace(" ", "\n"))[0] == Mark("language", "en")
