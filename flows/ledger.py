"""The ledger of accepted models, and how long stages take: what a checkout remembers between runs, in `.nightforge/`.

A model is entered when its verdict is MET. `models/champion.json` (in git) is set to the last one entered just before
`accept` runs, and only if it would run anyway: otherwise each acceptance would make the next no-op run stale, and
`dvc repro` and the flow would disagree about what to rerun. No model is entered that was not compared with the last
one: a verdict against an older champion (plain `dvc repro`, two runs at once) is not entered, and the next run makes
it stale.
"""

import fcntl
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks import wiring

ACCEPTED = Path(".nightforge/accepted.jsonl")
DURATIONS = Path(".nightforge/durations.json")


def last_accepted(home: Path) -> dict[str, Any] | None:
    """The entry of the last accepted model, or None if there is none."""
    try:
        text = (home / ACCEPTED).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    return _last(text)


def _last(text: str) -> dict[str, Any] | None:
    lines = text.splitlines()
    return json.loads(lines[-1]) if lines else None


def enter(project: Path, home: Path, run: str, commit: str) -> str | None:
    """Enter the model of a project, unless it is the last one entered; returns why it was refused, if it was.

    Call only when its verdict is MET, and its gate is open.
    """
    accept = wiring.stages(project)["accept"]
    metrics = json.loads((project / accept.metrics[0]).read_text(encoding="utf-8"))
    entry = {
        "md5": locked_md5(project, accept.paths["compressed"]),
        "dense_md5": locked_md5(project, accept.paths["dense"]),
        "bpb": metrics.get("bpb"),
        "split_sha256": metrics.get("split_sha256"),
        "accepted_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "run": run,
    }
    (home / ACCEPTED).parent.mkdir(exist_ok=True)
    with (home / ACCEPTED).open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # from the comparison to the entry, nobody else may enter one
        file.seek(0)
        last = _last(file.read())
        if last and last["md5"] == entry["md5"]:
            return None
        if last and last["md5"] != _rival(metrics):
            return (
                f"not entered as the last accepted model: its verdict was not reached against the model that run "
                f"{last['run']} has entered ({last['md5'][:12]}), but against {_rival(metrics) or 'none'}. "
                f"Run again: accept is then judged anew."
            )
        file.write(json.dumps(entry, sort_keys=True) + "\n")
    return None


def _rival(metrics: Mapping[str, Any]) -> str | None:
    """The md5 of the champion that a recorded verdict was reached against."""
    return (metrics.get("champion_recorded") or {}).get("md5")


def outdated(project: Path, home: Path) -> bool:
    """Whether the recorded verdict was reached against another champion than the last one, by a model not it."""
    accept, last = wiring.stages(project).get("accept"), last_accepted(home)
    if not (last and accept and accept.metrics and "champion" in accept.paths):
        return False
    metrics = project / accept.metrics[0]
    if not (metrics.exists() and (project / "dvc.lock").exists()):
        return False
    recorded = _rival(json.loads(metrics.read_text(encoding="utf-8")))
    return last["md5"] not in {recorded, locked_md5(project, accept.paths["compressed"])}


def refresh_champion(project: Path, home: Path) -> bool:
    """Set models/champion.json to the last accepted model; true if that changed it.

    While nothing was accepted here, such as in a new clone, the champion of the commit stays.
    """
    path, last = wiring.stages(project)["accept"].paths["champion"], last_accepted(home)
    return last is not None and write_if_changed(project / path, {"champion": last})


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
