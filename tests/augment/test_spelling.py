import random
from pathlib import Path

import nlpaug

from nightforge.augment.spelling import SAMPLE, vary
from nightforge.records import Record


def texts(text: str, share: float = 1.0) -> set[str]:
    cfg = SAMPLE.model_copy(update={"word_share": share, "tries": 40})
    return {v.text for v in vary(Record(id="r", text=text), cfg, random.Random(0), Path("none"))}


def test_words_are_misspelt_as_the_dictionary_has_them() -> None:
    lines = (Path(nlpaug.__file__).parent / "res/word/spelling/spelling_en.txt").read_text(encoding="utf-8").split("\n")
    known = {word for line in lines if line.startswith("esteem ") for word in line.split()[1:]}
    assert {"estime", "esstem"} <= known
    assert texts("in esteem  of `esteem`") == {f"in {wrong}  of `esteem`" for wrong in known}


def test_a_misspelling_is_not_taken_back() -> None:
    assert texts("estime") == set()


def test_nothing_that_is_not_in_it() -> None:
    assert texts("xyzzy 3.50 it") == texts("") == set()
