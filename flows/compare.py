"""`nightforge diff RUN RUN`: data, params, metrics and verdict of two runs, side by side.

A run is a git revision such as `runs/<id>` or `HEAD`, or `workspace` for what lies here now. What a run made is known
from its dvc.lock; metrics come from the DVC cache by the hash that stands there, so nothing is checked out.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from flows import graph, workspace
from nightforge.errors import ConfigError, NightforgeError
from tasks import wiring

WORKSPACE = "workspace"


@dataclass(frozen=True)
class Run:
    """What a run has recorded, each part flat: dotted name → value."""

    name: str
    verdict: str
    data: dict[str, str]
    """Output → hash, files and bytes."""
    source: dict[str, Any]
    params: dict[str, Any]
    metrics: dict[str, Any]


def main(project: Path, old: str, new: str) -> int:
    """Print what differs between two runs; returns 0."""
    print(describe(read(project, old), read(project, new)))
    return 0


def read(project: Path, name: str) -> Run:
    """What a run of a project has recorded.

    Raises:
        ConfigError: there is no such revision, or it holds no dvc.lock.
    """
    lock = yaml.safe_load(_file(project, name, Path("dvc.lock"), needed=True)) or {}
    made = {out["path"]: out for stage in lock.get("stages", {}).values() for out in stage.get("outs", [])}
    cache = graph.cache_dir(project)
    metrics = {Path(path).stem: _cached(cache, out["md5"]) for path, out in made.items() if path.startswith("metrics/")}
    stages = wiring.stages(project)
    manifests = {p for s in stages.values() for n, p in s.paths.items() if n == "source"}
    source = {p.name: json.loads(_file(project, name, p) or "{}") for p in manifests}
    accept = metrics.get("accept") or {}
    return Run(
        name=name,
        verdict=str(accept.get("verdict", "none")),
        data={p: _described(out) for p, out in made.items() if not p.startswith("metrics/")},
        source=dict(flat(source)),
        params=dict(flat(yaml.safe_load(_file(project, name, Path("params.yaml"), needed=True)) or {})),
        metrics=dict(flat(metrics)),
    )


def _file(project: Path, name: str, path: Path, needed: bool = False) -> str:
    """A file of the project as a run has it; empty if it has none and none is needed."""
    try:
        if name == WORKSPACE:
            return (project / path).read_text(encoding="utf-8")
        return workspace.git("show", f"{name}:./{path.as_posix()}", cwd=project)
    except (FileNotFoundError, NightforgeError) as e:
        if not needed:
            return ""
        known = workspace.git("branch", "--list", "runs/*", "--format=%(refname:short)", cwd=project).split()
        raise ConfigError(
            f"run {name!r} has no {path}: expected a git revision or `{WORKSPACE}`. "
            f"Runs: {', '.join([WORKSPACE, *known])}. ({e})"
        ) from None


def _cached(cache: Path, md5: str) -> Any:
    """A JSON file of the DVC cache, or None where it is no longer there."""
    path = cache / "files" / "md5" / md5[:2] / md5[2:]
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _described(out: Mapping[str, Any]) -> str:
    files = f"{out['nfiles']} files, " if "nfiles" in out else ""
    return f"{str(out['md5'])[:12]} ({files}{out.get('size', 0):,} bytes)"


def flat(value: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """A nested value as dotted names and plain values: {"a": {"b": [1]}} gives ("a.b.0", 1)."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        yield above, value
        return
    for key, inner in items:
        yield from flat(inner, f"{above}.{key}" if above else str(key))


def describe(old: Run, new: Run) -> str:
    """The differences as text."""
    lines = [f"verdict   {old.name}: {old.verdict}   {new.name}: {new.verdict}"]
    for part in ("source", "params", "data", "metrics"):
        before, after = getattr(old, part), getattr(new, part)
        changed = [k for k in {**before, **after} if before.get(k) != after.get(k)]
        lines.append(f"{part:<9} " + (f"{len(changed)} differ" if changed else "the same"))
        lines += [f"  {key}: {_said(before, key)} → {_said(after, key)}{_delta(before, after, key)}" for key in changed]
    return "\n".join(lines)


def _said(values: Mapping[str, Any], key: str) -> str:
    value = values.get(key, "—")
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _delta(before: Mapping[str, Any], after: Mapping[str, Any], key: str) -> str:
    a, b = before.get(key), after.get(key)
    numbers = [v for v in (a, b) if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) < 2 or numbers[0] == 0:
        return ""
    return f" ({(numbers[1] - numbers[0]) / abs(numbers[0]):+.2%})"
