"""Linear, by hand and against torch's LinearLR."""

import pytest
import torch

from nightforge.schedule import linear
from nightforge.training import At


def test_by_hand() -> None:
    cfg = linear.Config(warmup_share=0.2, floor=0.2)
    assert [linear.factor(At(step, 10), [], cfg) for step in range(10)] == pytest.approx(
        [0.5, 1.0, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3]
    )


def test_after_the_rise_it_is_torchs() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1.0, end_factor=0.25, total_iters=36)
    for step in range(4, 40):
        ours = linear.factor(At(step, 40), [], linear.Config(warmup_share=0.1, floor=0.25))
        assert ours == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        theirs.step()
