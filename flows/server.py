"""The Prefect server of a checkout: on loopback, its database in `.nightforge/prefect`, never the user's own.

`make run` uses the server named by PREFECT_API_URL if that is set, else the one that `make ui` has up, else one that
lives as long as the run. All three write the same history, except a server of the user's.
"""

import atexit
import fcntl
import json
import os
import socket
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.error import URLError

from flows import graph, guard
from nightforge.errors import AssetMissing, Busy
from tasks.stage import CODE_ROOT

FOLDER = CODE_ROOT / ".nightforge" / "prefect"
LOCK = CODE_ROOT / ".nightforge" / "ui.lock"
"""Held by `make ui` while its server is up; holds {url}."""

BOOT_S = 90.0
"""Seconds that a server may take to answer; a fresh database takes some 10."""
HEARTBEAT_S = 30
"""Seconds between two signs of life of a run, the least that Prefect allows; `nightforge ui` takes one that is silent
for three times as long for crashed."""


def home() -> Path:
    """Prefect's folder: PREFECT_HOME, or our own in this checkout."""
    return Path(os.environ.get("PREFECT_HOME") or FOLDER)


def settings() -> None:
    """Set Prefect's environment for this process and all that it starts; call before Prefect is imported."""
    os.environ.update({k: v for k, v in graph.QUIET.items() if k != "PYTHONUNBUFFERED"})
    os.environ["PREFECT_HOME"] = str(home())
    os.environ["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] = str(HEARTBEAT_S)


@contextmanager
def booting(port: int, ui: bool) -> Iterator[str]:
    """A server that is starting; its API address. It ends on leaving, and when this process dies.

    Raises:
        Busy: the port is taken.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            way_out = f"Stop what listens there, or name another: PORT={port + 1}"
            raise Busy(f"port {port} of 127.0.0.1 is taken. {way_out}") from None
        port = probe.getsockname()[1]
    command = [str(graph.tool("prefect")), "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    command.append("--ui" if ui else "--no-ui")
    url = f"http://127.0.0.1:{port}/api"
    environment = {k: v for k, v in os.environ.items() if k != "PREFECT_API_URL"}
    environment["PREFECT_SERVER_UI_API_URL"] = url  # else the pages ask port 4200, whatever the server's is
    with guard.running(command, CODE_ROOT, environment, home() / "server.log"):
        yield url


def await_answer(url: str) -> None:
    """Wait until a server answers.

    Raises:
        AssetMissing: it does not.
    """
    until = time.monotonic() + BOOT_S
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):  # noqa: S310  an address of our own making
                return
        except (URLError, OSError):
            time.sleep(0.1)
    raise AssetMissing(f"no Prefect server answers at {url} within {BOOT_S:g} s; see {home() / 'server.log'}")


def for_a_run() -> str:
    """The API address that a run should use; its server may still be starting.

    Call before Prefect is imported: a server of our own is ended at exit, after Prefect has sent its last logs and
    events to it.
    """
    if named := os.environ.get("PREFECT_API_URL") or _of_ui():
        return named
    until_exit = ExitStack()
    atexit.register(until_exit.close)
    return until_exit.enter_context(booting(0, ui=False))


def _of_ui() -> str | None:
    """The address of the server that `make ui` has up, if it has."""
    if not LOCK.exists():
        return None
    with LOCK.open(encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            url: str | None = json.loads(file.read() or "{}").get("url")
            return url
    return None
