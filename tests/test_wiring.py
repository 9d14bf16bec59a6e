"""dvc.yaml, params.yaml and the code agree, in every project folder, and our reading of dvc.yaml is DVC's."""

import ast
import inspect
import os
import re
from pathlib import Path

import pytest

from nightforge import methods
from tasks import stage, wiring
from tasks.executor import Executor

ROOT = Path(__file__).parent.parent
PROJECTS = [".", *sorted(path.parent.relative_to(ROOT).as_posix() for path in ROOT.glob("examples/*/dvc.yaml"))]
STAGES = {project: wiring.stages(ROOT / project) for project in PROJECTS}
VALUES = {project: wiring.read_yaml(ROOT / project / "params.yaml") for project in PROJECTS}
EVERY = [(project, name) for project in PROJECTS for name in STAGES[project]]
each_stage = pytest.mark.parametrize(("project", "name"), EVERY)


def code(project: str, wired: wiring.Wiring) -> set[Path]:
    """The source files that a stage depends on, by their paths in the checkout."""
    return {Path(os.path.normpath(Path(project, path))) for path in wired.code}


@each_stage
def test_signature_params_and_paths_agree(project: str, name: str) -> None:
    wired, run = STAGES[project][name], stage.load(name)
    read: set[str] = set()
    for parameter, spec in inspect.signature(run).parameters.items():
        if parameter in {"deps", "work"} or spec.annotation in {wiring.Wiring, Executor}:
            continue
        if spec.annotation is Path:
            stage.bound(wired, parameter)
        else:
            section = name.partition("@")[0] if parameter == "cfg" else parameter
            stage.value(wired, VALUES[project], parameter, spec.annotation)
            read.add(section)
    assert read == set(wired.params), f"{name}: dvc.yaml lists params {wired.params}, run() reads {sorted(read)}"


@pytest.mark.parametrize("project", PROJECTS)
def test_a_stage_whose_workers_may_be_killed_is_taken_up_again(project: str) -> None:
    written = wiring.read_yaml(ROOT / project / "dvc.yaml")["stages"]
    spread = [name for name in STAGES[project] if Executor in inspect.get_annotations(stage.load(name)).values()]
    assert "clean" in spread and "augment" in spread
    assert [name for name in spread if written[name].get("meta", {}).get("retries", 0) < 1] == []


@each_stage
def test_every_output_is_bound_or_written_by_the_shell(project: str, name: str) -> None:
    wired = STAGES[project][name]
    taken = set(inspect.signature(stage.load(name)).parameters)
    if name.startswith("gate@"):
        return
    loose = [p for p in wired.outs if wiring.bound_name(p) not in taken]
    assert not loose, f"{name}: run() takes no argument for {loose}"


@each_stage
def test_git_ignores_every_output(project: str, name: str) -> None:
    """DVC adds what lacks to `.gitignore`, so that a new clone would be edited by its first run, but not always."""
    for path in STAGES[project][name].outs:
        ignored = (ROOT / project / path.parent / ".gitignore").read_text(encoding="utf-8").splitlines()
        assert f"/{path.name}" in ignored, f"add /{path.name} to {path.parent}/.gitignore"


def imported(file: Path) -> set[Path]:
    """Files of ours that a file imports, wherever in it the import stands, or names in a string to import it late."""
    found: set[Path] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [node.module, *(f"{node.module}.{a.name}" for a in node.names)]
        elif isinstance(node, ast.Constant) and re.fullmatch(r"(nightforge|tasks)(\.\w+)+", str(node.value)):
            names = [str(node.value)]
        for name in names:
            path = ROOT / (name.replace(".", "/") + ".py")
            if name.split(".")[0] in {"nightforge", "tasks"} and path.exists():
                found.add(path.relative_to(ROOT))
    return found


def test_a_module_named_in_a_string_counts_as_imported(tmp_path: Path) -> None:
    (tmp_path / "late.py").write_text('import_module({"a": "tasks.probe_torch"}["a"])')
    assert imported(tmp_path / "late.py") == {Path("tasks/probe_torch.py")}


