import json
import random
from pathlib import Path

import nlpaug
import pytest

from nightforge.augment.keyboard import SAMPLE, Config, vary
from nightforge.records import Record


def edits(text: str, **changes: object) -> list[dict[str, str]]:
    cfg = Config(**{**SAMPLE.model_dump(), "word_share": 1.0, "tries": 5, **changes})
    found = vary(Record(id="r", text=text), cfg, random.Random(0), Path("none"))
    return [edit for variant in found for edit in variant.meta["edits"]]


@pytest.mark.parametrize(
    ("layout", "text"), [("en", "Purple rivers beside 3,000 trees"), ("de", "Blumen neben Wasser")]
)
def test_one_letter_becomes_a_neighbour_of_its_key(layout: str, text: str) -> None:
    keys = json.loads((Path(nlpaug.__file__).parent / f"res/char/keyboard/{layout}.json").read_text(encoding="utf-8"))
    for edit in edits(text, layout=layout):
        (wrong,) = [(a, b) for a, b in zip(edit["before"], edit["after"], strict=True) if a != b]
        assert wrong[1] in keys[wrong[0]] and wrong[1].islower()


def test_short_words_stay() -> None:
    assert {e["before"] for e in edits("the tall an evergreen", letters_min=5)} == {"evergreen"}
    assert edits("an id at 7:30") == []
