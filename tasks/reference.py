"""What tonight's data is compared with: data/reference.json, the profile of the last other snapshot whose gate opened.

A file in git beside data/source.json, and like it rewritten only before a run starts: so a night without news stays
one, and `dvc repro` gives what the flow gave. Profiles that passed are remembered in `.nightforge/` of the home
checkout, since a deployed run's worktree is gone by the next night.
"""

import json
from pathlib import Path
from typing import Any

from nightforge.errors import ConfigError, GateClosed
from tasks import wiring
from tasks.hashing import sha256_file, sha256_tree
from tasks.profile import SNAPSHOT, dumped
from tasks.wiring import Wiring

PASSED = Path(".nightforge/profiles.json")
KEPT = 30
"""Profiles remembered, some 5 kB each."""


def remember(project: Path, home: Path) -> None:
    """Note the profile of a project among those that passed, if its gate is open for it."""
    stage = _stage(project)
    if stage is None or not _is_open(project, stage):
        return
    profile = _read(project / stage.paths["profile"])
    known: list[dict[str, Any]] = _read(home / PASSED) or []
    others = [p for p in known if p[SNAPSHOT] != profile[SNAPSHOT]]
    if profile not in known:
        _write(home / PASSED, json.dumps([*others, profile][-KEPT:]) + "\n")


def refresh(project: Path, home: Path) -> bool:
    """Set a project's reference to the last remembered profile of another snapshot; true if that changed it.

    One that was accepted for this very snapshot stays, and so does the commit's where none is remembered (a new clone).
    """
    stage = _stage(project)
    if stage is None:
        return False
    path, snapshot = project / stage.paths["reference"], sha256_file(project / stage.paths["source"])
    now = _read(path)
    if now is not None and now.get(SNAPSHOT) == snapshot:
        return False
    others = [p for p in _read(home / PASSED) or [] if p[SNAPSHOT] != snapshot]
    wanted = others[-1] if others else now or {}
    if wanted == now:
        return False
    _write(path, dumped(wanted))
    return True


def accept(project: Path) -> Path:
    """Make the present profile of a project its reference, as a person who means the change; returns the file written.

    Raises:
        ConfigError: the project profiles nothing.
        GateClosed: there is no profile of the snapshot that is recorded now.
    """
    stage = _stage(project)
    if stage is None:
        raise ConfigError("dvc.yaml has no stage `profile`, so no drift is measured and there is nothing to accept.")
    profile = _read(project / stage.paths["profile"])
    if not profile or profile[SNAPSHOT] != sha256_file(project / stage.paths["source"]):
        raise GateClosed(f"{stage.paths['profile']} is not of the snapshot recorded now. Run: dvc repro {stage.name}")
    _write(project / stage.paths["reference"], dumped(profile))
    return stage.paths["reference"]


def _stage(project: Path) -> Wiring | None:
    return wiring.stages(project).get("profile")


def _is_open(project: Path, stage: Wiring) -> bool:
    """Whether the profile is there, and the gates over it and over its records have opened for what lies there now."""
    made = {*stage.metrics, stage.paths["raw"]}
    gates = [one for one in wiring.stages(project).values() if one.item and Path(one.item["artifact"]) in made]
    verdicts = [_read(project / gate.outs[0]) for gate in gates]
    return (project / stage.paths["profile"]).exists() and all(
        verdict and verdict["artifact_sha256"] == sha256_tree(project / verdict["artifact"]) for verdict in verdicts
    )


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
