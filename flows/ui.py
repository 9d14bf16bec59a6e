"""`nightforge ui`: a Prefect server on loopback with pools, deployments, an automation and a worker."""

import fcntl
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from flows import graph, guard, server
from nightforge.errors import Busy, NightforgeError
from tasks import wiring
from tasks.stage import CODE_ROOT

ZOMBIES = "nightforge: crash runs without a heartbeat"


def main(project: Path, port: int) -> int:
    """Serve until Ctrl-C; prints the address once all is up.

    Raises:
        Busy: the port is taken, or another `nightforge ui` is up in this checkout.
        NightforgeError: `prefect.yaml` cannot be deployed.
    """
    server.settings()
    os.environ["NIGHTFORGE_ROOT"] = os.environ["PYTHONPATH"] = str(CODE_ROOT)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    with ExitStack() as up:
        url = up.enter_context(server.booting(port, ui=True))
        up.enter_context(_announced(url))
        os.environ["PREFECT_API_URL"] = url
        print("starting the Prefect server …", flush=True)
        server.await_answer(url)
        deployed = set_up(project)
        workers = [up.enter_context(_worker(pool)) for pool in sorted(deployed)]
        print(f"\nNightforge UI: {url.removesuffix('/api')}  (Ctrl-C stops it, its worker and its runs)", flush=True)
        while not stop.wait(1) and all(worker.poll() is None for worker in workers):
            pass
        print("stopping …", flush=True)
    return 0 if stop.is_set() else NightforgeError.exit_code


def set_up(project: Path) -> set[str]:
    """Bring a server up to what the checkout says: pools, deployments, automation. Safe to repeat.

    Returns the pools of the deployments. Needs PREFECT_API_URL; schedules that a person paused stay paused.
    """
    from prefect.client.orchestration import get_client

    declared = wiring.read_yaml(CODE_ROOT / "prefect.yaml")["deployments"]
    deployed = {str(d["work_pool"]["name"]) for d in declared}
    wanted = deployed | {str(s.meta["pool"]) for s in wiring.stages(project).values() if "pool" in s.meta}
    with get_client(sync_client=True) as client:
        create_pools(client, wanted)
        paused = paused_schedules(client)
        command = [str(graph.tool("prefect")), "--no-prompt", "deploy", "--all"]
        ended = subprocess.run(command, cwd=CODE_ROOT, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise NightforgeError(f"prefect deploy --all ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}")
        keep_paused(client, paused)
        create_automation(client)
    return deployed


def create_pools(client: Any, names: Iterable[str]) -> None:
    """Create the work pools that are missing, of type process (a cancelled run's whole process group is ended)."""
    from prefect.client.schemas.actions import WorkPoolCreate

    have = {pool.name for pool in client.read_work_pools()}
    for name in sorted(set(names) - have):
        client.create_work_pool(WorkPoolCreate(name=name, type="process"))


def paused_schedules(client: Any) -> set[tuple[str, str]]:
    """Deployment and slug of each schedule that is paused."""
    return {(d.name, s.slug) for d in client.read_deployments() for s in d.schedules if s.slug and not s.active}


def keep_paused(client: Any, paused: set[tuple[str, str]]) -> None:
    """Pause again what a new deployment has woken."""
    for deployment in client.read_deployments():
        for schedule in deployment.schedules:
            if schedule.active and (deployment.name, schedule.slug) in paused:
                client.update_deployment_schedule(deployment.id, schedule.id, active=False)


def create_automation(client: Any) -> None:
    """Crash runs that give no sign of life: one whose worker was killed would else be Running for ever."""
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
    from prefect.events.schemas.events import ResourceSpecification

    if client.read_automations_by_name(ZOMBIES):
        return
    ends = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed")}
    trigger = EventTrigger(
        after={"prefect.flow-run.heartbeat"},
        expect={"prefect.flow-run.heartbeat"} | ends,
        match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(seconds=3 * server.HEARTBEAT_S),
    )
    crash = ChangeFlowRunState(state=StateType.CRASHED, message=f"no heartbeat for {3 * server.HEARTBEAT_S} s")
    client.create_automation(AutomationCore(name=ZOMBIES, trigger=trigger, actions=[crash]))


@contextmanager
def _worker(pool: str) -> Iterator[subprocess.Popen[str]]:
    """A process worker of a pool, its log in .nightforge/prefect."""
    command = [str(graph.tool("prefect")), "worker", "start", "--pool", pool, "--type", "process"]
    with guard.running(command, CODE_ROOT, os.environ, server.home() / f"worker-{pool}.log") as worker:
        yield worker


@contextmanager
def _announced(url: str) -> Iterator[None]:
    """Let `nightforge run` find this server.

    Raises:
        Busy: another one is announced.
    """
    server.LOCK.parent.mkdir(exist_ok=True)
    with server.LOCK.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            other = json.loads(file.read() or "{}").get("url", "?")
            raise Busy(f"the UI of this checkout is up already, at {other.removesuffix('/api')}.") from None
        file.truncate(0)
        file.write(json.dumps({"url": url}))
        file.flush()
        yield