@each_stage
def test_a_stage_depends_on_all_the_code_that_it_uses(project: str, name: str) -> None:
    wired = STAGES[project][name]
    listed = code(project, wired)
    todo = {Path(f"tasks/{name.partition('@')[0]}.py"), *listed}  # one may be imported by a name that is put together
    for section in wired.params:
        todo |= {Path("nightforge", *chosen) for chosen in chosen_methods(project, name, section)}
    used: set[Path] = set()
    while todo:
        file = todo.pop()
        if file in used or file.name in stage.SHELL or not (ROOT / file).exists():
            continue
        used.add(file)
        todo |= imported(ROOT / file)
    missing = sorted(str(Path(os.path.relpath(p, project))) for p in used - listed)
    stale = sorted(str(p) for p in listed if not (ROOT / p).exists())
    where = f"{project}/dvc.yaml: {name}"
    assert not missing, f"{where}: add to its deps:\n" + "\n".join(f"      - {p}" for p in missing)
    assert not stale, f"{where} names files that do not exist: {stale}"


@pytest.mark.parametrize("project", PROJECTS[1:])
def test_an_example_runs_the_code_of_its_checkout(project: str) -> None:
    """And no other's, such as the one that `.venv` was made for; and in its own folder, for DVC tracks its params."""
    for name, written in wiring.read_yaml(ROOT / project / "dvc.yaml")["stages"].items():
        body = written.get("do", written)
        assert body["cmd"].startswith("PYTHONPATH=../.. python -m tasks "), name
        assert "wdir" not in body and "../../requirements.lock" in body["deps"], name


def chosen_methods(project: str, name: str, section: str) -> list[tuple[str, str]]:
    """(stage folder, file) of each method that a section of params.yaml chooses."""
    run = stage.load(name)
    found: list[tuple[str, str]] = []

    def walk(value: object) -> None:
        if isinstance(value, methods.Method):
            found.append((value.stage, f"{value.name}.py"))
            walk(value.cfg)
        elif isinstance(value, dict):
            for v in value.values():
                walk(v)
        elif isinstance(value, list | tuple):
            for v in value:
                walk(v)
        elif hasattr(type(value), "model_fields"):
            for field in type(value).model_fields:
                walk(getattr(value, field))

    for parameter, spec in inspect.signature(run).parameters.items():
        if parameter in {"deps", "work"} or spec.annotation in {Path, wiring.Wiring, Executor}:
            continue
        if (name.partition("@")[0] if parameter == "cfg" else parameter) == section:
            walk(stage.value(STAGES[project][name], VALUES[project], parameter, spec.annotation))
    return found


@pytest.mark.parametrize("project", PROJECTS)
def test_our_reading_of_the_graph_is_dvcs(project: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from dvc.repo import Repo

    monkeypatch.chdir(ROOT / project)  # DVC addresses stages by the working directory
    with Repo(str(ROOT / project)) as repo:
        theirs = {
            s.addressing: (
                {str(Path(d.def_path)) for d in s.deps if not d.is_in_repo or (d.protocol == "local" and d.def_path)},
                {str(Path(o.def_path)) for o in s.outs},
            )
            for s in repo.index.stages
        }
    for name, wired in STAGES[project].items():
        deps, outs = theirs[name]
        assert {str(p) for p in wired.deps} == {d for d in deps if d != "params.yaml"}
        assert {str(p) for p in (*wired.outs, *wired.metrics, *wired.plots)} == outs
    assert set(theirs) == set(STAGES[project])


def test_paths_of_artifacts_stand_in_no_other_file() -> None:
    """One home a fact: the code names no path that dvc.yaml wires as an output."""
    outs = {str(p) for stages in STAGES.values() for w in stages.values() for p in (*w.outs, *w.metrics, *w.plots)}
    offenders = []
    for file in [*ROOT.glob("nightforge/**/*.py"), *ROOT.glob("tasks/*.py"), *ROOT.glob("flows/*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and node.value in outs:
                offenders.append(f"{file.relative_to(ROOT)}:{node.lineno}: {node.value}")
    assert not offenders, "paths of artifacts belong to dvc.yaml:\n" + "\n".join(offenders)
