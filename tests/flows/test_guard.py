"""The guard: nothing that it started outlives it, whatever happens."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from flows import guard

GUARD = [sys.executable, str(Path(guard.__file__))]
FAMILY = "sleep 300 & echo $!; echo $$; wait"
"""A child that prints the pids of its own child and of itself, and waits."""


def pids(stream: subprocess.Popen[str]) -> list[int]:
    assert stream.stdout is not None
    return [int(stream.stdout.readline()) for _ in range(2)]


def gone(pids: list[int], within_s: float = 6.0) -> bool:
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if not any(psutil.pid_exists(p) and psutil.Process(p).status() != "zombie" for p in pids):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 3", 3), ("kill -TERM $$", 143), ("kill -9 $$", 137)]
)
def test_exit_code_is_passed_on(script: str, code: int, tmp_path: Path) -> None:
    assert guard.run(["bash", "-c", script], tmp_path, os.environ, print) == code


def test_lines_come_in_order_and_in_one_stream(tmp_path: Path) -> None:
    seen: list[str] = []
    guard.run(["bash", "-c", "echo a; echo b >&2; printf 'c\\xff'"], tmp_path, os.environ, seen.append)
    assert seen == ["a", "b", "c�"]


def test_timeout_ends_the_whole_group(tmp_path: Path) -> None:
    seen: list[str] = []
    started = time.monotonic()
    assert guard.run(["bash", "-c", FAMILY], tmp_path, os.environ, seen.append, timeout_s=0.5) == guard.TIMED_OUT
    assert time.monotonic() - started < 5
    assert "[guard] ended at its timeout of 0.5 s" in seen
    assert gone([int(line) for line in seen if line.isdigit()])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_guard_ends_the_group(number: signal.Signals) -> None:
    guarded = subprocess.Popen(
        [*GUARD, "--", "bash", "-c", FAMILY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    family = pids(guarded)
    guarded.send_signal(number)
    assert guarded.wait(10) >= 128
    assert gone(family)


def test_one_that_ignores_signals_is_killed() -> None:
    deaf = "import os, signal, time\nfor n in (2, 15): signal.signal(n, signal.SIG_IGN)\n"
    deaf += "print(os.getpid()); print(os.getpid(), flush=True); time.sleep(300)"
    guarded = subprocess.Popen(
        [*GUARD, "--grace", "0.3", "--", sys.executable, "-c", deaf],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    family = pids(guarded)
    guarded.send_signal(signal.SIGINT)
    assert guarded.wait(10) == 128 + signal.SIGKILL
    assert gone(family)


def test_a_grandchild_that_outlives_its_parent_is_swept(tmp_path: Path) -> None:
    seen: list[str] = []
    assert guard.run(["bash", "-c", "sleep 300 >/dev/null & echo $!"], tmp_path, os.environ, seen.append) == 0
    assert gone([int(seen[0])])


def test_kill_9_of_the_parent_leaves_nothing(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from flows import guard\n"
        f"guard.run(['bash', '-c', {FAMILY!r}], Path('.'), os.environ, lambda line: print(line, flush=True))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(guard.__file__).parents[1])}
    parent = subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    )
    family = pids(parent)
    keeper = [p.pid for p in psutil.Process(parent.pid).children()]
    parent.kill()
    parent.wait()
    assert gone([*family, *keeper])
