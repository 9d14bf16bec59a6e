"""GPTQ against its definition, column by column, and against rounding alone."""

from itertools import product

import pytest
import torch
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from nightforge import blocks, grids
from nightforge.compress import _descent, _hessian, gptq, rtn
from nightforge.errors import DataError
from nightforge.grids import Grid, Spec
from tests.small_lm import Small


def case(seed: int, outputs: int, inputs: int, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A weight, and the Gram matrix of inputs that hang together."""
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(tokens, inputs, generator=rng) @ torch.randn(inputs, inputs, generator=rng) / inputs**0.5
    return torch.randn(outputs, inputs, generator=rng), x.T @ x


def lost(weight: torch.Tensor, gram: torch.Tensor, values: torch.Tensor) -> float:
    """‖(W − Ŵ)X‖²."""
    error = (weight - values).double()
    return float((error @ gram.double() * error).sum())


def by_definition(weight: torch.Tensor, gram: torch.Tensor, spec: Spec, damp: float, order: list[int]) -> torch.Tensor:
    """Optimal brain quantization in a given order: the inverse of what is left is taken anew at each column."""
    energy = gram.diagonal()
    scales, zeros = grids.fit(weight, spec, energy + damp * energy.mean())
    hessian = gram.double() + torch.eye(len(gram)).double() * damp * energy.mean()
    now, left = weight.double().clone(), list(order)
    for column in order:
        block = column // spec.block_size
        scale, zero = scales[:, block].double(), zeros[:, block].double()
        settled = ((now[:, column] / scale + zero).round().clamp(0, spec.levels - 1) - zero) * scale
        inverse = torch.linalg.inv(hessian[left][:, left])
        here = left.index(column)
        change = torch.outer((now[:, column] - settled) / inverse[here, here], inverse[here])
        now[:, left] -= change
        now[:, column] = settled
        left.remove(column)
    return now.float()


@pytest.mark.parametrize("act_order", [True, False])
@pytest.mark.parametrize("symmetric", [True, False])
def test_it_is_optimal_brain_quantization_in_its_order(act_order: bool, symmetric: bool) -> None:
    weight, gram = case(1, 6, 40, 200)  # 40 is not a multiple of 16
    spec = Spec(4, 16, symmetric)
    grid = gptq.rounded(weight, gram, spec, 0.01, act_order, 0)
    order = gram.diagonal().argsort(descending=True, stable=True).tolist() if act_order else list(range(40))
    torch.testing.assert_close(grid.values(), by_definition(weight, gram, spec, 0.01, order), rtol=1e-4, atol=1e-4)


@settings(deadline=None, max_examples=30)
@drawn(st.integers(0, 999), st.sampled_from([2, 3, 4]), st.booleans(), st.integers(30, 300))
def test_it_loses_less_than_rounding(seed: int, bits: int, symmetric: bool, inputs: int) -> None:
    weight, gram = case(seed, 16, inputs, 2 * inputs)
    spec = Spec(bits, 32, symmetric)
    nearest = grids.encode(weight, spec, *grids.fit(weight, spec)).values()
    assert lost(weight, gram, gptq.rounded(weight, gram, spec, 0.01, True, 0).values()) < 0.8 * lost(
        weight, gram, nearest
    )


def test_inputs_that_hang_together_in_nothing_leave_rounding() -> None:
    weight, _ = case(3, 8, 64, 1)
    spec = Spec(4, 32, True)
    grid = gptq.rounded(weight, torch.eye(64), spec, 0.01, True, 0)
    assert grid.values().equal(grids.encode(weight, spec, *grids.fit(weight, spec, torch.ones(64))).values())


@pytest.mark.parametrize("tokens", [0, 1, 5])
def test_a_singular_hessian_and_inputs_that_never_come(tokens: int) -> None:
    weight, gram = case(4, 8, 48, tokens)
    gram[:, 7] = gram[7] = 0
    weight[2] = 0
    grid = gptq.rounded(weight, gram, Spec(4, 16, True), 0.01, True, 0)
    assert grid.values().isfinite().all() and not grid.values()[2].any()
    assert (grid.values() - weight).abs().max() < weight.abs().max()


def test_what_is_pruned_stays_zero() -> None:
    weight, gram = case(5, 8, 64, 200)
    weight[:, ::2] = 0
    for symmetric in (True, False):
        assert not gptq.rounded(weight, gram, Spec(4, 32, symmetric), 0.01, True, 2).values()[:, ::2].any()


def test_a_hessian_that_damping_leaves_singular_is_damped_more_and_said_so() -> None:
    weight, gram = case(6, 8, 48, 3)
    with pytest.warns(UserWarning, match="singular at damp 1e-18"):
        grid = gptq.rounded(weight, gram, Spec(4, 16, True), 1e-18, True, 1)
    assert grid.values().isfinite().all()


@settings(deadline=None, max_examples=30)
@drawn(st.integers(0, 999), st.sampled_from([2, 4]), st.booleans(), st.integers(20, 80))
def test_scales_and_integers_in_turns_never_lose_more(seed: int, bits: int, symmetric: bool, inputs: int) -> None:
    weight, gram = case(seed, 8, inputs, 2 * inputs)
    spec, hessian = Spec(bits, 16, symmetric), _hessian.regular(gram, 0.01)
    grid = grids.encode(weight, spec, *grids.fit(weight, spec))
    for _ in range(3):
        before = lost(weight, hessian, grid.values())
        grid = _descent.rescaled(weight, hessian, grid)
        between = lost(weight, hessian, grid.values())
        grid = _descent.rounded_anew(weight, hessian, grid)
        assert lost(weight, hessian, grid.values()) <= between * (1 + 1e-5) <= before * (1 + 1e-4)


def test_scales_are_those_of_least_squares() -> None:
    weight, gram = case(7, 5, 40, 200)
    spec, hessian = Spec(4, 16, False), _hessian.regular(gram, 0.01)
    grid = grids.encode(weight, spec, *grids.fit(weight, spec))
    root = torch.linalg.cholesky(hessian, upper=True)  # ‖W Uᵀ‖ = ‖W X‖
    for row, scales in enumerate(_descent.rescaled(weight, hessian, grid).scales):
        steps = torch.zeros(40, 3, dtype=torch.float64)
        for i, block in enumerate(grid.block_of()):
            steps[i, block] = float(grid.ints[row, i]) - float(grid.zeros[row, block])
        best = torch.linalg.lstsq(root @ steps, root @ weight[row].double()).solution
        torch.testing.assert_close(scales.double(), best, rtol=2**-11, atol=1e-6)  # a half away at most


def test_no_integer_alone_could_be_better_when_rounds_change_nothing() -> None:
    weight, gram = case(8, 2, 24, 100)
    spec, hessian = Spec(3, 8, True), _hessian.regular(gram, 0.01)
    grid = grids.encode(weight, spec, *grids.fit(weight, spec))
    for _ in range(20):
        grid = _descent.rounded_anew(weight, hessian, grid)
    best = lost(weight, hessian, grid.values())
    for row, column, new in product(range(2), range(24), range(8)):
        ints = grid.ints.clone()
        ints[row, column] = new
        assert lost(weight, hessian, Grid(spec, ints, grid.scales, grid.zeros).values()) >= best * (1 - 1e-6)


def test_on_a_model_it_loses_less_than_rounding_at_two_bits(small: Small) -> None:
    cfg = gptq.SAMPLE.model_copy(update={"bits": 2})
    held = gptq.apply(small.held(), small.given, cfg)
    nearest = rtn.apply(small.held(), small.given, rtn.SAMPLE.model_copy(update={"bits": 2}))
    assert len(held.grids) == 3 * 7
    for name, grid in held.grids.items():
        assert held.model.get_submodule(name).weight.equal(grid.values())
    dense = small.nats(small.model)
    assert small.nats(held.model) - dense < 0.7 * (small.nats(nearest.model) - dense)


def test_weights_that_are_not_finite_are_refused(small: Small) -> None:
    held = small.held()
    held.model.model.layers[1].mlp.up_proj.weight.data[3, 4] = torch.nan
    with pytest.raises(DataError, match=r"layers.1.mlp.up_proj"):
        gptq.apply(held, small.given, gptq.SAMPLE)


def test_tied_embeddings_are_damped_more(small: Small) -> None:
    """What is looked up has not the Hessian of the output projection."""
    cfg = gptq.SAMPLE.model_copy(update={"layers": ["lm_head"], "rounds": 0})
    seen: list[torch.Tensor] = []
    blocks.walk(
        small.held().model, small.given.calibration, lambda _, __, m: seen.append(m["lm_head"].gram), ["lm_head"]
    )
    for tied, damp in ((True, gptq.TIED_DAMP), (False, cfg.damp)):
        held = small.held()
        if not tied:
            held.model.lm_head.weight = torch.nn.Parameter(held.model.lm_head.weight.detach().clone())
        weight = held.model.lm_head.weight.detach().clone()
        gptq.apply(held, small.given, cfg)
        wanted = gptq.rounded(weight, seen[0], cfg.spec, damp, True, 0)
        assert held.grids["lm_head"].ints.equal(wanted.ints)
