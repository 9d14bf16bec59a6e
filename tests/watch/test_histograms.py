"""Quantiles of weights and gradients, by hand."""

import numpy as np
import pytest
import torch

from nightforge.watch import histograms


def test_quantiles_are_numpys() -> None:
    net = torch.nn.ModuleDict({"0": torch.nn.Linear(30, 20)})
    for p in net.parameters():
        p.grad = torch.randn_like(p)
    watcher = histograms.start(net, histograms.Config(quantiles=[0.0, 0.3, 1.0], values=100_000, depth=1))
    watcher.graded(list(net.parameters()))
    got = watcher.read()
    for what, of in (("weight", lambda p: p.detach()), ("gradient", lambda p: p.grad)):
        every = np.concatenate([of(p).numpy().ravel() for p in net.parameters()])
        for q in (0.0, 0.3, 1.0):
            assert got.pop(f"{what}/{q}/0") == pytest.approx(float(np.quantile(every, q)), abs=1e-6)
    assert got == {} and watcher.read() == {}


def test_a_large_tensor_is_thinned_evenly() -> None:
    net = torch.nn.Module()
    net.table = torch.nn.Parameter(torch.arange(1001.0))
    watcher = histograms.start(net, histograms.Config(quantiles=[0.0, 0.5, 1.0], values=101, depth=1))
    net.table.grad = torch.zeros(1001)
    watcher.graded([net.table])
    got = watcher.read()
    assert [got[f"weight/{q}/table"] for q in (0.0, 0.5, 1.0)] == [0.0, 500.0, 1000.0]
