"""The stage shell: bind paths and params to a stage's `run`, check its gates, and keep what it wrote only if whole.

`run`'s signature is its wiring. A parameter annotated `Path` binds by name to a dep or an out of the stage in
dvc.yaml (`work` is a folder that survives a crash, `plots` the stage's plots). Any other parameter is a key of
params.yaml: `cfg` is the stage's own section. `run` returns its metrics, or `Measured` when a clock took some of them.
"""

import fcntl
import hashlib
import inspect
import json
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from configparser import ConfigParser
from importlib import import_module
from pathlib import Path
from typing import IO, Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from nightforge.errors import ConfigError, GateClosed, NightforgeError, WiringError
from nightforge.methods import explain
from tasks import processes, wiring
from tasks.executor import Executor
from tasks.hashing import sha256_tree
from tasks.wiring import Wiring

CODE_ROOT = Path(__file__).resolve().parent.parent
LAST = Path(".nightforge/last")
SHELL = {
    *("config.py", "errors.py", "methods.py", "__init__.py", "__main__.py"),
    *("stage.py", "wiring.py", "progress.py", "executor.py", "processes.py"),
}
"""Code that runs a stage but cannot change what it makes: no stage lists it among its deps."""

WORK_KEPT_DAYS = 14
_LOCKS: dict[Path, IO[str]] = {}
_TAKEN: dict[Path, Path] = {}
"""Folder that was asked for → the one that this process has."""

Metrics = Mapping[str, Any]


class Measured(NamedTuple):
    """Metrics of a stage, those that depend on the clock apart, so that all else is reproducible to the byte."""

    metrics: Metrics
    speed: Metrics


