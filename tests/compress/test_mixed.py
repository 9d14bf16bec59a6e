"""Bits by what layers are worth: the cost against measured divergence, the choice against brute force."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from nightforge import blocks, grids
from nightforge.blocks import Rows
from nightforge.compress import _quantize, gptq, mixed
from nightforge.compress._context import Context
from nightforge.compress._pass import Footprint
from nightforge.errors import ConfigError
from nightforge.grids import Spec
from tests.small_lm import Small

ALL = ["model.layers.*", "lm_head"]


@settings(deadline=None, max_examples=30)
@drawn(st.integers(0, 9999), st.integers(1, 4), st.floats(1.0, 3.0))
def test_the_choice_is_the_best_that_fits(seed: int, layers: int, room: float) -> None:
    rng = np.random.default_rng(seed)
    costs, sizes = rng.random((layers, 3)), rng.integers(1, 9, (layers, 3)).astype(float)
    limit = room * sizes.min(axis=1).sum()
    taken = mixed.choose(costs, sizes, limit)
    at = np.arange(layers)
    assert sizes[at, taken].sum() <= limit * (1 + 1e-9)
    best = min(
        costs[at, list(one)].sum() for one in product(range(3), repeat=layers) if sizes[at, list(one)].sum() <= limit
    )
    assert costs[at, taken].sum() <= best + 1e-3


def test_a_limit_that_nothing_fits_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"take 2\.000 MB"):
        mixed.choose(np.ones((2, 2)), np.full((2, 2), 8e6), 15e6)
    with pytest.raises(ConfigError, match=r"at least 4\.25"):
        mixed.check(
            Context("causal_lm", "transformers", True, {}), mixed.SAMPLE.model_copy(update={"bits_a_weight": 4})
        )


def test_the_cost_is_that_which_is_measured(small: Small) -> None:
    """KL divergence with one layer rounded, on the rows that the cost was taken on."""
    whole = small.held()
    layers = blocks.linears(whole.model, ALL)
    specs = [Spec(2, 32, True), Spec(3, 32, True), Spec(4, 32, True)]
    told = mixed.costs(whole, small.given, layers, specs, 50)
    rows = small.given.calibration[0]
    with torch.no_grad():
        dense = small.model(input_ids=rows.ids).logits[rows.mask].log_softmax(-1)
    measured = torch.zeros(len(layers), len(specs))
    for (i, name), (j, spec) in product(enumerate(layers), enumerate(specs)):
        held = small.held()
        layer = held.model.get_submodule(name)
        layer.weight.data = grids.encode(layer.weight, spec, *grids.fit(layer.weight.detach(), spec)).values()
        with torch.no_grad():
            now = held.model(input_ids=rows.ids).logits[rows.mask].log_softmax(-1)
        measured[i, j] = (dense.exp() * (dense - now)).sum()
    assert spearmanr(told.flatten(), measured.flatten()).statistic > 0.9
    ratio = told[:, 2].sum() / measured[:, 2].sum()
    assert 0.5 < ratio < 2, "nats, and not only an order"


def test_so_many_rows_are_measured_on_and_no_more() -> None:
    batches = [
        Rows(torch.arange(n * s).reshape(n, s), torch.ones(n, s, dtype=torch.bool)) for n, s in ((9, 300), (4, 200))
    ]
    for rows in (1, 3, 9, 11, 99):
        parts = list(mixed._parts(batches, rows))
        flat = torch.cat([part.ids.flatten() for part in parts])
        assert flat.equal(torch.cat([row for one in batches for row in one.ids][:rows]))
        assert all(part.ids.numel() <= mixed.TOKENS_AT_ONCE for part in parts)


def test_at_equal_bits_it_loses_less_than_the_same_for_all(small: Small) -> None:
    choices = [_quantize.Integers(bits=bits, block_size=32, symmetric=True) for bits in (2, 3, 4)]
    cfg = mixed.SAMPLE.model_copy(update={"choices": choices, "bits_a_weight": 3.5, "rows": 50})
    held = mixed.apply(small.held(), small.given, cfg)
    alike = {"layers": ALL, "bits": 3, "rounds": 1}
    uniform = gptq.apply(small.held(), small.given, gptq.SAMPLE.model_copy(update=alike))
    sizes = [sum(grid.size_bits for grid in one.grids.values()) for one in (held, uniform)]
    assert sizes[0] <= sizes[1] and len(held.grids) == 3 * 7 + 1
    assert small.nats(held.model) < small.nats(uniform.model)
    ((_, figures),) = held.notes
    assert figures["bits_a_weight"] <= 3.5 and figures["layers_2_bits_block_32"] > 0 < figures["layers_4_bits_block_32"]


def test_layers_that_are_computed_as_one_get_the_same_integers(small: Small) -> None:
    choices = [_quantize.Integers(bits=bits, block_size=32, symmetric=True) for bits in (2, 3, 4)]
    cfg = mixed.SAMPLE.model_copy(update={"choices": choices, "bits_a_weight": 3.2, "rows": 50})
    held = mixed.apply(small.held(), small.given, cfg)
    assert len({grid.spec for grid in held.grids.values()}) > 1
    for at in range(3):
        block = f"model.layers.{at}"
        for part, layers in (("self_attn", ("q_proj", "k_proj", "v_proj")), ("mlp", ("gate_proj", "up_proj"))):
            assert len({held.grids[f"{block}.{part}.{one}"].spec for one in layers}) == 1


def test_choices_that_differ_in_their_offset_alone_are_told_apart(small: Small) -> None:
    choices = [_quantize.Integers(bits=4, block_size=32, symmetric=one) for one in (True, False)]
    cfg = mixed.SAMPLE.model_copy(update={"choices": choices, "bits_a_weight": 4.56, "rows": 50})
    held = mixed.apply(small.held(), small.given, cfg)
    ((_, figures),) = held.notes
    around, offset = figures["layers_4_bits_block_32"], figures["layers_4_bits_block_32_offset"]
    assert around > 0 < offset and around + offset == len(held.grids)


def test_the_contract_may_say_the_size(small: Small) -> None:
    held = small.held()
    weights = [layer.weight for layer in blocks.linears(held.model, ["model.layers.*"]).values()]
    cfg = mixed.SAMPLE.model_copy(update={"bits_a_weight": None, "others_mb": 0.01})
    limited = type(small.given)(**{n: getattr(small.given, n) for n in small.given.__slots__} | {"size_mb_max": 0.3})
    norms = 7 * 64 * 32
    assert mixed.limit_bits(held, limited, cfg, weights) == pytest.approx(0.29 * 8e6 - norms - 400 * 64 * 32)
    held.grids["lm_head"] = grids.encode(w := held.model.lm_head.weight.data, s := Spec(8, 64, True), *grids.fit(w, s))
    assert mixed.limit_bits(held, limited, cfg, weights) == pytest.approx(0.29 * 8e6 - norms - 400 * 64 * 8.25)
    with pytest.raises(ConfigError, match="got neither"):
        mixed.apply(held, small.given, cfg)


def test_at_least_all_in_the_smallest() -> None:
    tensors = {"model.layers.0.mlp.up_proj.weight": Footprint((10, 64), 32), "model.norm.weight": Footprint((64,), 32)}
    assert [one.bits for one in mixed.least(tensors, mixed.SAMPLE).values()] == [4.25, 32]
