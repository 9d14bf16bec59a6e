"""A walk over a project's graph: one Prefect task for each stage of dvc.yaml, in DVC's own order.

Wholly derived from dvc.yaml, so that `dvc repro` and this are two doors to one graph. A stage that DVC calls unchanged
ends as *Cached*; what lies downstream of a failure is not run and stays *NotReady*.
"""

import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from prefect import get_run_logger, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture, wait
from prefect.states import Completed
from prefect.task_runners import ThreadPoolTaskRunner

from flows import graph, guard, inputs
from nightforge.errors import Transient
from tasks.progress import PREFIX

ONE_AT_A_TIME: Any = ThreadPoolTaskRunner(max_workers=1)
"""No two stages at once. A stage beside one that holds a clock (train, evaluate, compress) would be measured too,
and in the text pipeline hardly two are independent. Tasks are submitted in the order of the graph, so one that waits
for what it reads from never keeps that from running."""

RETRY_DELAY_S = 5
PROGRESS_EVERY_S = 3.0
"""Seconds between two progress lines of a stage on the terminal, and two updates of its artifact."""

NOISE = (
    "Updating lock file",
    "Use `dvc push`",
    "To track the changes",
    "To enable auto staging",
    "\tgit add",
    "\tdvc ",
)
PROGRESS = re.compile(re.escape(PREFIX) + r" (\d+)/(\d+) ?(.*)")


class StageFailed(Exception):
    """A stage ended with something else than 0; the message is the stage's own."""


@dataclass(frozen=True)
class Outcome:
    """How a stage ended."""

    how: Literal["ran", "cached", "failed"]
    seconds: float
    exit_code: int = 0
    kind: str = ""
    message: str = ""


class Walk:
    """One walk over the graph; its stage tasks share it. A plain class, for Prefect copies data classes it is given."""

    def __init__(self, project: Path, home: Path, of: graph.Graph, echo: bool) -> None:
        self.project, self.home, self.graph, self.echo = project, home, of, echo
        self.outcomes: dict[str, Outcome] = {}
        self.stale = of.stale
        self.interrupted = threading.Event()

    def go(self) -> None:
        """Run every stage that its upstream allows; call it in a flow. Never raises for a stage that failed."""
        futures: dict[str, PrefectFuture[Any]] = {}
        for name, stage in self.graph.stages.items():
            one = run_stage.with_options(
                retries=stage.retries,
                retry_delay_seconds=RETRY_DELAY_S,
                retry_condition_fn=lambda *_, name=name: self.last(name).get("exit") == Transient.exit_code,
            )
            above = [futures[u] for u in stage.upstream]
            futures[name] = one.submit(name, self, wait_for=above, return_state=False)
        try:
            wait(list(futures.values()))
        except BaseException:
            self.interrupt()
            raise

    def interrupt(self) -> None:
        """End what runs, and start nothing more."""
        self.interrupted.set()
        guard.interrupt_all()

    def last(self, name: str) -> dict[str, Any]:
        """What the stage shell wrote of the last attempt: {exit, kind, message}; empty if it wrote nothing."""
        try:
            found: dict[str, Any] = json.loads(self.last_file(name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return found

    def last_file(self, name: str) -> Path:
        """Where the stage shell writes the outcome of a stage."""
        return self.project / ".nightforge" / "last" / f"{name}.json"

    @property
    def failed(self) -> dict[str, Outcome]:
        """The stages that failed, the first first."""
        return {n: o for n, o in self.outcomes.items() if o.how == "failed"}

    @property
    def not_run(self) -> list[str]:
        """The stages that were not reached."""
        return [n for n in self.graph.stages if n not in self.outcomes]


@task(name="stage", task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False)
def run_stage(name: str, walk: Walk) -> State[Any]:
    """Bring one stage up to date."""
    if walk.interrupted.is_set():
        raise StageFailed(f"{name}: not started: interrupted")
    say = _sayer(name, walk)
    if name not in walk.stale:
        walk.outcomes[name] = Outcome("cached", 0.0)
        say("unchanged")
        return Completed(name="Cached", message="DVC: unchanged")
    if refreshed := inputs.before(name, walk.project, walk.home):
        say(refreshed)
    walk.last_file(name).unlink(missing_ok=True)
    started, seen = time.monotonic(), set[str]()

    def on_line(line: str) -> None:
        seen.update(word for word in (graph.RAN, graph.RESTORED, graph.UNCHANGED) if word in line)
        say(line)

    code = guard.run(
        graph.repro_command(name),
        walk.project,
        graph.environment(walk.home),
        on_line,
        walk.graph.stages[name].timeout_s,
    )
    seconds = time.monotonic() - started
    if code:
        raise _failure(name, walk, code, seconds)
    if graph.RAN in seen:
        walk.outcomes[name] = Outcome("ran", seconds)
        return Completed(message=f"ran in {seconds:.1f} s")
    walk.outcomes[name] = Outcome("cached", seconds)
    restored = graph.RESTORED in seen
    return Completed(name="Cached", message="DVC: taken from the run cache" if restored else "DVC: unchanged")


def _failure(name: str, walk: Walk, code: int, seconds: float) -> StageFailed:
    """Record a failure under the stage's own exit code (DVC makes 255 of every one)."""
    if code == guard.TIMED_OUT:
        limit = walk.graph.stages[name].timeout_s
        said: dict[str, Any] = {
            "exit": code,
            "kind": "Timeout",
            "message": f"ended at its limit of {limit:g} s (meta.timeout_s)",
        }
    elif walk.interrupted.is_set():
        said = {"exit": 130, "kind": "Interrupted", "message": "interrupted; run again to go on"}
    else:
        said = walk.last(name)
    if not said.get("exit"):  # no stage of ours, or DVC itself failed after the stage had ended well
        said = {"exit": code, "kind": "Failed", "message": f"dvc ended with {code}; its lines above say why"}
    outcome = Outcome("failed", seconds, int(said["exit"]), said["kind"], said["message"])
    walk.outcomes[name] = outcome
    return StageFailed(f"{name}: {outcome.kind} (exit {outcome.exit_code}): {outcome.message}")


def _sayer(name: str, walk: Walk) -> Callable[[str], None]:
    """What a stage prints goes to Prefect's log line by line, to the terminal if asked, and progress to an artifact."""
    logger = get_run_logger()
    shown: dict[str, Any] = {"at": 0.0, "artifact": None}

    def say(line: str) -> None:
        if not line.strip() or line.startswith(NOISE):
            return
        if match := PROGRESS.match(line):
            done, total, what = int(match[1]), max(int(match[2]), 1), match[3]
            if done < total and time.monotonic() - shown["at"] < PROGRESS_EVERY_S:
                return
            shown["at"] = time.monotonic()
            shown["artifact"] = _progress(name, min(100.0, 100 * done / total), what, shown["artifact"])
            line = f"{100 * done // total:3d}% {what}"
        logger.info("%s", line)
        if walk.echo:
            print(f"{name:>15} │ {line}", flush=True)

    return say


def _progress(stage: str, percent: float, what: str, artifact: UUID | None) -> UUID | None:
    """Create or move the progress artifact of a stage; returns its id."""
    if artifact is None:
        key = "progress-" + re.sub(r"[^a-z0-9]+", "-", stage.lower())
        made: Any = create_progress_artifact(progress=percent, key=key, description=what)
        return made if isinstance(made, UUID) else None
    update_progress_artifact(artifact_id=artifact, progress=percent, description=what)
    return artifact