def main(name: str) -> int:
    """Run a stage in the working directory, which is the project folder; returns the exit code.

    DVC turns every exit code into 255, so the outcome is also written to `.nightforge/last/<stage>.json`.
    """
    kind, message, code = "ok", "", 0
    try:
        with processes.quiet():
            execute(name)
    except NightforgeError as e:
        kind, message, code = type(e).__name__, str(e), e.exit_code
        print(f"\n{name}: {kind}: {message}", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        kind, message, code = "Interrupted", "interrupted; run again to go on", 130
        print(f"\n{name}: {message}", file=sys.stderr, flush=True)
    except Exception as e:  # noqa: BLE001  the outcome must be on disk whatever happened
        kind, message, code = "Crash", f"{type(e).__name__}: {e}", 70
        traceback.print_exc()
    if not processes.first():
        return code
    LAST.mkdir(parents=True, exist_ok=True)
    (LAST / f"{name}.json").write_text(json.dumps({"exit": code, "kind": kind, "message": message}) + "\n")
    return code


def execute(name: str) -> None:
    """Run one stage of dvc.yaml; raises a `NightforgeError` where a person can mend the cause."""
    wired = wiring.stage(name)
    run = load(name)
    if several := _several(wired, run):
        processes.start(name, several.processes, several.restarts)
        return
    arguments, finals = _bind(wired, run)
    check_code(wired)
    check_gates(wired)
    returned = run(**arguments)
    check_code(wired)
    if not processes.first():
        return
    measured = returned if isinstance(returned, Measured) else Measured(returned or {}, {})
    _keep(finals)
    for path in wired.metrics:
        path.parent.mkdir(parents=True, exist_ok=True)
        values = measured.speed if path.name.endswith(".speed.json") else measured.metrics
        path.write_text(json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def load(name: str) -> Callable[..., Metrics | Measured | None]:
    """The `run` function of a stage; `gate@clean` is run by tasks/gate.py."""
    run: Callable[..., Metrics | Measured | None] = import_module(f"tasks.{name.partition('@')[0]}").run
    return run


def _several(wired: Wiring, run: Callable[..., Any]) -> Any:
    """The `processes` and `restarts` that a stage's section asks for; None where there is one, or torchrun is there."""
    values = wiring.read_yaml(Path("params.yaml"))
    section = values.get(wired.name)
    if processes.launched() or not isinstance(section, dict) or not section.get("parallel"):
        return None
    return value(wired, values, "cfg", inspect.signature(run).parameters["cfg"].annotation).parallel.cfg


def _bind(wired: Wiring, run: Callable[..., Any]) -> tuple[dict[str, Any], dict[Path, Path]]:
    """The arguments of `run`, and for each thing it writes the work path → the final path."""
    values = wiring.read_yaml(Path("params.yaml"))
    made = {*wired.outs, *wired.plots}
    arguments: dict[str, Any] = {}
    finals: dict[Path, Path] = {}
    for name, parameter in inspect.signature(run).parameters.items():
        if parameter.annotation is Wiring:
            arguments[name] = wired
        elif parameter.annotation is Executor:
            arguments[name] = checked(values, "executor", Executor)
        elif name == "deps":
            arguments[name] = {k: p for k, p in wired.paths.items() if p not in made}
        elif name == "work":
            arguments[name] = work_folder(wired, values)
        elif parameter.annotation is not Path:
            arguments[name] = value(wired, values, name, parameter.annotation)
        else:
            final = bound(wired, name)
            arguments[name] = final
            if final in made:
                partial = final.with_name(f".{final.name}.partial")
                arguments[name] = partial if processes.first() else Path(os.devnull, final.name)  # written by one
                if processes.first():
                    _remove(partial)
                    partial.parent.mkdir(parents=True, exist_ok=True)
                    finals[partial] = final
    return arguments, finals


def bound(wired: Wiring, name: str) -> Path:
    """The path that dvc.yaml gives to a stage's argument.

    Raises:
        WiringError: it gives none.
    """
    if name not in wired.paths:
        raise WiringError(
            f"tasks/{wired.name}.py: run() takes {name!r}, and dvc.yaml gives the stage no dep or out of that name; "
            f"it gives {', '.join(sorted(wired.paths))}."
        )
    return wired.paths[name]


def value(wired: Wiring, values: dict[str, Any], name: str, annotation: Any) -> Any:
    """What params.yaml gives to an argument of a stage, checked against its type.

    Raises:
        WiringError: dvc.yaml does not list the section for this stage.
        ConfigError: params.yaml lacks the section, or it does not fit the type.
    """
    section = wired.name.partition("@")[0] if name == "cfg" else name
    if section not in wired.params:
        raise WiringError(f"dvc.yaml: stage {wired.name} reads {section!r} of params.yaml, and must list it in params.")
    return checked(values, section, annotation)


def checked(values: dict[str, Any], section: str, annotation: Any) -> Any:
    """A section of params.yaml as its type.

    Raises:
        ConfigError: params.yaml lacks the section, or it does not fit the type.
    """
    if section not in values:
        raise ConfigError(f"params.yaml has no section {section!r}.")
    try:
        return TypeAdapter(annotation).validate_python(values[section])
    except ValidationError as e:
        raise ConfigError(f"params.yaml: {section}: {explain(e)}") from None


def check_code(wired: Wiring) -> None:
    """Every file of ours that is loaded must be a dep of the stage, or DVC would miss a change in it.

    Raises:
        WiringError: some are not; the message says which lines to add.
    """
    listed, missing = {p.resolve() for p in wired.code}, set()
    for module in list(sys.modules.values()):
        file = Path(getattr(module, "__file__", None) or "/")
        if file.name in SHELL or file.parts[:-1] == () or not file.is_relative_to(CODE_ROOT):
            continue
        inside = file.relative_to(CODE_ROOT)
        if inside.parts[0] in {"nightforge", "tasks"} and file.resolve() not in listed:
            missing.add(inside)
    if missing:
        lines = "\n".join(f"  - {p if p.exists() else os.path.relpath(CODE_ROOT / p)}" for p in sorted(missing))
        names = ", ".join(map(str, sorted(missing)))
        raise WiringError(f"dvc.yaml: stage {wired.name} uses {names}; add to the stage's deps:\n{lines}")


def check_gates(wired: Wiring) -> None:
    """No gate above the stage may be closed, and those that it depends on must be open for what lies there now.

    Raises:
        GateClosed: a verdict is missing, not open, of another artifact, or of another suite; or a gate further up
            closed when it last ran, so that what lies here was made from what came before.
    """
    for name in upstream(wired):
        verdict, closed = Path(wiring.GATES, name), Path("reports/closed", name)
        if closed.exists() and not verdict.exists():
            raise GateClosed(f"gate@{closed.stem} is closed, upstream of {wired.name}: see {closed}. Then: dvc repro")
    for path in wired.gates:
        name = path.stem
        if not path.exists():
            raise GateClosed(f"gate@{name} is not open: {path} does not exist. Run: dvc repro gate@{name}")
        verdict = json.loads(path.read_text(encoding="utf-8"))
        if verdict["verdict"] != "open" or verdict["evaluated"] < 1:
            raise GateClosed(f"gate@{name} is {verdict['verdict']} with {verdict['evaluated']} expectations evaluated.")
        for what in ("artifact", "suite"):
            if (now := sha256_tree(Path(verdict[what]))) != (then := verdict[f"{what}_sha256"]):
                raise GateClosed(
                    f"gate@{name} was opened for another {verdict[what]}: it recorded sha256 {then[:12]}, "
                    f"and {now[:12]} lies there. Run: dvc repro gate@{name}"
                )


def upstream(wired: Wiring) -> list[str]:
    """File names of the verdicts of every gate above a stage, however far."""
    every = wiring.stages()
    makers = {p: one for one in every.values() for p in (*one.outs, *one.metrics, *one.plots)}
    found, todo = set[str](), [wired]
    while todo:
        one = todo.pop()
        if one.name in found:
            continue
        found.add(one.name)
        todo += [makers[p] for p in one.deps if p in makers]
    return sorted(
        p.name for name in found - {wired.name} for p in every[name].outs if p.parent.as_posix() == wiring.GATES
    )


def _keep(finals: dict[Path, Path]) -> None:
    """Rename what was written to its final name, now that it is whole."""
    for partial, final in finals.items():
        if not partial.exists():
            raise WiringError(f"the stage ended without writing {final}")
        _remove(final)
        partial.rename(final)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def work_folder(wired: Wiring, values: dict[str, Any]) -> Path:
    """A folder beside the DVC cache, keyed by the stage's inputs, params and code.

    It is no DVC output (DVC deletes those before it runs a command), so a stage that was killed finds its state again,
    also from another worktree. A run that does the same at the same time gets a folder of its own. Folders that nobody
    has come back to for `WORK_KEPT_DAYS` are removed.
    """
    h = hashlib.sha256(json.dumps([wired.name, {p: values.get(p) for p in wired.params}], sort_keys=True).encode())
    for dep in wired.deps:
        h.update(f"{dep.as_posix()} {sha256_tree(dep)}\n".encode())
    root = work_root()
    root.mkdir(parents=True, exist_ok=True)
    folder = root / f"{wired.name}-{h.hexdigest()[:16]}"
    if not processes.first():
        return folder  # unless the first says another
    for old in root.iterdir():
        if time.time() - old.stat().st_mtime > WORK_KEPT_DAYS * 86_400 and _locked(old):
            shutil.rmtree(old)
            _LOCKS.pop(old).close()
    return own(folder)


def work_root() -> Path:
    """Where work folders lie: beside the DVC cache."""
    return (cache_dir() / ".." / "work").resolve()


def own(folder: Path) -> Path:
    """This folder for the life of this process, or where another process has it, one beside it; the same each time."""
    if folder not in _TAKEN:
        taken = folder
        if not _locked(folder):
            print(f"{folder.name}: another run is doing the same; this one starts afresh beside it", flush=True)
            taken = folder.with_name(f"{folder.name}-{os.getpid()}")
            _locked(taken)
        os.utime(taken)
        _TAKEN[folder] = taken
    return _TAKEN[folder]


def _locked(folder: Path) -> bool:
    """Take a work folder for the life of this process, if no other has it."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = (folder / ".lock").open("w")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        return False
    _LOCKS[folder] = handle  # closed, and so given up, by the end of the process
    return True


def cache_dir() -> Path:
    """The DVC cache of the project in the working directory: .dvc/config.local over .dvc/config over .dvc/cache."""
    root = next((p for p in [Path.cwd(), *Path.cwd().parents] if (p / ".dvc").is_dir()), Path.cwd())
    found = ".dvc/cache"
    for name in ("config", "config.local"):
        parser = ConfigParser()
        parser.read(root / ".dvc" / name)
        relative = parser.get("cache", "dir", fallback=None)
        found = str(Path(".dvc") / relative) if relative else found
    return root / found
