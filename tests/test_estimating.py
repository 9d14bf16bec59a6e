"""The forecast by hand: which events a run has, and what a step of another size takes."""

import numpy as np
import pytest

from nightforge import estimating, loop
from nightforge.training import Due, Evaluated
from tests.training_contracts import Rows, settings, toy_run

MEASURED = estimating.Measured(prepare=10.0, step=0.5, step_size=100.0, evaluation=3.0, save=2.0, finish=1.0)


def test_a_run_by_hand() -> None:
    run = settings(steps=100, eval_every=40, save_every=25)
    assert estimating.events(run) == (3, 6)  # 40, 80, 100; 25, 40, 50, 75, 80, 100
    forecast = estimating.seconds(MEASURED, run, mean_work=80.0)
    assert tuple(forecast) == pytest.approx((10.0, 100 * 0.4, 9.0, 12.0, 1.0))
    assert forecast.total == pytest.approx(72.0)


@pytest.mark.parametrize(("steps", "eval_every", "save_every"), [(1, 1, 1), (20, 6, 4), (12, 25, 5), (10, 5, 25)])
def test_events_are_those_that_the_loop_yields(steps: int, eval_every: int, save_every: int) -> None:
    run = toy_run(steps=steps, eval_every=eval_every, save_every=save_every, patience=99)
    events = list(loop.steps(run, Rows(), lambda _: 1.0))
    counted = (sum(isinstance(e, Evaluated) for e in events), sum(isinstance(e, Due) for e in events))
    assert estimating.events(run.settings) == counted


def test_work_counts_padding_and_batches_are_those_of_the_run() -> None:
    sizes = np.array([3, 5, 2, 5])
    assert estimating.work(sizes, [0, 1, 2]) == 15
    drawn = estimating.drawn(sizes, settings(batch_size=10), seed=3)
    assert len(drawn) == estimating.LOOKED_AT and all(len(rows) == 1 or len(rows) * 5 <= 15 for rows in drawn)


def test_twenty_tokens_a_parameter() -> None:
    assert estimating.hours(1_000_000, 20_000_000 / 3600) == pytest.approx(1.0)


def test_state_of_adamw_with_an_average() -> None:
    """Weights, gradients, best weights, two moments and the average: six numbers of four bytes each."""
    assert estimating.state_bytes(10, moments=2, ema=True) == 240


@pytest.mark.parametrize(
    ("duration_s", "words"),
    [(0.4, "0 s"), (59.7, "1 min 0 s"), (3599.6, "1 h 0 min"), (7260, "2 h 1 min"), (86400 * 17, "17 days")],
)
def test_in_words(duration_s: float, words: str) -> None:
    assert estimating.in_words(duration_s) == words
