"""The one door to DVC: its graph, what is stale, and the command that runs one stage.

DVC's Python API is not stable and not safe across threads, so it is used here alone, to read, from the main thread.
A stage is run by the command line, which is stable: `dvc --wait-for-lock repro --single-item STAGE`. Without that
flag before the subcommand, DVC waits 3 s for its lock, and a finished stage that cannot retake it loses its result.
"""

import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows import guard
from nightforge.errors import ConfigError

RAN, RESTORED, UNCHANGED = "Running stage", "is cached - skipping run", "didn't change, skipping"
"""What `dvc repro` says of a stage that it ran, took from its run cache, or found unchanged."""

QUIET = {
    "DVC_NO_ANALYTICS": "1",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PYTHONUNBUFFERED": "1",
}
"""No telemetry, and each line as it is printed."""


@dataclass(frozen=True)
class Stage:
    """One stage of dvc.yaml as the flow sees it."""

    name: str
    upstream: tuple[str, ...]
    """The stages whose outputs it reads."""
    retries: int
    """How often it is tried again after a `Transient` failure; `meta.retries`."""
    timeout_s: float | None
    """Seconds until it is ended; `meta.timeout_s`."""


@dataclass(frozen=True)
class Graph:
    """DVC's own graph of a project, in an order in which every stage comes after those that it reads from."""

    stages: dict[str, Stage]
    changes: dict[str, tuple[str, ...]]
    """Stage → why it would rerun by itself, such as `params.yaml: train.seed modified`; unchanged stages are absent."""

    @property
    def stale(self) -> dict[str, tuple[str, ...]]:
        """Stage → why, with every stage downstream of a stale one (which may yet turn out to be unchanged)."""
        found: dict[str, tuple[str, ...]] = {}
        for name, stage in self.stages.items():
            above = tuple(f"{up} reruns" for up in stage.upstream if up in found)
            if why := (*self.changes.get(name, ()), *above):
                found[name] = why
        return found

    def only(self, target: str) -> "Graph":
        """The part of the graph that a stage needs, itself included.

        Raises:
            ConfigError: there is no such stage.
        """
        if target not in self.stages:
            raise ConfigError(f"dvc.yaml has no stage {target!r}. There are: {', '.join(self.stages)}.")
        needed = {target}
        for name in reversed(self.stages):
            if name in needed:
                needed.update(self.stages[name].upstream)
        return Graph({n: s for n, s in self.stages.items() if n in needed}, self.changes)


def read(project: Path) -> Graph:
    """The graph of a project and what changed in it. Call from the main thread: DVC addresses stages by the cwd.

    Raises:
        ConfigError: dvc.yaml is no graph, or the folder no DVC project.
    """
    os.environ.update(QUIET)
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.repo import Repo
    from dvc.scm import SCMError

    with chdir(project):
        try:
            with Repo() as repo:
                return _graph(repo)
        except (NotDvcRepoError, SCMError) as e:
            way_out = (
                "Once, in that folder: git init && dvc init; in a folder of a larger repository: dvc init --subdir"
            )
            raise ConfigError(f"{project} is not under git and DVC: {e}. {way_out}.") from e
        except DvcException as e:
            raise ConfigError(f"{project}: {e}") from e


def _graph(repo: Any) -> Graph:
    from dvc.stage import PipelineStage
    from networkx import dfs_postorder_nodes  # type: ignore[import-untyped]

    # An edge runs from a stage to one that it reads from, so postorder yields what is read first.
    graph = repo.index.graph
    ordered = [s for s in dfs_postorder_nodes(graph) if isinstance(s, PipelineStage)]
    stages = {
        s.addressing: Stage(
            name=s.addressing,
            upstream=tuple(sorted(u.addressing for u in graph.successors(s) if isinstance(u, PipelineStage))),
            retries=int((s.meta or {}).get("retries", 0)),
            timeout_s=(s.meta or {}).get("timeout_s"),
        )
        for s in ordered
    }
    changes = {name: tuple(_reasons(said)) for name, said in repo.status().items()}
    never = {s.addressing: ("has never run",) for s in ordered if s.outs and not any(o.hash_info for o in s.outs)}
    return Graph(stages, changes | never)


def _reasons(said: Iterable[str | Mapping[str, Any]]) -> Iterable[str]:
    """`dvc status` of a stage as phrases: what, then how it changed."""
    for item in said:
        if isinstance(item, str):
            yield item
            continue
        for changed in item.values():
            for path, how in changed.items():
                if isinstance(how, str):
                    yield f"{path} {how}"
                else:
                    yield from (f"{path}: {key} {word}" for key, word in how.items())


def repro_command(stage: str) -> list[str]:
    """The command that brings one stage up to date, and runs nothing else."""
    return [str(tool("dvc")), "--wait-for-lock", "repro", "--single-item", stage]


def would_rerun(stage: str, project: Path, home: Path) -> bool:
    """Whether DVC calls a stage stale now; by the command line, and so from any thread."""
    lines: list[str] = []
    command = [str(tool("dvc")), "--wait-for-lock", "status", "--json", stage]
    code = guard.run(command, project, environment(home), lines.append)
    return code != 0 or "{}" not in lines


def checkout_command() -> list[str]:
    """The command that brings the recorded outputs into a workspace."""
    return [str(tool("dvc")), "checkout", "-q"]


def environment(home: Path) -> dict[str, str]:
    """The environment of a stage command: our own Python first on PATH, and where the user's own checkout lies."""
    path = f"{_bin()}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {**os.environ, **QUIET, "PATH": path, "NIGHTFORGE_HOME": str(home)}


def cache_dir(project: Path) -> Path:
    """The absolute path of a project's DVC cache."""
    from dvc.repo import Repo

    with Repo(str(project)) as repo:
        return Path(repo.cache.local.path).resolve().parent.parent


def tool(name: str) -> Path:
    """A command-line tool of our own environment."""
    return _bin() / name


def _bin() -> Path:
    return Path(sys.prefix) / "bin"
