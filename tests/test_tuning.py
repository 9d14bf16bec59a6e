"""A range test by hand: what is smoothed, where it ends, and which learning rate it gives."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightforge import tuning

RATES = [10.0**k for k in range(-6, 1)]


def test_smoothing_has_no_bias() -> None:
    assert tuning.smoothed([5.0, 5.0, 5.0]) == pytest.approx([5.0] * 3)
    assert tuning.smoothed([1.0, 2.0]) == pytest.approx([1.0, (0.7 * 0.3 * 1 + 0.3 * 2) / (1 - 0.49)])


def test_a_curve_by_hand() -> None:
    losses = [8.0, 8.0, 7.8, 5.0, 4.9, 4.9, 20.0]
    found = tuning.find(RATES, losses)
    assert found is not None
    assert found.steepest == 1e-3 and found.lowest == 1e-1
    assert found.suggested == 1e-3


def test_a_steep_fall_just_before_the_end_is_not_trusted() -> None:
    """A tenth of the lowest: a whole run at the edge would break."""
    found = tuning.find(RATES, [8.0, 8.0, 8.0, 8.0, 7.9, 4.0, 30.0])
    assert found is not None and found.suggested == pytest.approx(found.lowest / 10)


def test_a_loss_that_never_falls_gives_none() -> None:
    assert tuning.find(RATES, [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 9.0]) is None
    assert tuning.find(RATES, [2.0] * 7) is None


@given(st.lists(st.floats(0.1, 100), min_size=7, max_size=7))
def test_whatever_the_curve_the_suggestion_is_within_the_test(losses: list[float]) -> None:
    found = tuning.find(RATES, losses)
    assert found is None or 0 < found.suggested <= found.lowest <= RATES[-1]


def test_the_test_ends_where_the_loss_runs_away() -> None:
    assert not tuning.diverged([8.0, 7.0, 6.0])
    assert tuning.diverged([8.0, 2.0, 2.0, 2.0, 9.0])
    assert tuning.diverged([8.0, math.nan])


def test_doubling_goes_on_while_it_pays() -> None:
    assert tuning.goes_on([]) and tuning.goes_on([100.0, 90.0]) and tuning.goes_on([100.0, 103.0, 106.0])
    assert tuning.goes_on([50.0, 100.0, 90.0])  # one slow look may be chance
    assert not tuning.goes_on([50.0, 100.0, 90.0, 104.0])


@pytest.mark.parametrize(
    ("batch_size", "accumulate", "fastest", "expected"),
    [(512, 1, 2048, (512, 1)), (512, 1, 128, (128, 4)), (1024, 4, 2048, (2048, 2)), (100, 3, 100, (100, 3))],
)
def test_the_size_of_a_step_stays(batch_size: int, accumulate: int, fastest: int, expected: tuple[int, int]) -> None:
    assert tuning.same_steps(batch_size, accumulate, fastest) == expected
