"""SGD with momentum, by hand."""

import pytest
import torch
from pydantic import ValidationError

from nightforge.optimize import sgd
from nightforge.parameters import groups


@pytest.mark.parametrize("nesterov", [False, True])
def test_three_steps_by_hand(nesterov: bool) -> None:
    layer = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(layer.weight, 1.0)
    torch.nn.init.constant_(layer.bias, 1.0)
    cfg = sgd.Config(lr=0.1, momentum=0.5, nesterov=nesterov, weight_decay=0.2)
    (optimizer,) = sgd.build(groups(layer), cfg)
    weight = bias = 1.0
    momentum_w = momentum_b = 0.0
    for gradient in (1.0, -2.0, 0.5):
        layer.weight.grad, layer.bias.grad = torch.tensor([[gradient]]), torch.tensor([gradient])
        optimizer.step()
        decayed = gradient + 0.2 * weight
        momentum_w, momentum_b = 0.5 * momentum_w + decayed, 0.5 * momentum_b + gradient
        weight -= 0.1 * (decayed + 0.5 * momentum_w if nesterov else momentum_w)
        bias -= 0.1 * (gradient + 0.5 * momentum_b if nesterov else momentum_b)
        assert layer.weight.item() == pytest.approx(weight, abs=1e-6)
        assert layer.bias.item() == pytest.approx(bias, abs=1e-6)


def test_nesterov_without_momentum_is_refused() -> None:
    with pytest.raises(ValidationError, match="momentum above zero"):
        sgd.Config(lr=0.1, momentum=0.0, nesterov=True, weight_decay=0.0)
