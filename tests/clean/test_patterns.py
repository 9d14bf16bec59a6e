import pickle

import pytest

from nightforge.clean.patterns import Config, judge
from nightforge.errors import ConfigError
from nightforge.methods import choose
from nightforge.records import Record, Reject
from nightforge.view import View


def config(*patterns: dict[str, object]) -> Config:
    return Config.model_validate({"patterns": [{"matches_min": 0, "matches_max": None, **p} for p in patterns]})


def judged(text: str, *patterns: dict[str, object]) -> list[Reject]:
    return list(judge(View(Record(id="1", text=text)), config(*patterns)))


def test_too_often_and_too_seldom() -> None:
    often = {"name": "shouting", "pattern": r"!!+", "matches_max": 1}
    seldom = {"name": "no_verb", "pattern": r"(?i)\bis\b", "matches_min": 1}
    assert judged("This IS it!!", often, seldom) == []
    assert judged("No!! Never!! Ever!!", often, seldom) == [
        Reject("shouting", "matches > 1: !!"),
        Reject("no_verb", "0 matches < 1"),
    ]


def test_a_name_is_a_reason_once() -> None:
    spam = [{"name": "spam", "pattern": p, "matches_max": 0} for p in ("buy", "now")]
    assert judged("buy now", *spam) == [Reject("spam", "matches > 0: buy")]
    assert judged("now", *spam) == [Reject("spam", "matches > 0: now")]


def test_a_wrong_pattern_is_refused_when_params_are_read() -> None:
    wrong = {"name": "x", "pattern": "(", "matches_min": 0, "matches_max": 0}
    with pytest.raises(
        ConfigError, match=r"patterns\.0\.pattern: .*unterminated subpattern at position 0.*single quotes"
    ):
        choose("clean", {"name": "patterns", "patterns": [wrong]})
    with pytest.raises(ConfigError, match=r"patterns\.0\.name"):
        choose("clean", {"name": "patterns", "patterns": [{**wrong, "pattern": "a", "name": "No Name"}]})


def test_it_crosses_processes_and_goes_back_to_yaml() -> None:
    cfg = config({"name": "x", "pattern": r"\bword\b", "matches_max": 0})
    assert pickle.loads(pickle.dumps(cfg)) == cfg
    assert cfg.model_dump(mode="json")["patterns"][0]["pattern"] == r"\bword\b"
