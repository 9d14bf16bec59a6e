"""Plateau, against torch's ReduceLROnPlateau on any evaluations."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nightforge.schedule import plateau
from nightforge.training import At

CFG = plateau.Config(warmup_share=0.0, patience=2, cut=0.5, floor=0.2)


def test_by_hand() -> None:
    seen = [3.0, 2.0, 2.0, 2.5, 2.6, 1.9, 2.0, 1.8, 1.8, 1.8, 1.8, 1.8]
    factors = [plateau.factor(At(5, 10), seen[:n], CFG) for n in range(len(seen) + 1)]
    assert factors == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.2]


@given(st.lists(st.integers(0, 5)), st.integers(1, 4))
def test_is_torchs(seen: list[int], patience: int) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=patience - 1, threshold=0.0, min_lr=0.2, eps=0.0
    )
    cfg = CFG.model_copy(update={"patience": patience})
    for n, value in enumerate(seen):
        theirs.step(value)
        ours = plateau.factor(At(5, 10), [float(v) for v in seen[: n + 1]], cfg)
        assert ours == pytest.approx(optimizer.param_groups[0]["lr"])
