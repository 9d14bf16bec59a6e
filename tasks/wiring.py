"""dvc.yaml and params.yaml as a stage sees them: names bound to paths and values.

DVC's own reader costs a quarter of a second a process and its Python API is not stable, so a stage reads the two
files itself; `tests/test_wiring.py` holds this reading against DVC's.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from nightforge.errors import ConfigError, WiringError

GATES, PASSED = "reports/gates", "reports/passed"
"""Where an open gate's verdict lies, with all that was observed, and its pass, which names the artifact alone.

A dep in either folder is checked before the stage runs. Stages depend on the pass, so that a changed threshold reruns
its gate and nothing else; whoever shows the verdict depends on the verdict.
"""


@dataclass(frozen=True, slots=True)
class Wiring:
    """One stage of dvc.yaml, templates resolved. Paths are relative to the project folder."""

    name: str
    deps: tuple[Path, ...]
    outs: tuple[Path, ...]
    metrics: tuple[Path, ...]
    plots: tuple[Path, ...]
    params: tuple[str, ...]
    meta: dict[str, Any]
    item: dict[str, str]
    """The values of a `foreach` item, with its `key`; empty for a plain stage."""

    @property
    def gates(self) -> list[Path]:
        """The verdicts of the gates that this stage depends on, by verdict or by pass."""
        return [Path(GATES, p.name) for p in self.deps if p.parent.as_posix() in {GATES, PASSED}]

    @property
    def paths(self) -> dict[str, Path]:
        """Bound name → path: the file stem, dots as underscores; `plots` is the stage's folder under plots/.

        The outs of a `foreach` item bind by their folder, for their stem is the item's. Code, the lock file, gate
        suites and gate verdicts bind to nothing.
        """
        data = [p for p in self.deps if p.suffix not in {".py", ".lock"} and not self._is_gate(p)]
        bound = {bound_name(p): p for p in data}
        bound |= {p.parent.name if self.item else bound_name(p): p for p in self.outs}
        return bound | ({"plots": self.plots[0]} if self.plots else {})

    @staticmethod
    def _is_gate(path: Path) -> bool:
        return path.parent.as_posix() in {GATES, PASSED, "data/gates"}

    @property
    def code(self) -> set[Path]:
        """The source files that this stage depends on."""
        return {p for p in self.deps if p.suffix == ".py"}


def bound_name(path: Path) -> str:
    """`metrics/compress.speed.json` → `compress_speed`."""
    return path.stem.replace(".", "_")


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file that must hold a mapping.

    Raises:
        ConfigError: there is no such file, or it is not a mapping.
    """
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no such file. A project folder holds dvc.yaml and params.yaml; "
            f"run from one, or name it with --project."
        ) from None
    except yaml.YAMLError as e:
        raise ConfigError(f"{path}: not valid YAML: {e}") from None
    if not isinstance(loaded, dict):
        raise ConfigError(f"{path}: expected a mapping at the top level, got {type(loaded).__name__}.")
    return loaded


def home_folder(project: Path = Path()) -> Path:
    """The checkout that relative addresses start from: NIGHTFORGE_HOME (set in worktrees), or the project."""
    return Path(os.environ.get("NIGHTFORGE_HOME") or project).resolve()


def stages(project: Path = Path()) -> dict[str, Wiring]:
    """Every stage of a project's dvc.yaml by name, `foreach` stages as `name@key`."""
    values = read_yaml(project / "params.yaml")
    found: dict[str, Wiring] = {}
    for name, body in read_yaml(project / "dvc.yaml").get("stages", {}).items():
        if "foreach" not in body:
            found[name] = _wiring(name, body, values, {})
            continue
        for key, item in body["foreach"].items():
            scope = {"key": key, **{f"item.{k}": _resolve(str(v), values, {}) for k, v in item.items()}}
            found[f"{name}@{key}"] = _wiring(f"{name}@{key}", body["do"], values, scope)
    return found


def stage(name: str, project: Path = Path()) -> Wiring:
    """One stage by name.

    Raises:
        ConfigError: dvc.yaml has no such stage.
    """
    have = stages(project)
    if name not in have:
        raise ConfigError(f"dvc.yaml has no stage {name!r}. There are: {', '.join(have)}.")
    return have[name]


def _wiring(name: str, body: dict[str, Any], values: dict[str, Any], scope: dict[str, str]) -> Wiring:
    def listed(key: str) -> tuple[Path, ...]:
        return tuple(Path(_resolve(_only(p), values, scope)) for p in body.get(key, []))

    return Wiring(
        name=name,
        deps=listed("deps"),
        outs=listed("outs"),
        metrics=listed("metrics"),
        plots=listed("plots"),
        params=tuple(_only(p) for p in body.get("params", [])),
        meta=body.get("meta", {}),
        item={k.removeprefix("item."): v for k, v in scope.items()},
    )


def _only(entry: Any) -> str:
    """A path of dvc.yaml is a string, or a mapping of one path to its flags."""
    return str(next(iter(entry)) if isinstance(entry, dict) else entry)


def _resolve(text: str, values: dict[str, Any], scope: dict[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        if (key := match[1]) in scope:
            return str(scope[key])
        found: Any = values
        for step in key.split("."):
            if not isinstance(found, dict) or step not in found:
                raise WiringError(f"dvc.yaml: ${{{key}}} names nothing in params.yaml.")
            found = found[step]
        return str(found)

    return re.sub(r"\$\{([^}]+)\}", value, text)
