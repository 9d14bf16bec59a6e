"""A checkpoint is whole or not there: a disk that fills up leaves the one before it, and says so."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nightforge import loop
from nightforge.errors import ConfigError
from nightforge.training import Due, Turn
from tasks import checkpoint
from tests.training_contracts import Rows, Toy, final_weights, settings, toy_loss, toy_run

ROOT = Path(__file__).parent.parent.parent


def saved(work: Path, step: int) -> loop.Run:
    """A run of six steps, saved after one of them."""
    run = toy_run(steps=6, save_every=1, eval_every=2)
    for event in loop.steps(run, Rows(), lambda _: 1.0):
        if isinstance(event, Due) and event.step == step:
            checkpoint.save(work, run, {"step": step})
            break
    return run


def test_the_last_one_stays_and_a_half_written_one_is_none(tmp_path: Path) -> None:
    assert checkpoint.latest(tmp_path) is None
    saved(tmp_path, 2)
    saved(tmp_path, 3)
    (tmp_path / "checkpoint-00000004.partial").mkdir()
    assert [p.name for p in tmp_path.iterdir() if p.suffix != ".partial"] == ["checkpoint-00000003"]
    folder = checkpoint.latest(tmp_path)
    assert folder and checkpoint.plain(folder)["kept"] == {"step": 3}
    checkpoint.clear(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_restored_is_uninterrupted_bit_for_bit(tmp_path: Path) -> None:
    saved(tmp_path, 3)
    folder = checkpoint.latest(tmp_path)
    assert folder
    whole, again = (toy_run(steps=6, save_every=1, eval_every=2) for _ in range(2))
    checkpoint.restore(folder, again, checkpoint.plain(folder)["run"])
    assert again.step == 3
    assert final_weights(again) == final_weights(whole)


def test_one_of_another_network_is_refused(tmp_path: Path) -> None:
    run = saved(tmp_path, 2)
    folder = checkpoint.latest(tmp_path)
    assert folder
    plain = checkpoint.plain(folder)["run"]
    run.model.norm = None
    with pytest.raises(ConfigError, match=r"expected a checkpoint of this run, got one with .*norm"):
        checkpoint.restore(folder, run, plain)


@pytest.mark.parametrize(
    ("name", "layer", "complaint"),
    [
        ("table", torch.nn.Embedding(9, 8), r"got another: Size mismatch.*\[7, 8\].*\[9, 8\].*Delete it"),
        ("extra", torch.nn.Linear(8, 8), r"got one without model/extra\.bias\. Delete it"),
    ],
)
def test_one_of_another_shape_is_refused(tmp_path: Path, name: str, layer: torch.nn.Module, complaint: str) -> None:
    saved(tmp_path, 2)
    folder = checkpoint.latest(tmp_path)
    assert folder
    network = Toy()
    setattr(network, name, layer)
    run = loop.start(network, [Turn("", "", toy_loss)], settings(), 3, "fp32")
    with pytest.raises(ConfigError, match=complaint):
        checkpoint.restore(folder, run, checkpoint.plain(folder)["run"])


FILLS_UP = """
import resource, sys
from pathlib import Path
from tests.tasks.test_checkpoint import checkpoint, saved
work = Path(sys.argv[1])
saved(work, 2)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
saved(work, 4)
"""


@pytest.mark.parametrize("limit_bytes", [100, 8_000])
def test_a_disk_that_fills_up(tmp_path: Path, limit_bytes: int) -> None:
    """Files that may grow no further than so much: not even the header fits; the tensors do not, or `plain.pt`."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", FILLS_UP, str(tmp_path), str(limit_bytes)]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Transient" in done.stderr and "the checkpoint of step 4 could not be written" in done.stderr
    assert "That of step 2 is whole" in done.stderr and "File too large" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-00000002"]
    folder = checkpoint.latest(tmp_path)
    assert folder
    again = toy_run(steps=6, save_every=1, eval_every=2)
    checkpoint.restore(folder, again, checkpoint.plain(folder)["run"])
    assert again.step == 2
