"""Adafactor: its first step by hand, and a state that grows with rows and columns, not with weights."""

import pytest
import torch

from nightforge.optimize import adafactor
from nightforge.parameters import groups


def test_the_first_step_by_hand() -> None:
    """At step 1 the memory is none, so a rank-one gradient is divided by itself: ±1 each, times size of the weights."""
    layer = torch.nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[3.0, 4.0], [0.0, 5.0]]))
    before = layer.weight.detach().clone()
    cfg = adafactor.Config(lr=0.01, beta2_decay=-0.8, eps=1e-3, update_clip=1.0, weight_decay=0.0)
    (optimizer,) = adafactor.build(groups(layer), cfg)
    layer.weight.grad = torch.outer(torch.tensor([1.0, -2.0]), torch.tensor([3.0, 1.0]))
    optimizer.step()
    rms = (50.0 / 4) ** 0.5
    moved = (layer.weight.detach() - before) / rms
    assert moved.flatten().tolist() == pytest.approx([-0.01, -0.01, 0.01, 0.01], rel=1e-4)


def test_its_state_is_rows_and_columns() -> None:
    layer = torch.nn.Linear(300, 200, bias=False)
    (optimizer,) = adafactor.build(groups(layer), adafactor.SAMPLE)
    layer(torch.ones(1, 300)).sum().backward()
    optimizer.step()
    assert sum(v.numel() for v in optimizer.state[layer.weight].values()) == 300 + 200 + 1
