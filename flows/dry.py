"""`nightforge run --dry`: which stages would rerun, why, and about how long it would take. Writes nothing."""

import json
import os
from dataclasses import replace
from pathlib import Path

from flows import graph, inputs, ledger
from tasks import wiring


def main(project: Path) -> int:
    """Print what a run would do in a project; returns 0."""
    project = project.resolve()
    os.environ["NIGHTFORGE_HOME"] = str(project)
    of = with_moved_inputs(graph.read(project), project)
    print(describe(of, ledger.durations(project)))
    return 0


def with_moved_inputs(of: graph.Graph, project: Path) -> graph.Graph:
    """The graph as it would be after a run had refreshed the manifests of source, starting model and champion."""
    changes = dict(of.changes)
    for name, moved in (("source", _source_moved), ("base", _base_moved), ("champion", _champion_moved)):
        readers = [(s.name, s.paths[name]) for s in wiring.stages(project).values() if name in s.paths]
        if readers and moved(project, readers[0][1]):
            for stage, path in readers:
                changes[stage] = (*changes.get(stage, ()), f"{path} is to be refreshed: what it records has moved on")
    return replace(of, changes=changes)


def _source_moved(project: Path, recorded: Path) -> bool:
    from tasks import snapshot

    return _recorded(project / recorded) != snapshot.manifest(snapshot.config(project), project)


def _base_moved(project: Path, recorded: Path) -> bool:
    return _recorded(project / recorded) != inputs.starting_model(project, project)


def _champion_moved(project: Path, _: Path) -> bool:
    return ledger.outdated(project, project)


def _recorded(path: Path) -> object:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def describe(of: graph.Graph, took_s: dict[str, float]) -> str:
    """The plan as text: a line for each stage that would rerun, with why and how long it took last time."""
    stale = of.stale
    if not stale:
        return f"Nothing would rerun: all {len(of.stages)} stages are up to date."
    wide = max(map(len, stale))
    lines = []
    for name, why in stale.items():
        time = f"{took_s[name]:8.1f} s" if name in took_s else "         ?"
        more = f"; and {len(why) - 3} more" if len(why) > 3 else ""
        lines.append(f"  {name:<{wide}} {time}  {'; '.join(why[:3])}{more}")
    unknown = [name for name in stale if name not in took_s]
    estimate = f"about {sum(took_s.get(name, 0.0) for name in stale):.0f} s by what each took last time"
    if unknown:
        estimate = (
            f"{estimate}, and {len(unknown)} never timed here" if len(unknown) < len(stale) else "never timed here"
        )
    kept = [name for name in of.stages if name not in stale]
    return "\n".join(
        [
            f"Would rerun {len(stale)} of {len(of.stages)} stages, {estimate}",
            "(a stage whose inputs come out as before is then skipped):",
            *lines,
            *([f"Unchanged: {', '.join(kept)}"] if kept else []),
        ]
    )
