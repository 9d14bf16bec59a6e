"""A toy project with stages of every temper, and one Prefect server for all tests of this folder."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOY_STAGE = Path(__file__).with_name("toy_stage.py")

os.environ["PATH"] = f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}"  # dvc, prefect, and our python

DVC_YAML = """
stages:
  ingest: {cmd: python toy_stage.py ingest, deps: [toy_stage.py], params: [seed], outs: [data/raw]}
  gate:
    foreach: {raw: {artifact: data/raw}}
    do: {cmd: python toy_stage.py gate, deps: ["${item.artifact}"], params: [gate], outs: ["reports/gates/${key}.json"]}
  train:
    cmd: python toy_stage.py train
    deps: [data/raw, reports/gates/raw.json]
    params: [train]
    outs: [models/dense]
    meta: {pool: gpu}
  compress: {cmd: python toy_stage.py compress, deps: [models/dense], outs: [models/compressed]}
  accept:
    cmd: python toy_stage.py accept
    deps: [models/dense, models/compressed, models/champion.json]
    params: [contract]
    metrics: [metrics/accept.json]
  report: {cmd: python toy_stage.py report, deps: [metrics/accept.json], outs: [reports/index.html]}
  verdict:
    cmd: python toy_stage.py verdict
    deps: [metrics/accept.json, reports/index.html]
    outs: [reports/gates/compressed.json]
  side:
    cmd: python toy_stage.py side
    deps: [toy_stage.py]
    params: [side]
    outs: [data/side]
    meta: {retries: 2, timeout_s: 4}
"""

PARAMS_YAML = """\
# values of the toy
seed: 1  # of every choice
train:
  loop:
    optimizer:
      lr: 0.1  # peak
    steps: 2
    step_s: 0.01
contract: {max_quality_loss: 0.01, max_size_share: 0.25}
gate: {closed: false}
side: {luck: good}
report: {title: Toy}

"""


def sh(*command: str, cwd: Path) -> str:
    ended = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{command}: {ended.stdout}{ended.stderr}"
    return ended.stdout


@pytest.fixture(scope="session")
def _template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A committed toy project that has never run."""
    project = tmp_path_factory.mktemp("template") / "toy"
    fill(project)
    sh("git", "init", "-q", "-b", "main", cwd=project)
    sh("dvc", "init", "-q", cwd=project)
    commit(project)
    return project


def fill(project: Path) -> None:
    (project / "models").mkdir(parents=True)
    (project / "dvc.yaml").write_text(DVC_YAML)
    (project / "params.yaml").write_text(PARAMS_YAML)
    (project / "models" / "champion.json").write_text('{"champion": null}\n')
    (project / ".gitignore").write_text(".nightforge/\n__pycache__/\n")
    shutil.copy(TOY_STAGE, project / "toy_stage.py")


def commit(project: Path) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false")
    sh("git", "add", "-A", cwd=project)
    sh("git", *identity, "commit", "-q", "--no-verify", "-m", "toy", cwd=project)


@pytest.fixture
def toy(_template: Path, tmp_path: Path) -> Path:
    """A toy project of one's own."""
    return shutil.copytree(_template, tmp_path / "toy")


@pytest.fixture
def edit() -> Callable[[Path, str, str], None]:
    """Change a project's params.yaml by replacing a piece of its text."""

    def replace(project: Path, old: str, new: str) -> None:
        path = project / "params.yaml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return replace


@pytest.fixture(autouse=True)
def _own_prefect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the user's own Prefect."""
    for name in ("NIGHTFORGE_HOME", "PREFECT_HOME", "PREFECT_API_URL", "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole checkout: our code with the toy's dvc.yaml at its root and, in `examples/sub`, a project in a folder."""
    folder = tmp_path_factory.mktemp("checkout") / "co"
    fill(folder)
    for room in ("flows", "tasks", "nightforge"):
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "prefect.yaml", folder)
    fill(folder / "examples" / "sub")
    sh("git", "init", "-q", "-b", "main", cwd=folder)
    sh("dvc", "init", "-q", cwd=folder)
    sh("dvc", "init", "-q", "--subdir", cwd=folder / "examples" / "sub")
    commit(folder)
    return folder


@pytest.fixture(scope="session")
def ui(checkout: Path) -> Iterator[str]:
    """The API address of `nightforge ui` in that checkout, as users start it: server, pools, deployments, worker."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    log = checkout.parent / "ui.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "nightforge.cli", "ui", "--port", str(port)],
            cwd=checkout,
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        until = time.monotonic() + 120
        while "Nightforge UI:" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/api"
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0, log.read_text()


@pytest.fixture
def api(ui: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Flows of this process report to that server."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    monkeypatch.setenv("PREFECT_API_URL", ui)
    with temporary_settings({PREFECT_API_URL: ui}):
        yield ui
