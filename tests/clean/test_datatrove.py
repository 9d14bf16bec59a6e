"""The decisions of datatrove 0.10.1 on documents at the edges of its rules, recorded with the words that it saw.

bench/_filters.py compares thousands of real documents; this holds a dozen without datatrove installed.
"""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from nightforge.clean import c4, c4_lines, fineweb, gopher_quality, repetition
from nightforge.records import Record
from nightforge.view import View

RECORDED: dict[str, Any] = json.loads(Path(__file__).with_name("datatrove.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("rule", [gopher_quality, repetition, fineweb], ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("name", RECORDED)
def test_the_same_decision_on_the_same_words(name: str, rule: ModuleType) -> None:
    said = RECORDED[name]
    view = View(Record(id="1", text=said["text"]), said["words"].split(" "))
    reasons = [why.reason for why in rule.judge(view, rule.SAMPLE)]
    assert bool(reasons) == bool(said["dropped"][rule.__name__.rsplit(".", 1)[1]]), (reasons, said["dropped"])


@pytest.mark.parametrize("name", RECORDED)
def test_the_same_decision_of_c4_which_takes_lines_out_first(name: str) -> None:
    left = c4_lines.edit(RECORDED[name]["text"], c4_lines.SAMPLE).text
    reasons = [why.reason for why in c4.judge(View(Record(id="1", text=left)), c4.SAMPLE)]
    assert bool(reasons) == bool(RECORDED[name]["dropped"]["c4"]), reasons
