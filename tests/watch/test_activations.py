"""Dead and saturated units, by hand."""

import pytest
import torch
from torch import nn

from nightforge.watch import activations


def seen(net: nn.Module, *batches: torch.Tensor, near: float = 0.001) -> dict[str, float]:
    watcher = activations.start(net, activations.Config(near=near))
    net(torch.ones_like(batches[0]))  # before it looks
    watcher.before()
    for x in batches:
        net(x)
    return watcher.read()


def test_a_unit_is_dead_if_it_never_fires_in_any_micro_batch() -> None:
    net = nn.Sequential(nn.ReLU())
    one = torch.tensor([[-1.0, 2.0, -3.0, -1.0], [-1.0, -2.0, -3.0, -1.0]])
    two = torch.tensor([[-1.0, -1.0, 5.0, 0.0]])
    assert seen(net, one) == {"dead_share/0": 0.75, "saturated_share/0": 7 / 8}
    assert seen(net, one, two) == {"dead_share/0": 0.5, "saturated_share/0": 10 / 12}


def test_channels_of_a_picture_are_units() -> None:
    x = torch.full((2, 3, 2, 2), -1.0)
    x[1, 2, 0, 1] = 1.0
    assert seen(nn.Sequential(nn.ReLU()), x)["dead_share/0"] == pytest.approx(2 / 3)


def test_bounds_of_a_squashing_function_saturate_on_both_sides() -> None:
    x = torch.tensor([[-9.0, 9.0, 0.0, 1.0]])
    assert seen(nn.Sequential(nn.Tanh()), x, near=0.01) == {"dead_share/0": 0.5, "saturated_share/0": 0.5}
    assert seen(nn.Sequential(nn.Sigmoid()), x, near=0.01) == {"dead_share/0": 0.5, "saturated_share/0": 0.5}


def test_activations_of_transformers_are_found_and_softmax_is_none() -> None:
    from transformers.activations import ACT2FN

    net = nn.ModuleDict({"gelu": ACT2FN["gelu_new"], "silu": ACT2FN["silu"], "soft": nn.Softmax(-1)})
    assert activations.start(net, activations.SAMPLE).modules.keys() == {"gelu", "silu"}


def test_one_module_may_serve_two_widths() -> None:
    got = seen(nn.Sequential(nn.ReLU()), torch.tensor([[1.0, -1.0]]), torch.tensor([[-1.0, -1.0]]), torch.ones(1, 6))
    assert got == {"dead_share/0": pytest.approx(1 / 8), "saturated_share/0": 3 / 10}


def test_it_is_gone_when_it_has_looked() -> None:
    net = nn.Sequential(nn.ReLU())
    seen(net, torch.ones(1, 2))
    assert not net[0]._forward_hooks
