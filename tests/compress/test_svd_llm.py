"""What truncation loses is what the dropped singular values say, and no other factors of the rank lose less."""

import pytest
import torch
from hypothesis import given as drawn
from hypothesis import strategies as st

from nightforge import blocks
from nightforge.compress import _factor, _hessian, asvd, svd, svd_llm
from nightforge.errors import DataError
from tests.small_lm import Small


def case(seed: int, outputs: int, inputs: int, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A weight, and inputs (tokens, inputs) that hang together."""
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(tokens, inputs, generator=rng) @ torch.randn(inputs, inputs, generator=rng) / inputs**0.5
    return torch.randn(outputs, inputs, generator=rng).double(), x.double()


def lost(weight: torch.Tensor, gram: torch.Tensor, made: torch.Tensor) -> float:
    """tr(E G Eᵀ)."""
    error = weight - made
    return float((error @ gram * error).sum())


@drawn(st.integers(0, 999), st.integers(1, 15))
def test_the_loss_is_exactly_the_squares_of_the_dropped_singular_values(seed: int, rank: int) -> None:
    weight, x = case(seed, 16, 24, 80)
    gram = x.T @ x
    found = svd_llm.split(weight, gram, rank)
    made = found["up"] @ found["down"]
    dropped = torch.linalg.svdvals(weight @ torch.linalg.cholesky(gram))[rank:].square().sum()
    assert lost(weight, gram, made) == pytest.approx(float(dropped), rel=1e-6)
    assert float((x @ (weight - made).T).square().sum()) == pytest.approx(float(dropped), rel=1e-6)
    assert torch.linalg.matrix_rank(made) == rank


@drawn(st.integers(0, 999), st.integers(1, 15))
def test_no_other_factors_of_the_rank_lose_less(seed: int, rank: int) -> None:
    weight, x = case(seed, 16, 24, 80)
    gram, rng = x.T @ x, torch.Generator().manual_seed(seed)
    found = svd_llm.split(weight, gram, rank)
    best = lost(weight, gram, found["up"] @ found["down"])
    for step in (1e-3, 1e-1, 1.0):
        up = found["up"] + step * torch.randn(16, rank, generator=rng).double()
        down = found["down"] + step * torch.randn(rank, 24, generator=rng).double()
        assert best <= lost(weight, gram, up @ down) * (1 + 1e-9)
        fitted = weight @ gram @ down.T @ torch.linalg.inv(down @ gram @ down.T)  # the best `up` for a random `down`
        assert best <= lost(weight, gram, fitted @ down) * (1 + 1e-9)
    for other in (_factor.truncated(weight, rank), asvd.split(weight, x.abs().mean(0), rank, 0.5)):
        assert best <= lost(weight, gram, other["up"] @ other["down"]) * (1 + 1e-9)


@pytest.mark.filterwarnings("ignore:a Hessian of")
@pytest.mark.parametrize("tokens", [0, 1, 5])
def test_few_tokens_leave_factors_that_are_finite_and_near(tokens: int) -> None:
    weight, x = case(3, 16, 24, tokens)
    gram = _hessian.regular((x.T @ x).float(), 0.01)
    found = svd_llm.split(weight, gram, 15)
    made = found["up"] @ found["down"]
    assert made.isfinite().all()
    assert (weight - made).norm() < 0.5 * weight.norm(), "what data do not speak of is kept too"


def test_a_layer_is_factored_for_what_the_factored_ones_before_it_give(small: Small) -> None:
    """The last layer's Gram matrix, seen on a model whose other layers were factored, gives the same factors."""
    cfg = svd_llm.SAMPLE
    held = svd_llm.apply(small.held(), small.given, cfg)
    last = "model.layers.2.mlp.down_proj"
    before = small.held()
    svd_llm.apply(before, small.given, cfg.model_copy(update={"layers": ["model.layers.0.*", "model.layers.1.*"]}))
    seen: dict[str, blocks.Moments] = {}
    with torch.no_grad():
        blocks.walk(before.model, small.given.calibration, lambda _, layers, found: seen.update(found), [last])
    weight = small.model.get_submodule(last).weight.detach()
    found = svd_llm.split(weight, _hessian.regular(seen[last].gram, cfg.damp), _factor.rank((64, 128), 0.8))
    made = held.model.get_submodule(last)
    torch.testing.assert_close(made.up.weight @ made.down.weight, (found["up"] @ found["down"]).float())


@pytest.mark.parametrize("share", [0.8, 0.6])
def test_on_a_model_it_loses_far_less_than_the_other_two(small: Small, share: float) -> None:
    dense = small.nats(small.model)
    lost = {
        module.__name__: small.nats(
            module.apply(small.held(), small.given, module.SAMPLE.model_copy(update={"parameter_share": share})).model
        )
        - dense
        for module in (svd, asvd, svd_llm)
    }
    mine = lost.pop(svd_llm.__name__)
    assert 0 < mine < 0.3 * min(lost.values()), (mine, lost)


def test_a_model_that_overflows_is_refused(small: Small) -> None:
    held = small.held()
    held.model.model.layers[1].input_layernorm.weight.data *= 1e30
    with pytest.raises(DataError, match="expected activations that are finite"):
        svd_llm.apply(held, small.given, svd_llm.SAMPLE)
