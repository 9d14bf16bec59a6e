"""The stage shell: binding, whole outputs only, exit codes, gates bound by hash, state that survives a crash."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import Field

from nightforge import errors
from nightforge.config import Config
from tasks import stage, wiring
from tasks.hashing import sha256_tree
from tasks.stage import Measured

DVC = """
stages:
  toy:
    cmd: python -m tasks toy
    deps: [data/in.txt, reports/passed/in.json, tasks/toy.py]
    params: [toy, seed]
    outs: [data/out.txt]
    metrics: [metrics/toy.json, metrics/toy.speed.json]
  door:
    foreach:
      a: {artifact: data/in.txt}
      b: {artifact: "data/${toy.name}"}
    do:
      cmd: python -m tasks door@${key}
      deps: ["${item.artifact}"]
      outs: ["reports/gates/${key}.json", "reports/passed/${key}.json"]
"""


class ToyConfig(Config):
    """Toy."""

    times: int = Field(ge=1, le=9)
    """How often."""
    name: str
    """A file."""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    for folder in ("data", "reports/gates", ".dvc"):
        Path(folder).mkdir(parents=True)
    Path("dvc.yaml").write_text(DVC)
    Path("params.yaml").write_text("seed: 5\ntoy: {times: 2, name: in.txt}\n")
    Path("data/in.txt").write_text("ab")
    open_gate()
    # The test process has all of ours loaded; a stage process has not.
    monkeypatch.setattr(stage, "check_code", lambda wired: None)
    yield tmp_path
    sys.modules.pop("tasks.toy", None)


def open_gate(**changed: Any) -> None:
    artifact, suite = Path("data/in.txt"), Path("suite.yaml")
    suite.write_text("limits")
    verdict = {"artifact": str(artifact), "artifact_sha256": sha256_tree(artifact), "evaluated": 3, "verdict": "open"}
    verdict |= {"suite": str(suite), "suite_sha256": sha256_tree(suite)}
    Path("reports/gates/in.json").write_text(json.dumps(verdict | changed))


def install(run: object) -> None:
    module = ModuleType("tasks.toy")
    module.run = run  # type: ignore[attr-defined]
    sys.modules["tasks.toy"] = module


def good(cfg: ToyConfig, seed: int, out: Path) -> Measured:
    out.write_text("ab" * cfg.times + str(seed))
    return Measured({"length": 5}, {"seconds": 1.5})


def half_way(cfg: ToyConfig, seed: int, out: Path) -> None:
    out.write_text("half")
    raise errors.Transient("the disk is full; free some and run again")


def outcome() -> dict[str, Any]:
    return json.loads(Path(".nightforge/last/toy.json").read_text())  # type: ignore[no-any-return]


def test_binds_values_and_paths_and_keeps_what_was_written(project: Path) -> None:
    install(good)
    assert stage.main("toy") == 0
    assert Path("data/out.txt").read_text() == "abab5"
    assert json.loads(Path("metrics/toy.json").read_text()) == {"length": 5}
    assert json.loads(Path("metrics/toy.speed.json").read_text()) == {"seconds": 1.5}
    assert outcome() == {"exit": 0, "kind": "ok", "message": ""}


def test_a_stage_that_fails_leaves_no_output_and_says_why(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install(half_way)
    assert stage.main("toy") == 75
    assert not Path("data/out.txt").exists()
    assert outcome() == {"exit": 75, "kind": "Transient", "message": "the disk is full; free some and run again"}
    printed = capsys.readouterr().err
    assert "toy: Transient: the disk is full" in printed
    assert "Traceback" not in printed


def test_a_stage_that_writes_nothing_is_an_error(project: Path) -> None:
    def lazy(cfg: ToyConfig, seed: int, out: Path) -> None:
        pass

    install(lazy)
    assert stage.main("toy") == 64
    assert "ended without writing data/out.txt" in outcome()["message"]


def test_a_bug_is_a_crash_with_its_traceback(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def bug(cfg: ToyConfig, seed: int, out: Path) -> None:
        out.write_text(str(1 // 0))

    install(bug)
    assert stage.main("toy") == 70
    assert outcome()["kind"] == "Crash"
    assert "ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"verdict": "closed"}, "gate@in is closed"),
        ({"evaluated": 0}, "0 expectations evaluated"),
        ({"artifact_sha256": "0" * 64}, "opened for another data/in.txt"),
        ({"suite_sha256": "0" * 64}, "opened for another suite.yaml"),
    ],
)
def test_a_gate_that_is_not_open_for_this_very_artifact_stops_the_stage(
    project: Path, changed: dict[str, Any], message: str
) -> None:
    install(good)
    open_gate(**changed)
    assert stage.main("toy") == 66
    assert message in outcome()["message"]
    assert not Path("data/out.txt").exists()


def test_a_changed_artifact_shuts_its_gate(project: Path) -> None:
    install(good)
    Path("data/in.txt").write_text("changed after the gate")
    assert stage.main("toy") == 66


def test_a_gate_further_up_that_closed_stops_the_stage(project: Path) -> None:
    """Its own inputs are still those of an earlier night, and would let it run."""
    install(good)
    above = """
  before:
    cmd: python -m tasks before
    deps: [reports/passed/a.json]
    outs: [data/in.txt]
