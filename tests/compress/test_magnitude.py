"""Zeros by magnitude: by hand, by rate, by threshold, over all layers, and in patterns."""

import pytest
import torch
from hypothesis import given as drawn
from hypothesis import strategies as st
from pydantic import ValidationError

from nightforge.compress import _prune, magnitude
from nightforge.errors import DataError
from tests.small_lm import Small


def config(**values: object) -> magnitude.Config:
    return magnitude.Config(**magnitude.SAMPLE.model_dump() | values)


def zeros(model: object) -> dict[str, float]:
    """Share of zeros of each linear layer of the blocks."""
    modules = dict(model.named_modules())  # type: ignore[attr-defined]
    return {n: float((m.weight == 0).float().mean()) for n, m in modules.items() if n.endswith("_proj")}


def test_which_of_a_row_go_by_hand() -> None:
    scores = torch.tensor([[3.0, 1.0, 2.0, 4.0, 1.0, 1.0, 1.0, 1.0]])
    assert _prune.lowest(scores, "2 of 4").int().tolist() == [[0, 1, 1, 0, 1, 1, 0, 0]]  # of equal ones the first
    assert _prune.lowest(scores, "1 of 2").int().tolist() == [[0, 1, 1, 0, 1, 0, 1, 0]]
    assert _prune.lowest(scores, 0.25).int().tolist() == [[0, 1, 0, 0, 1, 0, 0, 0]]
    assert not _prune.lowest(scores, 0.1).any()  # a rate is rounded down, so that never more goes than was asked


@drawn(st.integers(0, 9999), st.floats(0.01, 0.99), st.integers(1, 5))
def test_the_cut_over_all_is_the_value_of_that_rank(seed: int, rate: float, layers: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    weights = [torch.randn(7, 5, generator=generator) * 10.0 ** (i - 3) for i in range(layers)]
    every = torch.cat([w.flatten() for w in weights]).abs().sort().values
    count = int(rate * len(every))
    assert magnitude.cut(weights, rate) == (float(every[count - 1]) if count else -1.0)


def test_by_rate_in_each_layer_and_over_all(small: Small) -> None:
    each = zeros(magnitude.apply(small.held(), small.given, magnitude.SAMPLE).model)
    together = zeros(magnitude.apply(small.held(), small.given, config(scope="all")).model)
    assert len(each) == 21 and set(each.values()) == {0.5}
    assert len(set(together.values())) > 1
    sizes = {n: m.weight.numel() for n, m in small.model.named_modules() if n in together}
    assert sum(together[n] * sizes[n] for n in sizes) == int(0.5 * sum(sizes.values()))


def test_by_threshold_in_standard_deviations(small: Small) -> None:
    held = magnitude.apply(small.held(), small.given, config(sparsity=None, threshold=0.5))
    name = "model.layers.1.mlp.up_proj"
    before, after = (m.get_submodule(name).weight.detach() for m in (small.model, held.model))
    assert torch.equal(after == 0, before.abs() < 0.5 * before.std())
    assert after[after != 0].equal(before[after != 0])
    assert 0.3 < zeros(held.model)[name] < 0.5  # of a normal distribution 0.38


def test_a_pattern_holds_in_every_group_and_costs_more_than_the_same_share(small: Small) -> None:
    held = magnitude.apply(small.held(), small.given, config(sparsity="2 of 4"))
    weight = held.model.get_submodule("model.layers.0.mlp.down_proj").weight
    assert ((weight.reshape(len(weight), -1, 4) == 0).sum(-1) == 2).all()
    free = magnitude.apply(small.held(), small.given, magnitude.SAMPLE)
    assert small.nats(held.model) > small.nats(free.model) > small.nats(small.model)


def test_a_layer_that_the_pattern_does_not_fit_is_named(small: Small) -> None:
    held = small.held()
    held.model.model.layers[0].mlp.up_proj = torch.nn.Linear(63, 128)  # whatever else is wrong with such a model
    magnitude.apply(held, small.given, config(sparsity="2 of 4"))
    assert held.skipped == {"model.layers.0.mlp.up_proj": "not pruned: its 63 inputs are no multiple of 4"}


def test_weights_that_are_not_numbers_are_refused(small: Small) -> None:
    held = small.held()
    held.model.model.layers[2].self_attn.q_proj.weight.data[1, 1] = torch.nan
    with pytest.raises(DataError, match=r"layers\.2\.self_attn\.q_proj"):
        magnitude.apply(held, small.given, magnitude.SAMPLE)


@pytest.mark.parametrize(
    "values",
    [
        {"sparsity": None},
        {"threshold": 1.0},
        {"sparsity": "4 of 4"},
        {"sparsity": "2:4"},
        {"sparsity": 1.0},
        {"sparsity": "2 of 4", "scope": "all"},
    ],
)
def test_what_cannot_be_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        config(**values)


def test_the_schedule_by_hand() -> None:
    """Half way, 7/8 of the way is made; it never falls, and it stays where it ends."""
    assert _prune.sparsity_at(0, 100, 0.8, 0.2) == pytest.approx(0.2)
    assert _prune.sparsity_at(50, 100, 0.8) == pytest.approx(0.7)
    assert _prune.sparsity_at(100, 100, 0.8) == _prune.sparsity_at(500, 100, 0.8) == pytest.approx(0.8)
    rising = [_prune.sparsity_at(t, 20, 0.9, 0.1) for t in range(25)]
    assert rising == sorted(rising)
