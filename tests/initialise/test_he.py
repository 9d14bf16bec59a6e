"""He: variance of weights by hand, and of activations through many layers with ReLU."""

from typing import Literal

import pytest
import torch

from nightforge.initialise import he


@pytest.mark.parametrize("distribution", ["uniform", "normal"])
@pytest.mark.parametrize(("fan", "wide"), [("fan_in", 300), ("fan_out", 500)])
def test_variance(distribution: Literal["uniform", "normal"], fan: Literal["fan_in", "fan_out"], wide: int) -> None:
    model = torch.nn.Sequential(torch.nn.Embedding(9, 300), torch.nn.Linear(300, 500), torch.nn.Conv2d(20, 30, 5))
    table = model[0].weight.detach().clone()
    torch.manual_seed(0)
    he.fill(model, he.Config(distribution=distribution, fan=fan, slope=0.5))
    assert model[1].weight.var().item() == pytest.approx(2 / 1.25 / wide, rel=0.03)
    assert model[2].weight.var().item() == pytest.approx(2 / 1.25 / (25 * (20 if fan == "fan_in" else 30)), rel=0.05)
    assert torch.equal(model[0].weight, table)


def test_through_many_layers_with_relu_the_second_moment_stays() -> None:
    layers = [m for _ in range(10) for m in (torch.nn.Linear(800, 800, bias=False), torch.nn.ReLU())]
    model = torch.nn.Sequential(*layers)
    torch.manual_seed(0)
    he.fill(model, he.SAMPLE)
    assert model[:-1](torch.randn(200, 800)).square().mean().item() == pytest.approx(2.0, rel=0.5)  # 2⁻⁹ by 1 ÷ inputs
