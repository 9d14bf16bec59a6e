"""Cosine by hand, and against transformers' schedule."""

import math

import pytest
import torch
from transformers import get_cosine_schedule_with_warmup

from nightforge.schedule import cosine
from nightforge.training import At


def test_by_hand() -> None:
    cfg = cosine.Config(warmup_share=0.2, floor=0.1)
    factors = [cosine.factor(At(step, 10), [], cfg) for step in range(10)]
    assert factors[:3] == pytest.approx([0.5, 1.0, 1.0])
    assert factors[6] == pytest.approx(0.55)
    assert factors[9] == pytest.approx(0.1 + 0.45 * (1 + math.cos(math.pi * 7 / 8)))


def test_is_transformers_but_that_its_rise_begins_above_zero() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = get_cosine_schedule_with_warmup(optimizer, 5, 50)
    for step in range(50):
        ours = cosine.factor(At(step, 50), [], cosine.Config(warmup_share=0.1, floor=0.0))
        if step >= 5:
            assert ours == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        else:
            assert ours == pytest.approx(optimizer.param_groups[0]["lr"] + 1 / 5)
        optimizer.step()
        theirs.step()
