"""Xavier: variance of weights by hand, and of activations through many linear layers."""

from typing import Literal

import pytest
import torch

from nightforge.initialise import xavier


@pytest.mark.parametrize("distribution", ["uniform", "normal"])
def test_variance_and_what_stays(distribution: Literal["uniform", "normal"]) -> None:
    model = torch.nn.Sequential(torch.nn.Embedding(9, 300), torch.nn.Linear(300, 500), torch.nn.Conv2d(20, 30, 5))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    torch.manual_seed(0)
    xavier.fill(model, xavier.Config(distribution=distribution, gain=2.0))
    assert model[1].weight.var().item() == pytest.approx(4 * 2 / 800, rel=0.03)
    assert model[2].weight.var().item() == pytest.approx(4 * 2 / (50 * 25), rel=0.05)
    limit = 2 * (6 / 800) ** 0.5
    assert (model[1].weight.abs().max() <= limit) == (distribution == "uniform")
    for name in ("0.weight", "1.bias", "2.bias"):
        assert torch.equal(model.state_dict()[name], before[name])


def test_through_many_layers_of_one_width_the_variance_stays() -> None:
    model = torch.nn.Sequential(*[torch.nn.Linear(400, 400, bias=False) for _ in range(20)])
    torch.manual_seed(0)
    xavier.fill(model, xavier.SAMPLE)
    assert model(torch.randn(200, 400)).var().item() == pytest.approx(1.0, rel=0.25)
