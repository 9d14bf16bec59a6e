"""The scale of logits, by hand."""

import pytest
import torch

from nightforge.watch import logit_scale
from tests.training_contracts import Toy


def test_all_logits_of_the_step_count_together() -> None:
    net = torch.nn.Identity()
    watcher = logit_scale.start(net, logit_scale.SAMPLE)
    watcher.before()
    net(torch.tensor([[1.0, -7.0], [2.0, 4.0]]))
    net(torch.tensor([[5.0]]))
    values = torch.tensor([1.0, -7.0, 2.0, 4.0, 5.0])
    assert watcher.read() == {"logit_std": pytest.approx(float(values.std(correction=0))), "logit_max": 7.0}
    assert watcher.read() == {} and not net._forward_hooks


def test_the_layer_that_makes_them_is_looked_at_where_there_is_one() -> None:
    net = Toy()
    watcher = logit_scale.start(net, logit_scale.SAMPLE)
    watcher.before()
    expected = net.head(torch.randn(3, 8)).abs().max()  # without the network's own forward
    assert watcher.read()["logit_max"] == pytest.approx(float(expected))


def test_a_network_without_logits_gives_nothing() -> None:
    net = torch.nn.Flatten()
    watcher = logit_scale.start(net, logit_scale.SAMPLE)
    watcher.before()
    net(torch.ones(2, 2, dtype=torch.int64))
    assert watcher.read() == {}
