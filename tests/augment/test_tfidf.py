import math
import random
from collections import Counter
from pathlib import Path

import pytest

from nightforge.augment._tfidf import Statistics
from nightforge.augment.tfidf import SAMPLE, vary
from nightforge.errors import AssetMissing
from nightforge.records import Record

TEXTS = ["the tree of the garden", "the river", "the meal of the garden in summer", "the old tree", "of gold"]


@pytest.fixture
def assets(tmp_path: Path) -> Path:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("\n\n".join(TEXTS))
    return tmp_path


def test_the_statistics_by_hand() -> None:
    known = Statistics(TEXTS)
    assert known.idf["the"] == math.log(5 / 4) and known.idf["gold"] == math.log(5)
    scores = {"the": (2 / 5 + 1 / 2 + 2 / 7 + 1 / 3) * math.log(5 / 4), "river": 1 / 2 * math.log(5)}
    highest = max(scores["river"], 1 / 2 * math.log(5))  # of `river` and `gold`
    weights = dict(
        zip(known.words, [b - a for a, b in zip([0.0, *known.weights], known.weights, strict=False)], strict=True)
    )
    assert weights["the"] == pytest.approx(highest - scores["the"]) and weights["river"] == pytest.approx(0)


def test_on_texts_without_repeats_it_is_nlpaugs() -> None:
    from nlpaug.model.word_stats import TfIdf

    texts = ["red tree", "red river of gold", "old tree of red", "meal"]
    theirs = TfIdf()
    theirs.train([text.split() for text in texts])
    ours = Statistics(texts)
    assert ours.idf == pytest.approx(theirs.w2idf)
    total = ours.weights[-1]
    mine = {w: (b - a) / total for w, a, b in zip(ours.words, [0.0, *ours.weights], ours.weights, strict=False)}
    assert mine == pytest.approx(theirs.w2tfidf)


def test_words_that_carry_little_are_replaced(assets: Path) -> None:
    text = "The gold of  the `garden` tree, unknown 3.50"
    cfg = SAMPLE.model_copy(update={"asset": "texts", "tries": 100, "word_share": 0.1})
    found = list(vary(Record(id="r", text=text), cfg, random.Random(0), assets))
    edits = [edit for variant in found for edit in variant.meta["edits"]]
    counts = Counter(e["before"] for e in edits)
    assert counts["gold"] == 0, "the word that carries most is kept"
    assert counts["of"] > 5 and {e["after"].lower() for e in edits} <= set(Statistics(TEXTS).words)
    assert all(e["after"][0].isupper() == e["before"][0].isupper() for e in edits)


def test_insertion_keeps_every_word(assets: Path) -> None:
    cfg = SAMPLE.model_copy(update={"asset": "texts", "action": "insert", "word_share": 0.5})
    for variant in vary(Record(id="r", text="the river  in summer"), cfg, random.Random(0), assets):
        assert len(variant.text.split()) == 6 and "  in" in variant.text.replace(" of in", " in").replace(
            " the in", " in"
        )


def test_missing_texts_are_named(tmp_path: Path) -> None:
    with pytest.raises(AssetMissing, match="name: texts"):
        list(vary(Record(id="r", text="the river"), SAMPLE, random.Random(0), tmp_path))
