"""How a walk ended: one line, one exit code, the page that shows why, and the same as Prefect artifacts."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from flows.walk import Walk
from nightforge import summary
from nightforge.errors import ContractNotMet
from tasks import wiring

INTERRUPTED = 130
FAILED_PAGE = Path("reports/failed.html")
"""The page of a run that ended before its verdict; in neither DVC nor git, and gone once a run gets there."""


@dataclass(frozen=True)
class Verdict:
    """The end of a walk."""

    word: str
    """MET, NOT MET, DONE (no gate over the verdict was part of this), FAILED or INTERRUPTED."""
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
    """Judge a walk: MET is 0, NOT MET is 3, else the code of the first stage that failed, or 130.

    MET takes an open gate over the metrics of `accept`: a walk to `accept` or `report` alone crowns nothing.
    """
    accept, report = _accept(walk), _output(walk, "report")
    (walk.project / FAILED_PAGE).unlink(missing_ok=True)
    first = next(iter(walk.failed.items()), None)
    if walk.interrupted.is_set():
        return Verdict("INTERRUPTED", "INTERRUPTED: run again to go on where it stopped.", INTERRUPTED, None, accept)
    if accept.get("verdict") == "NOT MET":
        line = f"NOT MET: {'; '.join(accept['reasons'])}."
        return Verdict("NOT MET", line, ContractNotMet.exit_code, report, accept)
    if first:
        name, outcome = first
        line = f"FAILED: {name}: {outcome.kind}: {outcome.message}"
        return Verdict("FAILED", line, outcome.exit_code, _failed_page(walk) if not accept else report, accept)
    last = _last_gates(walk.project)
    if last & set(walk.outcomes):
        return Verdict("MET", f"MET: {summary.headline(accept)}", 0, report, accept)
    unjudged = "" if last else " There is no verdict: dvc.yaml has no gate over the metrics of accept."
    return Verdict("DONE", f"DONE: {len(walk.outcomes)} stages up to date.{unjudged}", 0, report, accept)


def _last_gates(project: Path) -> set[str]:
    """The gates that read the metrics of `accept`."""
    stages = wiring.stages(project)
    judged = {path for name, stage in stages.items() if name == "accept" for path in stage.metrics}
    return {n for n, s in stages.items() if judged & {*s.deps} and any(p.parent == Path(wiring.GATES) for p in s.outs)}


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
    """The page of a run that never reached its verdict, for a project that has a report."""
    if "report" not in walk.graph.stages:
        return None
    from tasks.report import render_failed

    outcomes = {name: walk.outcomes[name].how if name in walk.outcomes else "not run" for name in walk.graph.stages}
    return render_failed(walk.project, outcomes, walk.failed)


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
        create_table_artifact(key="verdict", table=summary.table(verdict.accept), description=verdict.line)
    create_table_artifact(key="stages", table=table(walk), description=f"Run {run}: {verdict.word}")
    create_markdown_artifact(key="summary", markdown=_markdown(walk, verdict, run, page), description=verdict.word)
    if page:
        create_link_artifact(key="report", link=page.resolve().as_uri(), link_text="Report of the run")


def _markdown(walk: Walk, verdict: Verdict, run: str, page: Path | None) -> str:
    """What happened, as Markdown; the line is quoted as it is, whatever stands in it."""
    counts = [f"{sum(o.how == how for o in walk.outcomes.values())} {how}" for how in ("ran", "cached", "failed")]
    link = page.resolve().as_uri() if page else None
    if verdict.accept:
        said = summary.markdown(verdict.accept, link)
    else:
        quoted = verdict.line.replace("`", "ʼ")
        said = f"# {verdict.word}\n\n```\n{quoted}\n```\n" + (f"\n[Why]({link})\n" if link else "")
    return f"{said}\nRun `{run}`: {', '.join(counts)}, {len(walk.not_run)} not run.\n"
