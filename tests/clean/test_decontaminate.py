import json
from pathlib import Path

import pytest

from nightforge.clean.decontaminate import SAMPLE, Config, judge, prepare
from nightforge.errors import AssetMissing, DataError
from nightforge.records import Record
from nightforge.view import View

QUESTION = "Which of the two trees that grow in the garden behind the old house is the taller one?"


def reasons(text: str, assets: Path, cfg: Config = SAMPLE) -> list[tuple[str, str]]:
    said = judge(View(Record(id="r", text=text)), cfg, prepare(cfg, assets))
    return [(one.reason, one.evidence) for one in said]


@pytest.fixture
def assets(tmp_path: Path) -> Path:
    folder = tmp_path / "benchmark"
    folder.mkdir()
    lines = [{"question": "What is it?", "answer": "A tree."}, {"question": QUESTION, "answer": "The left one."}]
    (folder / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (folder / "b.txt").write_text("an item of only seven short words\n\n" + " ".join(f"word{i}" for i in range(9)))
    return tmp_path


CFG = SAMPLE.model_copy(update={"keys": ["question", "answer"]})


def test_a_row_that_quotes_a_question_is_dropped_and_the_item_named(assets: Path) -> None:
    quoted = f"Here is one of them: {QUESTION.upper()} I do not know."
    # 18 + 3 words are 9 runs of 13; the row holds the first 6 of them
    assert reasons(quoted, assets, CFG) == [
        (
            "contaminated",
            "benchmark#2: 6 of 9 runs of words, first “which of the two trees that grow in the garden behind the old”",
        )
    ]
    assert reasons(quoted, assets, CFG.model_copy(update={"share_min": 0.7})) == []
    assert reasons("Which of the two trees that grow in the garden behind the house is it?", assets, CFG) == []


def test_a_short_item_counts_as_a_whole_and_a_shorter_one_not_at_all(assets: Path) -> None:
    nine = " ".join(f"Word{i}," for i in range(9))
    assert [reason for reason, _ in reasons(f"So it goes: {nine} and on", assets, CFG)] == ["contaminated"]
    assert reasons(" ".join(f"word{i}" for i in range(8)), assets, CFG) == []
    assert reasons("here is an item of only seven short words", assets, CFG) == []


def test_what_is_missing_is_said(assets: Path) -> None:
    with pytest.raises(DataError, match=r'a\.jsonl:1: expected .*"text"'):
        prepare(SAMPLE, assets)
    with pytest.raises(AssetMissing, match="name: mmlu, address"):
        prepare(CFG.model_copy(update={"benchmarks": ["benchmark", "mmlu"]}), assets)
