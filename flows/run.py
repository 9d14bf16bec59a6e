"""`nightforge run`: the pipeline in the user's own checkout, as a Prefect flow, to its verdict."""

import fcntl
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from flows import guard, server
from nightforge.errors import Busy, NightforgeError


def main(project: Path) -> int:
    """Run a project to its verdict, and say it; returns the exit code: 0 MET, 3 NOT MET, else the failed stage's own.

    Raises:
        Busy: another driver works in this checkout.
        ConfigError: the project cannot be run as it is.
    """
    project = project.resolve()
    server.settings()
    with driver(project):
        url = server.for_a_run()
        os.environ["PREFECT_API_URL"] = url
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")  # we print for the terminal
        return _run(project, url)


def _run(project: Path, url: str) -> int:
    from prefect import flow
    from prefect.client.schemas.objects import State

    from flows import graph, inputs, ledger, verdict, workspace
    from flows.walk import ONE_AT_A_TIME, Walk

    for line in inputs.refresh(project, project):
        print(line)
    walk = Walk(project, project, graph.read(project), echo=True)
    reached: list[verdict.Verdict] = []

    @flow(
        name="nightly-here",
        flow_run_name=f"here {datetime.now():%Y-%m-%d %H:%M}",
        validate_parameters=False,
        task_runner=ONE_AT_A_TIME,
    )
    def here(project: str) -> State[Any]:
        walk.go()
        reached.append(verdict.of(walk))
        verdict.publish(walk, reached[0], project, reached[0].report)
        return reached[0].state

    server.await_answer(url)
    with _ctrl_c_ends(walk):
        state = here(str(project), return_state=True)
    if not reached:
        raise NightforgeError(f"the flow itself ended as {state.name}: {state.message}")
    ended = reached[0]
    ledger.remember_durations(project, {n: o.seconds for n, o in walk.outcomes.items() if o.how == "ran"})
    refused = None
    if ended.word == "MET":
        refused = ledger.enter(project, project, "workspace", workspace.commit_of(project))
    if walk.not_run and ended.exit_code:
        print("not run: " + ", ".join(walk.not_run))
    print(f"\n{ended.line}")
    if refused:
        print(refused)
    if ended.report:
        print(f"Report: {ended.report}")
    return ended.exit_code


@contextmanager
def driver(project: Path) -> Iterator[None]:
    """The right to drive a checkout; a value edited while a stage runs would be recorded for the wrong result.

    Raises:
        Busy: another process has it.
    """
    path = project / ".nightforge" / "driver.lock"
    path.parent.mkdir(exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            held = json.loads(file.read() or "{}")
            raise Busy(
                f"another driver (pid {held.get('pid', '?')}, since {held.get('since', '?')}) works in {project}. "
                f"Wait for it or stop it; a deployed run has a worktree of its own and does not wait for this one."
            ) from None
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "since": datetime.now().isoformat(timespec="seconds")}))
        file.flush()
        yield


@contextmanager
def _ctrl_c_ends(walk: Any) -> Iterator[None]:
    """Ctrl-C ends the stages that run, starts no more, and lets the flow come to its end."""

    def on_signal(*_: object) -> None:
        print("\ninterrupted: ending what runs …", flush=True)
        walk.interrupt()

    before = signal.signal(signal.SIGINT, on_signal)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        guard.interrupt_all()
