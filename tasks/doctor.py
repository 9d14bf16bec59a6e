"""`nightforge doctor`: a preflight in seconds, so that a night is not lost to what a minute could have shown."""

import tempfile
import textwrap
import time
from collections.abc import Callable, Iterable
from contextlib import chdir
from pathlib import Path

from nightforge.errors import AssetMissing
from tasks import doctor_chain, doctor_machine, doctor_project, doctor_source, stage
from tasks.doctor_check import Check, Size

MARK = {"ok": "✓", "warn": "!", "fail": "✗"}
WIDTH = 110


def main(project: Path) -> int:
    """Print what was found and a line of verdict; the exit code is 0, or 69 if a check failed."""
    started = time.monotonic()
    checks = examine(project)
    print(table(checks))
    failed = [c.name for c in checks if c.status == "fail"]
    warned = sum(c.status == "warn" for c in checks)
    seconds = f"{len(checks)} checks in {time.monotonic() - started:.0f} s"
    if failed:
        print(f"\n✗ Not fit to run: {', '.join(dict.fromkeys(failed))}. {seconds}")
        return AssetMissing.exit_code
    print(f"\n✓ Fit to run{f', with {warned} warnings' if warned else ''}. {seconds}")
    return 0


def examine(project: Path) -> list[Check]:
    """Every check of a project folder, in the order in which they are shown; the batch runs beside the others."""
    project = project.resolve()
    with tempfile.TemporaryDirectory(prefix="nightforge-doctor-") as tmp:
        rehearsal, checks = _start(project, Path(tmp))
        checks += [doctor_machine.python(), *_safely("packages", lambda: doctor_machine.packages(_lock(project)))]
        checks += _safely("git", lambda: doctor_project.tools(project))
        checks += _safely("devices", doctor_machine.devices)
        checks += _safely("wiring", lambda: doctor_project.wired(project))
        checks += _safely("sources", lambda: doctor_source.readable(project))
        checks += _safely("prefect", doctor_project.prefect)
        batch, size = doctor_chain.finish(rehearsal) if rehearsal else ([], Size())
        checks.append(doctor_machine.disk(_cache(project), doctor_source.source_bytes(project), size.parameters))
        if size.parameters:
            checks += doctor_machine.memory(size)
        return checks + batch


def _start(project: Path, folder: Path) -> tuple[doctor_chain.Rehearsal | None, list[Check]]:
    try:
        return doctor_chain.start(project, folder), []
    except AssetMissing as e:
        return None, [Check("batch", "warn", f"left out: {e}", "make run brings it")]
    except Exception as e:  # noqa: BLE001  the other checks must still be made
        way = "mend what the checks below name; the batch comes after that"
        return None, [Check("batch", "fail", f"could not start: {e}", way)]


def _safely(name: str, look: Callable[[], Iterable[Check]]) -> list[Check]:
    """The checks, or one that failed if looking itself did: a preflight ends with a table, not with a traceback."""
    try:
        return list(look())
    except Exception as e:  # noqa: BLE001
        return [Check(name, "fail", f"could not be looked at: {type(e).__name__}: {e}", "mend this first")]


def _lock(project: Path) -> Path:
    own = project / "requirements.lock"
    return own if own.exists() else stage.CODE_ROOT / own.name


def _cache(project: Path) -> Path:
    with chdir(project):
        return stage.cache_dir().resolve()


def table(checks: list[Check]) -> str:
    """The checks as aligned text: a mark, the name, what was found, and below it the way out."""
    width = max(len(c.name) for c in checks)
    lines = []
    for c in checks:
        lines += _cell(f"{MARK[c.status]} {c.name:<{width}}  ", c.found)
        if c.way_out:
            lines += _cell(" " * (width + 4) + "→ ", c.way_out)
    return "\n".join(lines)


def _cell(lead: str, text: str) -> list[str]:
    wrapped = textwrap.wrap(text, WIDTH - len(lead)) or [""]
    return [lead + wrapped[0], *(" " * len(lead) + line for line in wrapped[1:])]
