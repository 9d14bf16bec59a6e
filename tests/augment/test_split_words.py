import random
from pathlib import Path

from nightforge.augment.split_words import SAMPLE, vary
from nightforge.records import Record


def test_a_space_comes_inside_a_word_and_nothing_else_changes() -> None:
    text = "evergreen  trees\nat `evergreen` cost $3.50"
    cfg = SAMPLE.model_copy(update={"word_share": 0.1, "tries": 30})
    found = {v.text for v in vary(Record(id="r", text=text), cfg, random.Random(0), Path("none"))}
    assert len(found) > 5
    for variant in found:
        assert "".join(variant.split()) == "".join(text.split())
        assert variant.count(" ") == text.count(" ") + 1 and "`evergreen` " in variant
        assert not any(part == "" for part in variant.split("  ")[0].split(" "))


def test_short_words_stay() -> None:
    assert list(vary(Record(id="r", text="an old oak"), SAMPLE, random.Random(0), Path("none"))) == []
