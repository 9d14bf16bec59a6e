"""One cycle, step by step against torch's OneCycleLR."""

import pytest
import torch

from nightforge.schedule import one_cycle
from nightforge.training import At


@pytest.mark.parametrize(("steps", "share"), [(100, 0.3), (37, 0.25), (10, 0.5), (10, 0.9)])
def test_is_torchs(steps: int, share: float) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.0, steps, pct_start=share, cycle_momentum=False, div_factor=25, final_div_factor=1e4
    )
    cfg = one_cycle.Config(rise_share=share, start=1 / 25, floor=1 / 25e4)
    for step in range(steps):
        assert one_cycle.factor(At(step, steps), [], cfg) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        if step < steps - 1:
            theirs.step()


def test_one_step_is_at_the_peak() -> None:
    assert one_cycle.factor(At(0, 1), [], one_cycle.SAMPLE) == 1.0