"""
    Path("dvc.yaml").write_text(DVC.replace("a: {artifact: data/in.txt}", "a: {artifact: data/raw}") + above)
    Path("reports/closed").mkdir()
    Path("reports/closed/a.json").write_text("{}")
    assert stage.main("toy") == 66
    assert "gate@a is closed, upstream of toy" in outcome()["message"]
    Path("reports/gates/a.json").write_text("{}")  # reopened since, by the run cache
    assert stage.main("toy") == 0


def test_a_missing_verdict_stops_the_stage(project: Path) -> None:
    install(good)
    Path("reports/gates/in.json").unlink()
    assert stage.main("toy") == 66
    assert "dvc repro gate@in" in outcome()["message"]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ("seed: 5\ntoy: {times: 99, name: x}", r"toy: times: Input should be less than or equal to 9 (got 99)"),
        ("seed: 5\ntoy: {times: 2, name: x, tims: 3}", "tims: Extra inputs are not permitted"),
        ("toy: {times: 2, name: x}", "no section 'seed'"),
    ],
)
def test_a_wrong_value_names_the_field_and_what_came(project: Path, params: str, message: str) -> None:
    install(good)
    Path("params.yaml").write_text(params)
    assert stage.main("toy") == 64
    assert message in outcome()["message"]


def test_a_section_that_dvc_does_not_track_is_refused(project: Path) -> None:
    install(good)
    Path("dvc.yaml").write_text(DVC.replace("params: [toy, seed]", "params: [toy]"))
    assert stage.main("toy") == 64
    assert "must list it in params" in outcome()["message"]


def test_foreach_and_templates_resolve(project: Path) -> None:
    found = wiring.stages(project)
    assert set(found) == {"toy", "door@a", "door@b"}
    assert found["door@b"].deps == (Path("data/in.txt"),)
    assert found["door@a"].paths["passed"] == Path("reports/passed/a.json")
    assert found["door@b"].item["key"] == "b"


def test_code_that_dvc_does_not_track_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.chdir(project)
    import_module("tasks.shards")
    says = r"stage toy uses tasks/hashing\.py, tasks/shards\.py; add to the stage's deps:\n  - \S+/tasks/hashing\.py\n"
    with pytest.raises(errors.WiringError, match=says):
        wired = wiring.stage("toy")
        ours = {k: m for k, m in sys.modules.items() if k in {"tasks.hashing", "tasks.shards"}}
        kept = dict(sys.modules)
        try:
            for name in [n for n in sys.modules if n.startswith(("nightforge", "tasks")) and n not in ours]:
                del sys.modules[name]
            stage.check_code(wired)
        finally:
            sys.modules.update(kept)


def test_the_work_folder_is_keyed_by_inputs_and_params(project: Path) -> None:
    Path("tasks").mkdir()
    Path("tasks/toy.py").write_text("")
    wired, values = wiring.stage("toy"), wiring.read_yaml(Path("params.yaml"))
    first = stage.work_folder(wired, values)
    assert first == stage.work_folder(wired, values), "twice in one process it is the same"
    stage._LOCKS.pop(stage._TAKEN.pop(first)).close()  # as the end of the process does
    assert first == stage.work_folder(wired, values)
    assert first.parent == (project / ".dvc/work").resolve()
    assert first != stage.work_folder(wired, values | {"seed": 6})
    Path("data/in.txt").write_text("other")
    assert first != stage.work_folder(wired, values)


def test_two_runs_of_the_same_have_a_work_folder_each(project: Path) -> None:
    Path("tasks").mkdir()
    Path("tasks/toy.py").write_text("")
    wired, values = wiring.stage("toy"), wiring.read_yaml(Path("params.yaml"))
    held = stage.work_folder(wired, values)
    code = (
        "from pathlib import Path; from tasks import stage, wiring;"
        "print(stage.work_folder(wiring.stage('toy'), wiring.read_yaml(Path('params.yaml'))))"
    )
    env = {**os.environ, "PYTHONPATH": str(stage.CODE_ROOT)}
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert "another run is doing the same" in other.stdout
    folder = Path(other.stdout.splitlines()[-1])
    assert folder.parent == held.parent
    assert folder != held


def test_work_of_its_own_that_was_abandoned_begins_afresh(project: Path) -> None:
    Path("tasks").mkdir()
    Path("tasks/toy.py").write_text("")
    wired, values = wiring.stage("toy"), wiring.read_yaml(Path("params.yaml"))
    folder = stage.work_folder(wired, values)
    (folder / "half").write_text("")
    stage._LOCKS.pop(stage._TAKEN.pop(folder)).close()
    os.utime(folder, (0, 0))
    again = stage.work_folder(wired, values)
    assert again == folder and [file.name for file in folder.iterdir()] == [".lock"]


def test_abandoned_work_is_removed_and_work_at_hand_is_not(project: Path) -> None:
    root = project / ".dvc/work"
    for name, days in {"toy-old": 15, "toy-recent": 13}.items():
        (root / name).mkdir(parents=True)
        then = time.time() - days * 86_400
        os.utime(root / name, (then, then))
    Path("tasks").mkdir()
    Path("tasks/toy.py").write_text("")
    stage.work_folder(wiring.stage("toy"), wiring.read_yaml(Path("params.yaml")))
    assert not (root / "toy-old").exists()
    assert (root / "toy-recent").exists()


def test_the_cache_of_a_worktree_is_the_shared_one(project: Path) -> None:
    (project / ".dvc/config").write_text("[core]\n    analytics = false\n[cache]\n    dir = ../elsewhere\n")
    assert stage.cache_dir() == project / ".dvc/../elsewhere"
    (project / ".dvc/config.local").write_text("[cache]\n    dir = /srv/cache\n")
    assert stage.cache_dir() == Path("/srv/cache")
