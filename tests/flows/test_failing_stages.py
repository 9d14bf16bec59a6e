"""A stage that fails: what lies below is not run, what may be retried is, and the exit code is the stage's own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from flows import run, walk

ROOT = Path(__file__).resolve().parents[2]
Edit = Callable[[Path, str, str], None]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "RETRY_DELAY_S", 0)


def tries(project: Path) -> int:
    return len((project / ".nightforge/tries").read_text())


@pytest.mark.slow
def test_closed_gate_stops_what_lies_below(toy: Path, edit: Edit, api: str, capfd: pytest.CaptureFixture[str]) -> None:
    edit(toy, "closed: false", "closed: true")
    assert run.main(toy) == 66
    out = capfd.readouterr().out
    assert "FAILED: gate@raw: GateClosed: expected more rows" in out
    assert "not run: train, compress, accept, report, verdict" in out
    page = (toy / "reports/failed.html").read_text()
    assert "gate@raw" in page and "expected more rows" in page
    assert not (toy / "models/dense").exists()
    assert (toy / "data/side").exists()  # beside the closed gate, not below it


@pytest.mark.slow
def test_a_project_that_judges_no_model_ends_well_and_says_so(
    toy: Path, api: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = toy / "dvc.yaml"
    path.write_text(path.read_text()[: path.read_text().index("  compress:")])
    assert run.main(toy) == 0
    assert "\nDONE: 3 stages up to date. There is no verdict: dvc.yaml has no gate over" in capfd.readouterr().out


@pytest.mark.slow
def test_closed_is_never_retried_and_transient_is(toy: Path, edit: Edit, api: str) -> None:
    edit(toy, "closed: false", "closed: true")  # or there would be more to run
    edit(toy, "luck: good", "luck: closed")
    assert run.main(toy) == 66
    assert tries(toy) == 1
    (toy / ".nightforge/tries").unlink()
    edit(toy, "luck: closed", "luck: transient")
    assert run.main(toy) == 66
    assert tries(toy) == 3
    assert (toy / "data/side").read_text() == "transient"


@pytest.mark.slow
def test_timeout_of_meta(toy: Path, edit: Edit, api: str, capfd: pytest.CaptureFixture[str]) -> None:
    edit(toy, "luck: good", "luck: hang")
    assert run.main(toy) == 124
    assert "FAILED: side: Timeout: ended at its limit of 4 s" in capfd.readouterr().out
    assert tries(toy) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_driver_that_is_ended_leaves_nothing_and_can_go_on(
    toy: Path, edit: Edit, ui: str, number: signal.Signals, code: int
) -> None:
    edit(toy, "steps: 2", "steps: 100")
    edit(toy, "step_s: 0.0", "step_s: 0.2")
    command = "import sys; from pathlib import Path; from flows import run; sys.exit(run.main(Path('.')))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PREFECT_API_URL": ui}
    log = toy.parent / "log"
    with log.open("w") as out:
        driver = subprocess.Popen([sys.executable, "-c", command], cwd=toy, env=environment, stdout=out, stderr=out)
    await_text(log, "train │ ")
    family = psutil.Process(driver.pid).children(recursive=True)
    assert any("toy_stage.py" in " ".join(p.cmdline()) for p in family)
    driver.send_signal(number)
    assert driver.wait(20) == code, log.read_text()
    assert psutil.wait_procs(family, timeout=10)[1] == []
    edit(toy, "step_s: 0.2", "step_s: 0.0")
    again = subprocess.run(
        [sys.executable, "-c", command], cwd=toy, env=environment, capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stdout + again.stderr
    assert "ingest │ unchanged" in again.stdout
    assert json.loads((toy / ".nightforge/accepted.jsonl").read_text())["run"] == "workspace"


def await_text(log: Path, text: str, within_s: float = 60) -> None:
    until = time.monotonic() + within_s
    while text not in log.read_text():
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.1)
