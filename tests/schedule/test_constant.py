"""Constant, by hand."""

import pytest

from nightforge.schedule import constant
from nightforge.training import At


@pytest.mark.parametrize(("share", "first"), [(0.0, [1.0, 1.0, 1.0]), (0.3, [1 / 3, 2 / 3, 1.0])])
def test_by_hand(share: float, first: list[float]) -> None:
    factors = [constant.factor(At(step, 10), [], constant.Config(warmup_share=share)) for step in range(10)]
    assert factors == pytest.approx([*first, *[1.0] * 7])
