"""The stage `train` in two processes: killed in any of its processes and run again, it is the uninterrupted run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from nightforge.errors import ConfigError
from nightforge.knowledge import Cloze
from nightforge.records import Record, content_id
from tasks import checkpoint, processes, shards
from tasks.hashing import sha256_tree
from tests import test_train_evaluate

ROOT = Path(__file__).parent.parent.parent
COMMAND = [sys.executable, "-m", "tasks", "train"]


def project(folder: Path, **parallel: Any) -> Path:
    """A project folder of that one stage."""
    texts = [f"a {size} {kind} of the {place}" for size in ("tall", "small", "rare") for kind in ("tree", "herb")
             for place in ("tropics", "Alps", "far north", "western coast of America")]  # fmt: skip
    records = [Record(id=content_id(t, "plant"), text=t, label="plant") for t in texts]
    shards.write(folder / "data/balanced", records[:16])
    shards.write(folder / "data/splits/validation", records[16:])
    test_train_evaluate.told(folder, [], [], list[Cloze]())
    (folder / "models").mkdir()
    (folder / "models/base.json").write_text('{"from": "scratch"}')
    stage = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["train"]
    stage["deps"] = [dep for dep in stage["deps"] if not dep.startswith("reports/")]
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"train": stage}}))
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    section = values["train"] | {"parallel": parallel, "eval_documents": 4}
    section["family"] |= test_train_evaluate.SHAPE
    small = {
        "steps": 150,
        "batch_size": 80,
        "accumulate": 4,
        "eval_every": 50,
        "save_every": 5,
        "precision": "fp32",
        "threads": 1,
    }
    section["loop"] |= small | {"patience": 1000}
    (folder / "params.yaml").write_text(yaml.safe_dump({"train": section, "seed": values["seed"]}))
    for name in ("nightforge", "tasks", "requirements.lock"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def run(folder: Path) -> dict[str, Any]:
    """The stage, to its end; its figures of speed."""
    done = subprocess.run(COMMAND, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads((folder / ".nightforge/last/train.json").read_text())["exit"] == 0
    speed: dict[str, Any] = json.loads((folder / "metrics/train.speed.json").read_text())
    return speed


def until(what: Any, seconds: float = 200) -> Any:
    """Wait for something, and return it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.02)
    raise AssertionError("it did not come")


def step(folder: Path) -> int:
    """Of the last checkpoint; 0 before the first."""
    work = next((folder / ".dvc" / "work").glob("train-*"), None)
    last = checkpoint.latest(work) if work else None
    return int(last.name[-8:]) if last else 0


@pytest.mark.slow
def test_killed_anywhere_and_run_again_is_the_uninterrupted_run(tmp_path: Path) -> None:
    """One of the two is killed: both begin again from the checkpoint. Then the stage is: both end. Then it goes on."""
    whole, killed = (project(tmp_path / name, name="ddp", processes=2, restarts=1) for name in ("whole", "killed"))
    assert run(whole)["resumed_from_step"] == 0
    child = subprocess.Popen(COMMAND, cwd=killed, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: step(killed))
    first = psutil.Process(child.pid).children()
    assert len(first) == 2
    first[1].kill()
    seen = step(killed)
    until(lambda: step(killed) > seen + 10)
    second = psutil.Process(child.pid).children()
    assert len(second) == 2 and not {p.pid for p in first} & {p.pid for p in second}
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    until(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in second), 10)
    assert 0 < step(killed) < 150
    assert run(killed)["resumed_from_step"] > 0
    for made in ("models/dense", "plots/train", "metrics/train.json"):
        assert sha256_tree(killed / made) == sha256_tree(whole / made), made
    assert step(killed) == 0, "a checkpoint was left behind"


def test_one_process_and_params_that_ask_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="expected to be run by `python -m tasks train` or by torchrun"):
        processes.joined({"name": "ddp"}).__enter__()
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert not processes.first()
    with pytest.raises(ConfigError, match=r"train\.parallel: expected a way to share the work.*got null"):
        processes.joined(None).__enter__()
