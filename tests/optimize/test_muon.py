"""Muon: which weights it moves, and that its update is orthogonal and of AdamW's size."""

import pytest
import torch

from nightforge.optimize import muon
from nightforge.parameters import groups
from tests.training_contracts import Toy


def test_hidden_matrices_alone_and_adamw_for_the_rest() -> None:
    model = torch.nn.Sequential(Toy(), torch.nn.Conv2d(2, 3, 3))
    hidden, rest = muon.build(groups(model), muon.SAMPLE)
    names = {id(p): name for name, p in model.named_parameters()}
    held = [{names[id(p)] for group in o.param_groups for p in group["params"]} for o in (hidden, rest)]
    assert held[0] == {"0.layers.0.weight", "0.layers.1.weight", "0.head.weight"}  # wrapped, the head is not known
    assert "1.weight" in held[1] and "0.table.weight" in held[1]
    decay = {names[id(p)]: group["weight_decay"] for group in rest.param_groups for p in group["params"]}
    assert (decay["1.weight"], decay["1.bias"], decay["0.table.weight"]) == (0.1, 0.0, 0.0)
    bare = Toy()
    (by_muon, _) = muon.build(groups(bare), muon.SAMPLE)
    assert bare.head.weight not in set(by_muon.param_groups[0]["params"])


def test_without_a_matrix_adamw_is_alone() -> None:
    (only,) = muon.build(groups(torch.nn.LayerNorm(4)), muon.SAMPLE)
    assert isinstance(only, torch.optim.AdamW)


def test_the_update_is_near_orthogonal_and_its_elements_are_of_adamws_size() -> None:
    """Newton–Schulz brings singular values to 0.5 … 1.5; times 0.2·√(larger side), a square one has an RMS of 0.2."""
    layer = torch.nn.Linear(64, 32, bias=False)
    cfg = muon.SAMPLE.model_copy(update={"lr": 0.5, "weight_decay": 0.0, "momentum": 0.0})
    optimizer = muon.build(groups(layer), cfg)[0]
    before = layer.weight.detach().clone()
    generator = torch.Generator().manual_seed(0)
    layer.weight.grad = 100 * torch.randn(32, 64, generator=generator)
    optimizer.step()
    update = before - layer.weight.detach()
    values = torch.linalg.svdvals(update / (0.5 * 0.2 * 64**0.5))
    assert values.min() > 0.4 and values.max() < 1.6
    assert update.square().mean().sqrt().item() == pytest.approx(0.5 * 0.2 / 2**0.5, rel=0.3)
    assert (update * layer.weight.grad).sum() > 0  # downhill
