"""The range test: the same ratio from step to step, from start to peak."""

import pytest

from nightforge.schedule import range_test
from nightforge.training import At


def test_by_hand() -> None:
    factors = [range_test.factor(At(step, 5), [], range_test.Config(start=1e-4)) for step in range(5)]
    assert factors == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1.0])
