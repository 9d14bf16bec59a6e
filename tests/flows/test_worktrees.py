"""Deployed runs: each in a worktree of its own, the home checkout untouched, the record on a branch."""

import json
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from flows import ledger, workspace
from nightforge.errors import ConfigError
from tasks import wiring

ROOT = Path(__file__).resolve().parents[2]
Edit = Callable[[Path, str, str], None]


def git(project: Path, *arguments: str) -> str:
    return workspace.git(*arguments, cwd=project)


def status(project: Path) -> str:
    return subprocess.run(["dvc", "status"], cwd=project, capture_output=True, text=True, check=False).stdout


def test_worktree_is_apart_and_shares_the_cache(toy: Path, edit: Edit) -> None:
    subprocess.run(["dvc", "repro", "-q"], cwd=toy, check=True, capture_output=True)
    git(toy, "add", "dvc.lock")
    git(toy, "commit", "-q", "--no-verify", "-m", "run")
    edit(toy, "seed: 1 ", "seed: 3 ")
    with workspace.worktree(toy, "one") as here:
        assert "seed: 1 " in (here / "params.yaml").read_text()
        assert (here / "models/dense/w").read_text() == (toy / "models/dense/w").read_text()
        assert "up to date" in status(here)
        with workspace.worktree(toy, "two") as other:
            assert other != here
            assert workspace.reap(toy) == []
    assert not here.exists()
    assert git(toy, "worktree", "list").count("\n") == 0
    assert "up to date" not in status(toy)


def test_worktree_of_a_dead_run_is_reaped(toy: Path) -> None:
    folder = toy / ".nightforge/worktrees"
    folder.mkdir(parents=True)
    git(toy, "worktree", "add", "-q", "--detach", str(folder / "dead"))
    (folder / "dead.lock").touch()
    assert workspace.reap(toy) == ["dead"]
    assert list(folder.iterdir()) == []
    assert git(toy, "worktree", "list").count("\n") == 0


def test_no_worktree_is_reaped_between_the_making_of_its_lock_and_the_holding(toy: Path) -> None:
    folder = toy / ".nightforge/worktrees"
    folder.mkdir(parents=True)
    end = threading.Event()

    def reap() -> None:
        while not end.is_set():
            workspace.reap(toy)

    reapers = [threading.Thread(target=reap) for _ in range(2)]
    for one in reapers:
        one.start()
    try:
        until, gone = time.monotonic() + 3, 0
        while time.monotonic() < until:
            with workspace._claimed(folder / "x.lock") as lock:
                gone += not lock.exists()
                lock.unlink(missing_ok=True)
    finally:
        end.set()
        for one in reapers:
            one.join()
    assert gone == 0


def test_what_is_in_no_commit_is_named(toy: Path) -> None:
    git(toy, "rm", "-q", "--cached", "params.yaml")
    git(toy, "commit", "-q", "--no-verify", "-m", "without")
    with pytest.raises(ConfigError, match=r"params\.yaml is not in commit"), workspace.worktree(toy, "x"):
        pass
    assert list((toy / ".nightforge/worktrees").iterdir()) == []


def test_without_a_commit_there_is_no_worktree(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="commit first"), workspace.worktree(tmp_path, "x"):
        pass


def test_form_names_what_params_hold() -> None:
    """Every field of the form is a key of the real params.yaml, and every flow parameter that overrides is a field."""
    from flows import form, nightly

    values = wiring.read_yaml(ROOT / "params.yaml")
    for path in form.WHERE.values():
        found: Any = values
        for step in path.split("."):
            found = found[int(step) if step.isdigit() else step]
    for flow in (nightly.nightly, nightly.stage):
        properties = flow.parameters.model_dump()["properties"]
        assert set(properties) - {"project", "stage"} <= set(form.WHERE)
        assert all(p.get("description") for p in properties.values())
        for name in set(properties) & set(form.WHERE):
            bounds = properties[name]["anyOf"][0]
            assert properties[name]["default"] is None
            assert set(bounds) & {"minimum", "exclusiveMinimum", "minLength"}, f"{name} has no lower bound"


