"""How a walk ended: one line, one exit code, the page that shows why, and the same as Prefect artifacts."""

import json
import re
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from flows.walk import Walk
from nightforge.errors import ContractNotMet
from tasks import wiring

INTERRUPTED = 130


@dataclass(frozen=True)
class Verdict:
    """The end of a walk."""

    word: str
    """MET, NOT MET, DONE (the project has no contract), FAILED or INTERRUPTED."""
    line: str
    exit_code: int
    report: Path | None
    """The page that shows why, if there is one."""
    accept: dict[str, Any]
    """metrics/accept.json, where the verdict was reached in this walk."""

    @property
    def state(self) -> State[Any]:
        """The Prefect state that says the same."""
        if self.exit_code == INTERRUPTED:
            return Cancelled(message=self.line)
        return Completed(message=self.line) if self.exit_code == 0 else Failed(message=self.line)


def of(walk: Walk) -> Verdict:
    """Judge a walk: MET is 0, NOT MET is 3, else the code of the first stage that failed, or 130."""
    accept, report = _accept(walk), _output(walk, "report")
    first = next(iter(walk.failed.items()), None)
    if walk.interrupted.is_set():
        return Verdict("INTERRUPTED", "INTERRUPTED: run again to go on where it stopped.", INTERRUPTED, None, accept)
    if accept.get("verdict") == "NOT MET":
        line = "NOT MET: " + "; ".join(map(str, accept.get("reasons", []))) + "."
        return Verdict("NOT MET", line, ContractNotMet.exit_code, report, accept)
    if first:
        name, outcome = first
        line = f"FAILED: {name}: {outcome.kind}: {outcome.message}"
        return Verdict("FAILED", line, outcome.exit_code, _failed_page(walk) if not accept else report, accept)
    if accept:
        return Verdict("MET", "MET: " + _terms(accept), 0, report, accept)
    return Verdict("DONE", f"DONE: {len(walk.outcomes)} stages up to date.", 0, report, accept)


def _terms(accept: dict[str, Any]) -> str:
    """The terms of the contract with what was measured, in one line."""
    terms = [f"{t['term']} {_number(t['measured'])} (limit {_number(t['limit'])})" for t in accept.get("contract", [])]
    return ", ".join(terms) + "."


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _accept(walk: Walk) -> dict[str, Any]:
    """metrics/accept.json, if stage `accept` is part of this walk and ended well in it."""
    outcome = walk.outcomes.get("accept")
    if outcome is None or outcome.how == "failed":
        return {}
    metrics = wiring.stage("accept", walk.project).metrics
    if not metrics:
        return {}
    found: dict[str, Any] = json.loads((walk.project / metrics[0]).read_text(encoding="utf-8"))
    return found


def _output(walk: Walk, stage: str) -> Path | None:
    """The first output of a stage that this walk brought up to date."""
    outcome = walk.outcomes.get(stage)
    if outcome is None or outcome.how == "failed":
        return None
    return next((walk.project / p for p in wiring.stage(stage, walk.project).outs), None)


def _failed_page(walk: Walk) -> Path | None:
    """reports/failed.html, for a project that has a report: the page of a run that never reached its verdict."""
    if "report" not in wiring.stages(walk.project):
        return None
    outcomes = {name: outcome.how for name, outcome in walk.outcomes.items()}
    page: Path | None = import_module("tasks.report").render_failed(walk.project, outcomes, walk.failed)
    return page


def table(walk: Walk) -> list[dict[str, Any]]:
    """One row for each stage: what happened to it, and for how long."""
    rows = []
    for name in walk.graph.stages:
        outcome = walk.outcomes.get(name)
        rows.append(
            {
                "stage": name,
                "state": outcome.how if outcome else "not run",
                "seconds": round(outcome.seconds, 1) if outcome else None,
                "message": outcome.message if outcome else "",
            }
        )
    return rows


def publish(walk: Walk, verdict: Verdict, run: str, page: Path | None) -> None:
    """Show the end in Prefect: the contract and the stages as tables, a summary, and a link to the page.

    Args:
        walk: the walk that has ended.
        verdict: how.
        run: the run's id, or its project folder.
        page: where the report will stay (a worktree is removed).
    """
    if verdict.accept:
        create_table_artifact(key="verdict", table=verdict.accept.get("contract", []), description=verdict.line)
    create_table_artifact(key="stages", table=table(walk), description=f"Run {run}: {verdict.word}")
    create_markdown_artifact(key="summary", markdown=_markdown(walk, verdict, run, page), description=verdict.word)
    if page:
        create_link_artifact(key="report", link=page.resolve().as_uri(), link_text="Report of the run")


def _markdown(walk: Walk, verdict: Verdict, run: str, page: Path | None) -> str:
    counts = [f"{sum(o.how == how for o in walk.outcomes.values())} {how}" for how in ("ran", "cached", "failed")]
    said = re.sub(r"([<>&|`*_])", r"\\\1", verdict.line)
    link = f"\n\nReport: `{page}`" if page else ""
    return f"## {verdict.word}\n\n{said}\n\nRun `{run}`: {', '.join(counts)}, {len(walk.not_run)} not run.{link}\n"
