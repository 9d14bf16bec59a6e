"""The quality filter: learnt from examples that lie as assets, and refused without them or if they teach nothing."""

import json
from pathlib import Path

import pytest

from nightforge.clean import quality
from nightforge.errors import AssetMissing, DataError
from nightforge.records import Mark, Record, Reject
from nightforge.view import View

HERBS = [f"a {size} herb with {hue} flowers" for size in ("tall", "small", "low") for hue in ("red", "white", "pale")]
SPAM = [
    f"click here to {do} {what} now" for do in ("win", "get", "buy") for what in ("money", "pills", "watches", "fame")
]


def lay(assets: Path, good: list[str], bad: list[str]) -> Path:
    (assets / "good").mkdir(parents=True)
    (assets / "good" / "a.txt").write_text("\n\n".join(good), encoding="utf-8")
    (assets / "bad").mkdir()
    (assets / "bad" / "b.jsonl").write_text("\n".join(json.dumps({"text": t}) for t in bad), encoding="utf-8")
    return assets


def judged(assets: Path, text: str, score_min: float = 0.5) -> list[Mark | Reject]:
    cfg = quality.SAMPLE.model_copy(update={"score_min": score_min})
    return list(quality.judge(View(Record(id="r", text=text)), cfg, quality.prepare(cfg, assets)))


def test_what_is_like_the_bad_examples_goes_and_what_is_like_the_good_stays(tmp_path: Path) -> None:
    lay(tmp_path, [*HERBS, "a shrub of the coast"], SPAM)
    (mark,) = judged(tmp_path, "a shrub with white flowers")
    assert isinstance(mark, Mark) and mark.name == "quality" and float(mark.value) > 0.6
    mark, reject = judged(tmp_path, "Click here, win a watch!")
    assert isinstance(mark, Mark) and float(mark.value) < 0.4
    assert reject == Reject("low_quality", f"{mark.value:.2f} < 0.5")
    assert len(judged(tmp_path, "Click here, win a watch!", 0)) == 1  # 0 only marks


def test_examples_that_teach_nothing_are_refused(tmp_path: Path) -> None:
    mixed = [f"{text} {i}" for i, text in enumerate(HERBS + SPAM)]
    lay(tmp_path, mixed[::2] * 2, mixed[1::2])
    with pytest.raises(DataError, match=r"told apart .*got AUC 0\.\d\d of 11 good and 10 bad"):
        quality.prepare(quality.SAMPLE, tmp_path)


def test_without_examples_the_lines_to_add_are_said(tmp_path: Path) -> None:
    with pytest.raises(AssetMissing, match=r"Add to ingest\.assets in params\.yaml:\n    - \{name: good, "):
        quality.prepare(quality.SAMPLE, tmp_path)
