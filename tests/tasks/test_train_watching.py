"""A run as it is watched while it goes: boards, trackers, progress, the profile, and a step that fails."""

import json
import math
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nightforge import loop
from nightforge.errors import ConfigError, DataError
from nightforge.throughput import Work
from nightforge.training import Evaluated, Event, Stepped, Timed, Turn, Watched
from tasks import train_boards, train_profile
from tasks.trackers import HOME, Tracker, opened
from tests import training_contracts

WORK = Work(10.0, 1000.0, 100.0)
TIMED = Timed(2, {"data": 0.5, "wall": 1.0, "cpu": 1.0}, 20)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def stepped(step: int, loss: float = 1.5, units: int = 10, **logged: float) -> Stepped:
    return Stepped(step, loss, 0.1, 2.0, units, logged)


def shown(events: list[Event]) -> list[tuple[int, dict[str, float]]]:
    """What a board is given."""
    seen: list[tuple[int, dict[str, float]]] = []
    board = Tracker(lambda step, figures: seen.append((step, dict(figures))), lambda *_: None)
    assert list(train_boards.shown(iter(events), [board], WORK, 10)) == events, "events pass as they are"
    return seen


def test_a_board_gets_the_loss_at_every_look_and_a_bad_step_at_once() -> None:
    bad = stepped(4, math.nan, 0)
    look = Watched(2, {"grad_norm/a": 1.0})
    seen = shown([stepped(1), stepped(2), look, TIMED, stepped(3, skipped=1.0), Evaluated(3, 0.5, True), bad])
    assert [step for step, _ in seen] == [2, 2, 3, 3, 4]
    assert seen[0][1] == {"grad_norm/a": 1.0}
    assert seen[1][1].items() >= {"train/loss": 1.5, "speed/mfu": 0.2, "speed/time_share/data": 0.5}.items()
    assert seen[1][1]["speed/memory_peak_mb"] > 50
    assert seen[2][1]["train/skipped"] == 1 and seen[3][1]["validation/value"] == 0.5
    assert math.isnan(seen[4][1]["train/loss"])


def test_progress_says_loss_speed_and_what_is_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_boards, "PROGRESS_EVERY_S", 0.0)
    shown([stepped(1), stepped(2)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[1].startswith("[progress] 2/10 steps, loss 1.500, ")
    assert "units/s" in lines[1] and lines[1].endswith(" left at most")


@pytest.mark.slow
def test_trackers_keep_figures_and_samples_on_this_machine() -> None:
    import io

    import soundfile
    from PIL import Image

    picture, sound = io.BytesIO(), io.BytesIO()
    Image.fromarray(np.full((4, 4), 200, np.uint8)).save(picture, "png")
    soundfile.write(sound, np.zeros(80, np.float32), 8000, format="wav")
    with opened(["mlflow", "wandb"], "run-1", {"loop": {"steps": 3}}) as boards:
        assert len(boards) == 3
        for step in (1, 2):
            for board in boards:
                board.scalars(step, {"train/loss": 3.0 - step, "weight/0.05/model.layers.0": math.inf})
        samples = {"a.txt": b"a <b> tree", "b.png": picture.getvalue(), "c.wav": sound.getvalue()}
        train_boards.samples(boards, 2, samples)
    base = sqlite3.connect(HOME / "mlflow/mlflow.db")
    assert base.execute("select step, value from metrics where key = 'train/loss' order by step").fetchall() == [
        (1, 2.0), (2, 1.0)
    ]  # fmt: skip
    assert base.execute("select value from params where key = 'loop.steps'").fetchall() == [("3",)]
    assert base.execute("select status from runs").fetchall() == [("FINISHED",)]
    assert {p.name for p in HOME.glob("mlflow/artifacts/**/*") if p.is_file()} == {f"0000002-{n}" for n in samples}
    assert list(HOME.glob("wandb/offline-run-*/*.wandb"))
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(HOME / "tensorboard/train/run-1")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("train/loss")] == [(1, 2.0), (2, 1.0)]
    assert events.Tags()["images"] == ["samples/b.png"] and events.Tags()["audio"] == ["samples/c.wav"]


def test_a_tracker_that_is_not_installed_is_named_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with (
        pytest.raises(ConfigError, match=r"train\.trackers: wandb .*nightforge\[trackers\]"),
        opened(["wandb"], "r", {}),
    ):
        pass


def events(steps: int = 6) -> tuple[loop.Run, Iterator[Event]]:
    run = training_contracts.toy_run(steps=steps, eval_every=steps, save_every=steps)
    return run, loop.steps(run, training_contracts.Rows(), lambda _: 1.0)


def test_a_profile_tells_where_the_time_of_its_window_goes_and_changes_no_bit(
    capsys: pytest.CaptureFixture[str],
) -> None:
    plain, made = events()
    list(made)
    run, made = events()
    profile = train_profile.Profile(train_profile.Window(first_step=3, steps=2), 6, "run-1")
    list(profile.watch(made, 0))
    assert all(torch.equal(v, plain.model.state_dict()[k]) for k, v in run.model.state_dict().items())
    share = profile.table["share"]
    assert {"data", "forward", "backward", "optimizer", "idle"} <= share.keys()
    assert sum(share.values()) == pytest.approx(1) and min(share.values()) >= 0 and share["backward"] > 0
    calls = {one["name"]: one["calls"] for one in profile.table["operations"]}
    assert len(calls) == train_profile.TOP_OPERATIONS and "backward" not in calls
    trace = json.loads(Path(profile.table["trace"]).read_text())
    names = [event["name"] for event in trace["traceEvents"] if event.get("cat") == "user_annotation"]
    assert names.count("forward") == 2, "two steps"
    assert "optimizer" in capsys.readouterr().out
    json.dumps(profile.table, allow_nan=False)


def test_a_window_beyond_the_run_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"within the 6 steps of the run, got steps 5 to 7\. Lower first_step"):
        train_profile.Profile(train_profile.Window(first_step=5, steps=3), 6, "r")


def test_a_run_that_went_on_after_the_window_has_no_profile() -> None:
    _, made = events()
    profile = train_profile.Profile(train_profile.Window(first_step=1, steps=1), 6, "r")
    list(profile.watch(made, 3))
    assert profile.table == {}


def test_a_profiler_is_stopped_where_the_run_fails() -> None:
    def breaks(net: Any, tensors: Any, at: Any) -> tuple[torch.Tensor, dict[str, float]]:
        loss, logged = training_contracts.toy_loss(net, tensors, at)
        return loss * math.nan, logged

    run = training_contracts.toy_run()
    run = loop.start(run.model, [Turn("", "", breaks)], run.settings, 3, "fp32")
    profile = train_profile.Profile(train_profile.Window(first_step=1, steps=2), 4, "r")
    with pytest.raises(DataError):
        list(profile.watch(loop.steps(run, training_contracts.Rows(), lambda _: 1.0), 0))
    assert not torch.autograd._profiler_enabled() and profile.table == {}
