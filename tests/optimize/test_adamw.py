"""AdamW's first steps by hand, and which weights decay."""

import pytest
import torch

from nightforge.optimize import adamw
from nightforge.parameters import groups
from tests.training_contracts import Toy

CFG = adamw.Config(lr=0.1, beta1=0.9, beta2=0.99, eps=1e-8, weight_decay=0.5)


def test_two_steps_by_hand() -> None:
    """Bias-corrected, the first step is ±lr whatever the gradient; decay is taken from the weight, not the gradient."""
    layer = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(layer.weight, 2.0)
    torch.nn.init.constant_(layer.bias, 1.0)
    (optimizer,) = adamw.build(groups(layer), CFG)
    layer.weight.grad, layer.bias.grad = torch.tensor([[8.0]]), torch.tensor([-3.0])
    optimizer.step()
    assert layer.weight.item() == pytest.approx(2.0 * (1 - 0.1 * 0.5) - 0.1, abs=1e-6)
    assert layer.bias.item() == pytest.approx(1.0 + 0.1, abs=1e-6)
    layer.weight.grad = torch.tensor([[0.0]])
    layer.bias.grad = torch.tensor([-3.0])
    optimizer.step()
    mean, square = (0.9 * 0.1 * 8) / (1 - 0.9**2), (0.99 * 0.01 * 64) / (1 - 0.99**2)
    assert layer.weight.item() == pytest.approx(1.8 * 0.95 - 0.1 * mean / square**0.5, abs=1e-5)
    assert layer.bias.item() == pytest.approx(1.2, abs=1e-6)


def test_matrices_and_heads_decay_and_nothing_else() -> None:
    model = Toy()
    (optimizer,) = adamw.build(groups(model), CFG)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert {name for name, p in model.named_parameters() if decay[id(p)]} == {
        "layers.0.weight", "layers.1.weight", "head.weight"
    }  # fmt: skip


def test_a_part_without_biases_has_one_group() -> None:
    (optimizer,) = adamw.build(groups(torch.nn.Linear(2, 2, bias=False)), CFG)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.5]
