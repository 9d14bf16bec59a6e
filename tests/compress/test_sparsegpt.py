"""SparseGPT against least squares, against Wanda in its own measure, and on inputs that carry nothing."""

from dataclasses import replace

import pytest
import torch

from nightforge.blocks import Rows
from nightforge.compress import _hessian, gptq, magnitude, sparsegpt, wanda
from nightforge.errors import DataError
from tests.small_lm import Small


def layer(outputs: int, inputs: int, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A weight and the Gram matrix of inputs that depend on each other."""
    generator = torch.Generator().manual_seed(outputs + inputs)
    mixed = torch.randn(tokens, inputs, generator=generator) @ torch.randn(inputs, inputs, generator=generator)
    return torch.randn(outputs, inputs, generator=generator), mixed.T @ mixed / tokens


def lost(weight: torch.Tensor, pruned: torch.Tensor, gram: torch.Tensor) -> float:
    """Squared error of what the layer gives."""
    error = (pruned - weight).double()
    return float((error @ gram.double() * error).sum())


def test_the_factor_is_of_the_inverse() -> None:
    _, gram = layer(1, 24, 500)
    root = _hessian.inverse_root(gram, 0.01).double()
    damped = gram.double() + 0.01 * gram.diagonal().double().mean() * torch.eye(24)
    assert torch.equal(root, root.triu())
    torch.testing.assert_close(root.T @ root @ damped, torch.eye(24).double(), rtol=0, atol=1e-4)


def test_columns_that_are_given_up_are_made_up_for_by_least_squares() -> None:
    """All of the first columns to zero: the rest must become what least squares gives (OBS, Hassibi & Stork 1993)."""
    weight, gram = layer(5, 200, 900)  # more than one block of columns
    gone = torch.arange(200) < 60
    root = _hessian.inverse_root(gram, 1e-6)
    swept = _hessian.sweep(weight.clone(), root, lambda now, at: now[:, at] * ~gone[at])
    exact = gram.double() + 1e-6 * gram.diagonal().double().mean() * torch.eye(200)
    best = torch.linalg.solve(exact[~gone][:, ~gone], exact[~gone] @ weight.double().T).T
    torch.testing.assert_close(swept[:, ~gone].double(), best, rtol=1e-2, atol=1e-2)
    assert not swept[:, gone].any()


@pytest.mark.parametrize("sparsity", [0.5, "2 of 4", "4 of 8"])
def test_loses_less_of_what_the_layer_gives_than_wanda(sparsity: float | str) -> None:
    weight, gram = layer(64, 256, 2_000)
    ours = sparsegpt.pruned(weight.clone(), _hessian.inverse_root(gram, 0.01), sparsity)
    theirs = wanda.pruned(weight, gram.diagonal(), sparsity)
    assert float((ours == 0).float().mean()) == float((theirs == 0).float().mean()) == 0.5
    assert lost(weight, ours, gram) < 0.7 * lost(weight, theirs, gram)


def test_patterns_hold_and_cost_more(small: Small) -> None:
    pattern = sparsegpt.SAMPLE.model_copy(update={"sparsity": "2 of 4"})
    held = sparsegpt.apply(small.held(), small.given, pattern)
    weight = held.model.get_submodule("model.layers.2.mlp.down_proj").weight
    assert ((weight.reshape(len(weight), -1, 4) == 0).sum(-1) == 2).all()
    free = sparsegpt.apply(small.held(), small.given, sparsegpt.SAMPLE)
    by_size = magnitude.apply(small.held(), small.given, magnitude.SAMPLE)
    lost = [small.nats(one.model) - small.nats(small.model) for one in (free, by_size, held)]
    assert 0 < lost[0] < 0.5 * lost[1]
    assert lost[0] < lost[2]


def test_inputs_that_carry_nothing_go_first_and_fewer_tokens_than_inputs_are_borne(small: Small) -> None:
    held = small.held()
    rows = small.given.calibration[0]
    few = replace(small.given, calibration=[Rows(rows.ids[:1, :9], rows.mask[:1, :9])])
    held.model.model.layers[1].post_attention_layernorm.weight.data[:16] = 0
    sparsegpt.apply(held, few, sparsegpt.SAMPLE.model_copy(update={"sparsity": 0.25}))
    weight = held.model.get_submodule("model.layers.1.mlp.up_proj").weight
    assert weight.isfinite().all()
    assert torch.equal(weight == 0, (torch.arange(64) < 16).expand(128, 64))


def test_activations_that_are_not_finite_are_refused(small: Small) -> None:
    held = small.held()
    held.model.model.layers[0].input_layernorm.weight.data[0] = torch.inf
    with pytest.raises(DataError, match="finite"):
        sparsegpt.apply(held, small.given, sparsegpt.SAMPLE)


def test_zeros_outlast_rounding(small: Small) -> None:
    held = sparsegpt.apply(small.held(), small.given, sparsegpt.SAMPLE.model_copy(update={"sparsity": "2 of 4"}))
    layer = held.model.get_submodule("model.layers.0.mlp.up_proj")
    zeros = layer.weight == 0
    gptq.apply(held, small.given, gptq.SAMPLE)
    assert not layer.weight[zeros].any() and layer.weight[~zeros].any()
