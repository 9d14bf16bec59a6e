"""Warm-up, stable, decay: by hand."""

import pytest

from nightforge.schedule import warmup_stable_decay as wsd
from nightforge.training import At


def test_by_hand() -> None:
    cfg = wsd.Config(warmup_share=0.2, decay_share=0.4, floor=0.1)
    factors = [wsd.factor(At(step, 10), [], cfg) for step in range(10)]
    assert factors[:7] == pytest.approx([0.5, *[1.0] * 6])
    assert factors[7:] == pytest.approx([1 - 0.9 * (k / 4) ** 0.5 for k in (1, 2, 3)])


def test_without_a_fall_the_peak_stays() -> None:
    cfg = wsd.Config(warmup_share=0.0, decay_share=0.0, floor=0.0)
    assert [wsd.factor(At(step, 5), [], cfg) for step in range(5)] == [1.0] * 5


def test_a_longer_run_is_the_same_until_the_shorter_ones_fall() -> None:
    short, long = wsd.Config(warmup_share=0.1, decay_share=0.2, floor=0.0), wsd.Config(
        warmup_share=0.05, decay_share=0.1, floor=0.0
    )  # fmt: skip
    for step in range(80):
        assert wsd.factor(At(step, 100), [], short) == wsd.factor(At(step, 200), [], long)
