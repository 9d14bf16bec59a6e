"""Cyclic, by hand and against torch's CyclicLR."""

import pytest
import torch

from nightforge.schedule import cyclic
from nightforge.training import At


def test_by_hand() -> None:
    cfg = cyclic.Config(cycles=2, floor=0.0, shrink=0.5)
    factors = [cyclic.factor(At(step, 8), [], cfg) for step in range(8)]
    assert factors == pytest.approx([0.25, 0.75, 0.75, 0.25, 0.125, 0.375, 0.375, 0.125])


def test_is_torchs_triangular2_read_in_the_middle_of_a_step() -> None:
    steps, cycles, base = 60, 3, 0.1
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=base)
    theirs = torch.optim.lr_scheduler.CyclicLR(
        optimizer, base, 1.0, step_size_up=steps // cycles, mode="triangular2", cycle_momentum=False
    )
    cfg = cyclic.Config(cycles=cycles, floor=base, shrink=0.5)
    for half in range(2 * steps):
        if half % 2:
            ours = cyclic.factor(At(half // 2, steps), [], cfg)
            assert ours == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-9)
        optimizer.step()
        theirs.step()


def test_more_cycles_than_steps_still_move() -> None:
    cfg = cyclic.Config(cycles=9, floor=0.0, shrink=1.0)
    assert [cyclic.factor(At(step, 3), [], cfg) for step in range(3)] == [1.0, 1.0, 1.0]
