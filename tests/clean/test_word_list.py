from pathlib import Path

import pytest

from nightforge.clean.word_list import Config, judge, prepare
from nightforge.errors import AssetMissing
from nightforge.records import Record, Reject
from nightforge.view import View


def judged(text: str, words: list[str], assets: Path = Path(), **values: object) -> list[Reject]:
    cfg = Config.model_validate({"words": words, "asset": None, "places_max": 0, "share_max": 1, **values})
    return list(judge(View(Record(id="1", text=text)), cfg, prepare(cfg, assets)))


@pytest.mark.parametrize(
    ("text", "words", "listed"),
    [
        ("A FOO, indeed", ["foo"], 1),
        ("food and tofoo", ["foo"], 0),
        ("Straße ＦＯＯ", ["STRASSE", "foo"], 2),
        ("это СПАМ!", ["спам"], 1),
        ("我们垃圾邮件了", ["垃圾邮件"], 1),
        ("click  here,\nclick there", ["click here"], 1),
        ("free free money", ["free money", "free"], 2),
        ("free money now", ["free", "free money", "money now"], 1),
        ("don't", ["don"], 0),
    ],
)
def test_whole_words_and_phrases_in_any_script(text: str, words: list[str], listed: int) -> None:
    found = judged(text, words)
    assert [r.evidence.partition(" ")[0] for r in found] == ([str(listed)] if listed else [])


def test_both_bounds_are_told() -> None:
    assert judged("foo bar baz foo", ["foo"], places_max=1, share_max=0.4) == [
        Reject("too_many_listed", "2 > 1: foo"),
        Reject("too_much_listed", "0.50 > 0.4: foo"),
    ]
    assert judged("foo bar baz foo", ["foo"], places_max=2, share_max=0.5) == []
    assert judged("", ["foo"], share_max=0) == []


def test_an_asset_holds_more_words(tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "en.txt").write_text("foo\n\nclick here\n", encoding="utf-8")
    assert judged("Click here", ["x"], tmp_path, asset="bad") == [Reject("too_many_listed", "1 > 0: click here")]
    with pytest.raises(AssetMissing, match=r"ingest\.assets"):
        judged("x", [], tmp_path, asset="nope")


def test_a_list_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="got neither"):
        judged("x", [])
    with pytest.raises(ValueError, match="no letter and no digit"):
        judged("x", ["!!"])
