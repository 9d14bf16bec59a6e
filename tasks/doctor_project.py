"""What the project folder holds: tools, wiring, params and methods, gates, the source, Prefect's settings."""

import inspect
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nightforge.errors import NightforgeError
from tasks import stage, wiring
from tasks.doctor_check import Check
from tasks.executor import Executor
from tasks.wiring import Wiring

OWN = {"deps", "work"}
"""Arguments of a stage that the shell makes; all others bind to dvc.yaml or params.yaml."""


def tools(project: Path) -> Iterator[Check]:
    """git and DVC: there, and this folder under both."""
    if not shutil.which("git"):
        yield Check("git", "fail", "not on PATH", "install git")
        return
    top = _git(project, "rev-parse", "--show-toplevel")
    if top is None:
        yield Check("git", "fail", f"{project} is in no git repository", "git init, or run from the repository")
    else:
        commit = _git(project, "rev-parse", "--short", "HEAD") or "no commit yet"
        edited = len((_git(project, "status", "--porcelain") or "").splitlines())
        yield Check("git", "ok", f"{commit}, {edited} files changed" if edited else f"{commit}, nothing changed")
    dvc = Path(sys.executable).with_name("dvc")
    if not dvc.exists() and not shutil.which("dvc"):
        yield Check("dvc", "fail", "not installed beside this Python", "make setup")
    elif not (project / ".dvc").is_dir():
        inside = top is not None and Path(top).resolve() != project.resolve()
        yield Check("dvc", "fail", f"{project} has no .dvc", "dvc init --subdir" if inside else "dvc init")
    else:
        yield Check("dvc", "ok", "a DVC project")


def _git(project: Path, *words: str) -> str | None:
    done = subprocess.run(["git", "-C", str(project), *words], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def wired(project: Path) -> Iterator[Check]:
    """Every stage of dvc.yaml: its code loads, its arguments bind, its values and methods are valid."""
    try:
        stages = wiring.stages(project)
        values = wiring.read_yaml(project / "params.yaml")
    except NightforgeError as e:
        yield Check("dvc.yaml", "fail", str(e), "mend the file named; git diff shows what changed in it")
        return
    wrong: dict[str, list[str]] = {"params": [], "wiring": []}
    for one in stages.values():
        for kind, message in _faults(project, one, values):
            if message not in wrong[kind]:
                wrong[kind].append(message)
    way = {
        "params": "mend params.yaml; nightforge methods lists what there is and what each value means",
        "wiring": "mend dvc.yaml or the signature of run() in tasks/<stage>.py",
    }
    said = {"params": "every value and method is valid", "wiring": f"{len(stages)} stages bind to code and files"}
    for kind, messages in wrong.items():
        if not messages:
            yield Check(kind, "ok", said[kind])
        yield from (Check(kind, "fail", message, way[kind]) for message in messages)
    yield _gates(project, stages)


def _faults(project: Path, one: Wiring, values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for dep in sorted(one.code):
        if not (project / dep).exists():
            yield "wiring", f"dvc.yaml names {dep}, which does not exist"
    try:
        run = stage.load(one.name)
    except (ImportError, AttributeError) as e:
        yield "wiring", f"tasks/{one.name.partition('@')[0]}.py with run() cannot be loaded: {e}"
        return
    taken = inspect.signature(run).parameters
    for name, parameter in taken.items():
        if name in OWN or parameter.annotation is Wiring:
            continue
        try:
            if parameter.annotation is Executor:
                stage.checked(values, "executor", Executor)
            elif parameter.annotation is Path:
                stage.bound(one, name)
            else:
                stage.value(one, values, name, parameter.annotation)
        except NightforgeError as e:
            yield "wiring" if e.__class__.__name__ == "WiringError" else "params", str(e)


def _gates(project: Path, stages: dict[str, Wiring]) -> Check:
    """Every gate has its suite, as data, with an expectation in it; what each asks is checked when the gate runs."""
    suites = [p for one in stages.values() for p in one.deps if p.is_relative_to("data/gates")]
    wrong, asked = [], 0
    for path in suites:
        try:
            found = sum(len(entries or []) for entries in wiring.read_yaml(project / path).values())
        except NightforgeError as e:
            wrong.append(str(e))
            continue
        asked += found
        if not found:
            wrong.append(f"{path} expects nothing")
    if wrong:
        return Check("gates", "fail", "; ".join(wrong), "write what the artifact must satisfy (docs/gates.md)")
    return Check("gates", "ok", f"{len(suites)} suites, {asked} expectations")


def prefect() -> Iterator[Check]:
    """Telemetry off, and the API that is named, if any is, answers."""
    quiet = os.environ.get("PREFECT_SERVER_ANALYTICS_ENABLED", "").lower() == "false" and os.environ.get("DO_NOT_TRACK")
    if quiet:
        yield Check("telemetry", "ok", "off")
    else:
        way = "export PREFECT_SERVER_ANALYTICS_ENABLED=false DO_NOT_TRACK=1 (make and nightforge do it by themselves)"
        yield Check("telemetry", "warn", "Prefect may send usage figures", way)
    url = os.environ.get("PREFECT_API_URL", "")
    if not url:
        yield Check("prefect", "ok", "no API named: a run uses the server of make ui if it is up, else one of its own")
        return
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=3) as answer:  # noqa: S310  the user's own URL
            well = answer.status == 200
        said = f"HTTP {answer.status}"
    except (OSError, ValueError) as e:
        well, said = False, str(getattr(e, "reason", e))
    if well:
        yield Check("prefect", "ok", "the API named by PREFECT_API_URL answers")
    else:
        way = "start it (make ui), or unset PREFECT_API_URL for a server of the run's own"
        yield Check("prefect", "fail", f"the API named by PREFECT_API_URL does not answer: {said}", way)