def test_entrypoints_of_prefect_yaml_are_flows() -> None:
    from prefect.flows import Flow, load_flow_from_entrypoint

    declared = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    assert {d["name"] for d in declared} == {"nightly", "stage"}
    for one in declared:
        assert isinstance(load_flow_from_entrypoint(one["entrypoint"]), Flow)
    nightly = next(d for d in declared if d["name"] == "nightly")
    assert nightly["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}
    assert all(s["slug"] and s["timezone"] for s in nightly["schedules"])


@pytest.mark.slow
def test_schedule_creates_runs(api: str) -> None:
    """With some versions of SQLAlchemy the scheduler creates none, and says so nowhere."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        until = time.monotonic() + 30
        while not (runs := [r for r in client.read_flow_runs() if r.state_name == "Scheduled" and r.auto_scheduled]):
            assert time.monotonic() < until, "the cron schedule of `nightly` has created no run"
            time.sleep(0.5)
    assert {r.expected_start_time.hour for r in runs if r.expected_start_time} == {2}


@pytest.mark.slow
def test_run_through_the_api(checkout: Path, api: str) -> None:
    """A value given in the form lands in the run's own params.yaml and dvc.lock, and not in the home checkout."""
    from prefect.deployments import run_deployment
    from prefect.exceptions import PrefectHTTPStatusError

    home = checkout / "examples/sub"
    started: Any = run_deployment(
        "nightly/nightly", parameters={"project": "examples/sub", "learning_rate": 0.25}, timeout=90, poll_interval=1
    )
    assert started.state.is_completed(), started.state
    run = str(started.id)[:8]
    lock = yaml.safe_load(git(home, "show", f"runs/{run}:./dvc.lock"))
    assert lock["stages"]["train"]["params"]["params.yaml"]["train"]["loop"]["optimizer"]["lr"] == 0.25
    assert "lr: 0.25  # peak" in git(home, "show", f"runs/{run}:./params.yaml")
    assert git(home, "status", "--porcelain") == ""
    assert not (home / "dvc.lock").exists()
    assert not (home / "data/raw").exists()
    assert list((home / ".nightforge/worktrees").iterdir()) == []
    kept = json.loads((home / ".nightforge/runs" / run / "metrics/accept.json").read_text())
    assert kept["verdict"] == "MET"
    assert json.loads((home / ".nightforge/accepted.jsonl").read_text())["run"] == run

    with pytest.raises(PrefectHTTPStatusError, match="409"):
        run_deployment("nightly/nightly", parameters={"learning_rate": 3}, timeout=0)


@pytest.mark.slow
def test_one_stage_and_a_failing_one(checkout: Path, api: str) -> None:
    """A single stage runs with what it needs; one that dvc.yaml does not have fails by name."""
    from flows.nightly import stage

    done: Any = stage(stage="gate@raw", project=str(checkout), seed=3, return_state=True)
    assert done.is_completed(), done
    branch = git(checkout, "branch", "--list", "runs/*", "--format=%(refname:short)", "--sort=-committerdate")
    lock = yaml.safe_load(git(checkout, "show", f"{branch.split()[0]}:./dvc.lock"))
    assert set(lock["stages"]) == {"ingest", "gate@raw"}
    failed: Any = stage(stage="trane", project=str(checkout), return_state=True)
    assert failed.is_failed()
    assert "no stage 'trane'" in str(failed.message)
    mistyped: Any = stage(stage="train", project=str(checkout / "exmaples"), return_state=True)
    assert mistyped.is_failed() and "no project folder" in str(mistyped.message)


@pytest.mark.slow
def test_only_a_whole_night_under_its_own_contract_crowns(checkout: Path, api: str) -> None:
    """A stage run that stops before the last gate enters no model, nor does a contract that the form has changed."""
    from flows.nightly import nightly, stage

    before = ledger.last_accepted(checkout)
    for name in ("accept", "report"):
        done: Any = stage(stage=name, project=str(checkout), seed=11, return_state=True)
        assert done.is_completed() and str(done.message).startswith("DONE"), done
    eased: Any = nightly(project=str(checkout), seed=11, max_quality_loss=0.9, return_state=True)
    assert eased.is_completed() and str(eased.message).startswith("MET"), eased
    assert ledger.last_accepted(checkout) == before
    whole: Any = nightly(project=str(checkout), seed=11, return_state=True)
    assert whole.is_completed(), whole
    after = ledger.last_accepted(checkout)
    assert after and after != before


@pytest.mark.slow
def test_set_up_keeps_what_was_paused(checkout: Path, api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.client.orchestration import get_client

    from flows import ui

    monkeypatch.setattr(ui, "CODE_ROOT", checkout)
    monkeypatch.setenv("NIGHTFORGE_ROOT", str(checkout))
    with get_client(sync_client=True) as client:
        nightly = client.read_deployment_by_name("nightly/nightly")
        client.update_deployment_schedule(nightly.id, nightly.schedules[0].id, active=False)
        assert ui.set_up(checkout) == {"cpu"}
        assert {pool.name: pool.type for pool in client.read_work_pools()} == {"cpu": "process", "gpu": "process"}
        again = client.read_deployment_by_name("nightly/nightly")
        assert [s.active for s in again.schedules] == [False]
        assert len(client.read_automations_by_name(ui.ZOMBIES)) == 1


@pytest.mark.slow
def test_cancel_ends_the_stage_and_removes_the_worktree(checkout: Path, api: str) -> None:
    from prefect.client.orchestration import get_client
    from prefect.deployments import run_deployment
    from prefect.states import Cancelling

    def stages() -> list[psutil.Process]:
        return [p for p in psutil.process_iter(["cmdline", "cwd"]) if ours(p)]

    def ours(p: psutil.Process) -> bool:
        return "toy_stage.py" in (p.info["cmdline"] or []) and str(checkout) in (p.info["cwd"] or "")

    started: Any = run_deployment("stage/stage", parameters={"stage": "train", "max_steps": 1_000_000}, timeout=0)
    await_true(lambda: any("train" in p.info["cmdline"] for p in stages()), 60)
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(started.id, Cancelling(), force=False)
        await_true(lambda: client.read_flow_run(started.id).state_name == "Cancelled", 60)
    await_true(lambda: stages() == [], 10)
    await_true(lambda: list((checkout / ".nightforge/worktrees").iterdir()) == [], 30)


def await_true(condition: Callable[[], bool], within_s: float) -> None:
    until = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.2)
