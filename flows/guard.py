"""guard: run a command in a process group of its own, and never let the group outlive us.

    python -m flows.guard [--grace S] [--timeout S] -- COMMAND...

The whole group is ended when our stdin reaches its end (the parent died, be it by SIGKILL), on SIGTERM, SIGINT and
SIGHUP, and at the timeout. SIGINT comes first: DVC ignores it while a stage runs, the stage ends, and DVC then gives
back its locks. SIGTERM ends DVC without cleaning up; SIGKILL is last. Exits with the command's own code, 128 + the
signal's number if a signal ended it, 124 at the timeout. Standard library alone: starting it costs some 0.05 s.
"""

import argparse
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

TIMED_OUT = 124
"""The exit code of a command that was ended at its timeout, as coreutils' timeout gives it."""

GRACE_S = 10.0
"""Seconds that a command has to end after SIGINT; half as many after SIGTERM."""

_live: set[subprocess.Popen[str]] = set()


def main(argv: list[str]) -> int:
    """Guard one command until it and its whole group are gone; returns the exit code to pass on."""
    parser = argparse.ArgumentParser(prog="python -m flows.guard", description="Run a command that dies with us.")
    parser.add_argument("--grace", type=float, default=GRACE_S, help="seconds to end in after SIGINT")
    parser.add_argument("--timeout", type=float, default=None, help="seconds until the command is ended")
    parser.add_argument("command", nargs="+", help="the command, after --")
    asked = parser.parse_args(argv)
    return _guard(asked.command, asked.grace, asked.timeout)


def _guard(command: list[str], grace_s: float, timeout_s: float | None) -> int:
    wanted, done = threading.Event(), threading.Event()
    # Before the command starts: exec resets handlers, but would pass on an ignored SIGINT (a shell's `&` ignores it).
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: wanted.set())
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    _die_with_parent()
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509  no thread runs yet
    )
    timed_out = threading.Event()

    def end_when_wanted() -> None:
        if not wanted.wait(timeout_s):
            timed_out.set()
            print(f"[guard] ended at its timeout of {timeout_s:g} s", flush=True)
        for number, seconds in ((signal.SIGINT, grace_s), (signal.SIGTERM, grace_s / 2), (signal.SIGKILL, 5.0)):
            if done.is_set() or not _signal_group(child.pid, number) or done.wait(seconds):
                return

    def watch_parent() -> None:
        with suppress(OSError):
            while os.read(0, 1):
                pass
        wanted.set()

    threading.Thread(target=end_when_wanted, daemon=True).start()
    threading.Thread(target=watch_parent, daemon=True).start()
    code = child.wait()
    done.set()
    _sweep(child.pid, grace_s)
    if timed_out.is_set():
        return TIMED_OUT
    return code if code >= 0 else 128 - code


def _signal_group(group: int, number: signal.Signals) -> bool:
    """Signal a process group; False if nobody is left in it."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


def _sweep(group: int, grace_s: float) -> None:
    """End what outlived the group's leader."""
    until = time.monotonic() + grace_s
    while _signal_group(group, signal.SIGTERM if time.monotonic() < until else signal.SIGKILL):
        time.sleep(0.05)


def _die_with_parent() -> None:
    """Ask the kernel for SIGTERM when our parent dies (PR_SET_PDEATHSIG); Linux only, elsewhere stdin tells."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def start(
    command: list[str], cwd: Path, env: Mapping[str, str], timeout_s: float | None = None
) -> subprocess.Popen[str]:
    """Start a guarded command; its stdout and stderr come as one stream of lines on `.stdout`.

    It sits in a session of its own, so that Ctrl-C reaches the driver alone, which decides what to end and when.
    """
    limit = [] if timeout_s is None else ["--timeout", str(timeout_s)]
    guarded = subprocess.Popen(
        [sys.executable, str(Path(__file__).resolve()), *limit, "--", *command],
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    _live.add(guarded)
    return guarded


def stop(guarded: subprocess.Popen[str]) -> int:
    """End a guarded command and its whole group; returns the exit code."""
    _live.discard(guarded)
    if guarded.poll() is None:
        guarded.send_signal(signal.SIGTERM)
    code = guarded.wait()
    for pipe in (guarded.stdin, guarded.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
    return code


def run(
    command: list[str],
    cwd: Path,
    env: Mapping[str, str],
    on_line: Callable[[str], None],
    timeout_s: float | None = None,
) -> int:
    """Run a guarded command to its end, handing on each line as it comes; returns the exit code."""
    guarded = start(command, cwd, env, timeout_s)
    try:
        for line in guarded.stdout or ():
            on_line(line.rstrip("\n"))
        return guarded.wait()
    finally:
        stop(guarded)


def interrupt_all() -> None:
    """Ask every command that was started here to end; whoever waits for one then sees it end."""
    for guarded in list(_live):
        if guarded.poll() is None:
            guarded.send_signal(signal.SIGINT)


@contextmanager
def running(command: list[str], cwd: Path, env: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[str]]:
    """A guarded command in the background, its output in a file; ended on leaving. Not part of `interrupt_all`."""
    guarded = start(command, cwd, env)
    _live.discard(guarded)

    def drain() -> None:
        with log.open("a", encoding="utf-8") as file, suppress(ValueError, OSError):
            for line in guarded.stdout or ():
                file.write(line)
                file.flush()

    log.parent.mkdir(parents=True, exist_ok=True)
    reader = threading.Thread(target=drain, daemon=True)
    reader.start()
    try:
        yield guarded
    finally:
        if guarded.poll() is None:
            guarded.send_signal(signal.SIGTERM)
        guarded.wait()
        reader.join(2)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
