"""The deployed flows: `nightly`, the whole pipeline, and `stage`, one stage with what it needs.

Each works in a git worktree of its own at the commit that the home checkout stands at (`flows/workspace.py`), with
the values of the form written into that worktree's params.yaml, and publishes what it recorded as branch `runs/<id>`.
"""

from pathlib import Path
from typing import Any
from uuid import uuid4

from prefect import flow, get_run_logger, runtime
from prefect.client.schemas.objects import State
from prefect.states import Failed

from flows import form, graph, inputs, ledger, verdict, workspace
from flows.form import LearningRate, MaxQualityLoss, MaxSizeShare, MaxSteps, Seed, Source
from flows.walk import ONE_AT_A_TIME, Walk
from nightforge.errors import ConfigError, NightforgeError
from tasks import reference


@flow(name="nightly", task_runner=ONE_AT_A_TIME)
def nightly(
    project: str = ".",
    source: Source = None,
    seed: Seed = None,
    learning_rate: LearningRate = None,
    max_steps: MaxSteps = None,
    max_quality_loss: MaxQualityLoss = None,
    max_size_share: MaxSizeShare = None,
) -> State[Any]:
    """Raw data to an accepted small model, or the reason why not. An empty field changes nothing.

    Args:
        project: Project folder, relative to the checkout; it holds a dvc.yaml and a params.yaml.
        source: Address of the first source (params.yaml: ingest.sources). Only the address changes; its format and
            sha256 stay, so the new one must be of the same kind and suffix. For another, set all three in params.yaml.
        seed: Seed of every random choice (params.yaml: seed).
        learning_rate: Peak learning rate of training (params.yaml: train.loop.optimizer.lr).
        max_steps: Optimizer steps of training at most (params.yaml: train.loop.steps).
        max_quality_loss: Contract: share of bits per byte that compression may lose, on the bound of its interval.
        max_size_share: Contract: size of the compressed model's folder as a share of the dense one's.
    """
    overrides = {
        "source": source,
        "seed": seed,
        "learning_rate": learning_rate,
        "max_steps": max_steps,
        "max_quality_loss": max_quality_loss,
        "max_size_share": max_size_share,
    }
    return _in_worktree(project, overrides, target=None)


@flow(name="stage", task_runner=ONE_AT_A_TIME)
def stage(
    stage: str,
    project: str = ".",
    seed: Seed = None,
    learning_rate: LearningRate = None,
    max_steps: MaxSteps = None,
) -> State[Any]:
    """One stage, after the stages that it reads from (those are cached, unless something in them changed).

    Args:
        stage: Its name in dvc.yaml, such as train or gate@clean.
        project: Project folder, relative to the checkout; it holds a dvc.yaml and a params.yaml.
        seed: Seed of every random choice (params.yaml: seed).
        learning_rate: Peak learning rate of training (params.yaml: train.loop.optimizer.lr).
        max_steps: Optimizer steps of training at most (params.yaml: train.loop.steps).
    """
    return _in_worktree(project, {"seed": seed, "learning_rate": learning_rate, "max_steps": max_steps}, target=stage)


def _in_worktree(project: str, overrides: dict[str, Any], target: str | None) -> State[Any]:
    home = Path(project).resolve()
    run = str(runtime.flow_run.id or uuid4())[:8]
    log = get_run_logger()
    try:
        if not (home / "dvc.yaml").is_file():
            raise ConfigError(f"project {project!r}: no project folder, there is no {home / 'dvc.yaml'}.")
        with workspace.worktree(home, run) as here:
            log.info("run %s works in %s, at commit %s", run, here, workspace.commit_of(here)[:12])
            if edited := workspace.git("status", "--porcelain", "--untracked-files=no", cwd=home):
                log.warning("uncommitted edits in %s are not part of this run:\n%s", home, edited)
            changed = form.apply(here, overrides)
            for path, value in changed.items():
                log.info("params.yaml: %s = %s", path, value)
            return _walk(here, home, run, target, crowns=not any(path.startswith("contract.") for path in changed))
    except NightforgeError as e:
        return Failed(message=f"{type(e).__name__}: {e}")


def _walk(here: Path, home: Path, run: str, target: str | None, crowns: bool) -> State[Any]:
    """Walk the graph in the worktree, keep the pages, publish the branch, and enter a model accepted if it `crowns`."""
    log = get_run_logger()
    for line in inputs.refresh(here, home):
        log.info(line)
    of = graph.read(here)
    walk = Walk(here, home, of.only(target) if target else of, echo=False)
    walk.go()
    ended = verdict.of(walk)
    reference.remember(here, home)
    kept = workspace.keep_reports(here, home, run)
    commit = workspace.publish(here, home, run, f"run {run}: {ended.word}")
    log.info("published branch runs/%s at %s; pages in %s", run, commit[:12], kept)
    ledger.remember_durations(home, {n: o.seconds for n, o in walk.outcomes.items() if o.how == "ran"})
    if ended.word == "MET" and not crowns:
        log.warning("not entered as the last accepted model: the contract was another one, by the form")
    elif ended.word == "MET" and (refused := ledger.enter(here, home, run, commit)):
        log.warning("%s", refused)
    page = kept / ended.report.name if ended.report else None
    verdict.publish(walk, ended, run, page)
    return ended.state
