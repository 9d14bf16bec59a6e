"""The ledger of accepted models, and how long stages take: what a checkout remembers between runs, in `.nightforge/`.

A model is entered when its verdict is MET. `models/champion.json` (in git) is set to the last one entered just before
`accept` runs, and only if it would run anyway: otherwise each acceptance would make the next no-op run stale, and
`dvc repro` and the flow would disagree about what to rerun.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks import wiring

ACCEPTED = Path(".nightforge/accepted.jsonl")
DURATIONS = Path(".nightforge/durations.json")


def last_accepted(home: Path) -> dict[str, Any] | None:
    """The entry of the last accepted model, or None if there is none."""
    try:
        lines = (home / ACCEPTED).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    return json.loads(lines[-1]) if lines else None


def enter(project: Path, home: Path, run: str, commit: str) -> bool:
    """Enter the model of a project, unless it is the last one entered; true if it was entered.

    Call only when its verdict is MET.
    """
    accept = wiring.stages(project)["accept"]
    model = locked_md5(project, accept.paths["compressed"])
    last = last_accepted(home)
    if model is None or (last and last["md5"] == model):
        return False
    metrics = json.loads((project / accept.metrics[0]).read_text(encoding="utf-8"))
    entry = {
        "md5": model,
        "dense_md5": locked_md5(project, accept.paths["dense"]),
        "bpb": metrics.get("bpb"),
        "accepted_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "run": run,
    }
    (home / ACCEPTED).parent.mkdir(exist_ok=True)
    with (home / ACCEPTED).open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry, sort_keys=True) + "\n")
    return True


def refresh_champion(project: Path, home: Path) -> bool:
    """Set models/champion.json to the last accepted model; true if that changed it."""
    path = wiring.stages(project)["accept"].paths["champion"]
    return write_if_changed(project / path, {"champion": last_accepted(home)})


def locked_md5(project: Path, path: Path) -> str | None:
    """The hash that dvc.lock records for an output, such as `1a2b….dir`."""
    lock = wiring.read_yaml(project / "dvc.lock")
    for stage in lock.get("stages", {}).values():
        for out in stage.get("outs", []):
            if out["path"] == path.as_posix():
                return str(out["md5"])
    return None


def durations(home: Path) -> dict[str, float]:
    """Stage → seconds that it took when it last ran here."""
    try:
        found: dict[str, float] = json.loads((home / DURATIONS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return found


def remember_durations(home: Path, seconds: dict[str, float]) -> None:
    """Note how long the stages that ran have taken."""
    if seconds:
        known = durations(home) | {name: round(value, 1) for name, value in seconds.items()}
        write_if_changed(home / DURATIONS, known)


def write_if_changed(path: Path, value: Any) -> bool:
    """Write JSON, whole or not at all, and only if it says something new; true if it did."""
    if path.exists() and json.loads(path.read_text(encoding="utf-8")) == value:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    partial.replace(path)
    return True
