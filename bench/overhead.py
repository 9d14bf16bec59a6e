"""What the machinery costs over the bare work: DVC over a function, the Prefect flow over `dvc repro`, and imports.

A project folder with the real code and eight trivial stages in a row (each adds one to a number) is run through both
doors in turn. Every round writes a new value to params.yaml, so that both have all eight stages to run and no cache to
take them from. The flow uses a server that is up; starting one is measured apart.
"""

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.prefix) / "bin"
STAGES, ROUNDS, IMPORTS = 8, 3, 9

GOALS = {
    "noop_repro_s": (3.0, "`dvc repro` with nothing to do, 8 stages"),
    "flow_overhead_per_stage_s": (1.0, "the flow over `dvc repro`, both running all 8 stages, for each stage"),
    "stage_overhead_s": (1.5, "`dvc repro -s STAGE` over calling the stage's function"),
    "import_s": (0.3, "importing the library and its command line, over starting Python"),
}
"""Figure → (the most that it should be, what it is)."""

MODULE = '''"""A stage that does next to nothing."""

from pathlib import Path


def run(x: int, {before}: Path, {after}: Path) -> dict[str, int]:
    value = int({before}.read_text()) + 1
    {after}.write_text(f"{{value}}\\n")
    return {{"value": value + x}}
'''


def main() -> None:
    """Measure, and print the figures."""
    with tempfile.TemporaryDirectory(prefix="nightforge-bench-") as tmp:
        project = Path(tmp) / "project"
        lay_out(project)
        with server(Path(tmp)) as (url, server_start_s):
            figures = doors(project, environment(project, url))
        figures |= {"stage_overhead_s": stage_overhead(project), "server_start_s": server_start_s}
    figures["import_s"] = import_s()
    print(json.dumps({key: round(value, 3) for key, value in sorted(figures.items())}))


def lay_out(project: Path) -> None:
    """A git and DVC project with the real code and the toy stages."""
    project.mkdir(parents=True)
    for room in ("nightforge", "tasks", "flows"):
        shutil.copytree(ROOT / room, project / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", project)
    (project / "data").mkdir()
    (project / "data" / "n0").write_text("0\n")
    graph = ["stages:"]
    for i in range(STAGES):
        before, after = f"n{i}", f"n{i + 1}"
        (project / "tasks" / f"toy{i}.py").write_text(MODULE.format(before=before, after=after))
        graph += [
            f"  toy{i}:",
            f"    cmd: python -m tasks toy{i}",
            f"    deps: [data/{before}, tasks/toy{i}.py, tasks/hashing.py]",
            "    params: [x]",
            f"    outs: [data/{after}]",
            f"    metrics: [metrics/toy{i}.json]",
        ]
    (project / "dvc.yaml").write_text("\n".join(graph) + "\n")
    change(project, 0)
    for words in (["git", "init", "-q"], [str(BIN / "dvc"), "init", "-q"], ["git", "add", "-A"]):
        timed(words, project, environment(project))
    who = ["-c", "user.name=bench", "-c", "user.email=bench@example.invalid"]
    timed(["git", *who, "commit", "-q", "-m", "toy"], project, environment(project))


def change(project: Path, x: int) -> None:
    """Give params.yaml a value that no run has seen."""
    (project / "params.yaml").write_text(f"x: {x}\n")


def environment(project: Path, url: str = "") -> dict[str, str]:
    """The environment of every command: the project's own copy of the code, no telemetry, a server if named."""
    own = {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(project),
        "PREFECT_HOME": str(project.parent / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "DVC_NO_ANALYTICS": "1",
    }
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    return kept | own | ({"PREFECT_API_URL": url} if url else {})


def timed(command: list[str], cwd: Path, env: dict[str, str] | None = None) -> float:
    """Wall-clock seconds of a command that must succeed."""
    started = time.perf_counter()
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(
            f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        )
    return time.perf_counter() - started


@contextmanager
def server(folder: Path) -> Iterator[tuple[str, float]]:
    """A Prefect server with a database of its own; its address, and the seconds until it answered."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(BIN / "prefect"), "server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui"]
    url, started = f"http://127.0.0.1:{port}/api", time.perf_counter()
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment(folder / "project"), stdout=log, stderr=log)
    try:
        wait_for(lambda: urllib.request.urlopen(f"{url}/health", timeout=2).status == 200)
        yield url, time.perf_counter() - started
    finally:
        process.terminate()
        process.wait()


def wait_for(ready: Callable[[], bool], limit_s: float = 90) -> None:
    """Return once `ready` is true; it may raise OSError until then."""
    until = time.perf_counter() + limit_s
    while time.perf_counter() < until:
        try:
            if ready():
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise SystemExit(f"the Prefect server did not answer within {limit_s} s")


def doors(project: Path, env: dict[str, str]) -> dict[str, float]:
    """Both doors in turn, with everything to do and with nothing to do; medians."""
    cli = [sys.executable, "-c", "import sys; from nightforge.cli import main; sys.exit(main())", "run"]
    repro = [str(BIN / "dvc"), "repro", "-q"]
    timed(cli, project, env)  # the first run of either compiles what it imports
    took: dict[str, list[float]] = {k: [] for k in ("run_flow_s", "noop_flow_s", "run_repro_s", "noop_repro_s")}
    for i in range(ROUNDS):
        for k, (door, command) in enumerate((("flow", cli), ("repro", repro))):
            change(project, 1 + 2 * i + k)
            took[f"run_{door}_s"].append(timed(command, project, env))
            took[f"noop_{door}_s"].append(timed(command, project, env))
    median = {k: statistics.median(v) for k, v in took.items()}
    return median | {
        "flow_overhead_per_stage_s": (median["run_flow_s"] - median["run_repro_s"]) / STAGES,
        "flow_vs_dvc_repro": median["run_flow_s"] / median["run_repro_s"],
    }


def stage_overhead(project: Path) -> float:
    """Seconds of `dvc repro -s` of one stage over those of its function, called here; medians."""
    spec = spec_from_file_location("toy0", project / "tasks" / "toy0.py")
    assert spec and spec.loader
    toy = module_from_spec(spec)
    spec.loader.exec_module(toy)
    outside, inside = [], []
    for i in range(2 * ROUNDS):
        change(project, 1_000 + i)
        outside.append(timed([str(BIN / "dvc"), "repro", "-q", "-s", "toy0"], project, environment(project)))
        started = time.perf_counter()
        toy.run(i, project / "data" / "n0", project.parent / "out")
        inside.append(time.perf_counter() - started)
    return statistics.median(outside) - statistics.median(inside)


def import_s() -> float:
    """Seconds that `import nightforge, nightforge.cli` adds to starting Python; medians, in turn."""
    bare, with_us = [], []
    for _ in range(IMPORTS):
        bare.append(timed([sys.executable, "-c", "pass"], ROOT))
        with_us.append(timed([sys.executable, "-c", "import nightforge, nightforge.cli"], ROOT))
    return statistics.median(with_us) - statistics.median(bare)


if __name__ == "__main__":
    main()
