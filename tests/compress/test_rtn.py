"""Rounding by hand, and what it does to a model."""

import pytest
import torch
from hypothesis import given as drawn
from hypothesis import strategies as st

from nightforge import grids
from nightforge.compress import distill, rtn
from nightforge.compress._context import Context, check_layers
from nightforge.compress._pass import Footprint
from nightforge.errors import ConfigError
from nightforge.grids import Spec
from tests.small_lm import Small


def test_symmetric_by_hand() -> None:
    """The value of largest magnitude is the lowest integer: scale = −3.5 / −4, so 1.75 lies at 4 + 2."""
    weight = torch.tensor([[-3.5, 1.75, 0.0, 0.4]])
    scales, zeros = grids.fit(weight, Spec(3, 16, True))
    grid = grids.encode(weight, Spec(3, 16, True), scales, zeros)
    assert scales.tolist() == [[0.875]]
    assert grid.ints.tolist() == [[0, 6, 4, 4]]
    assert grid.values().tolist() == [[-3.5, 1.75, 0.0, 0.0]]


def test_with_an_offset_by_hand() -> None:
    """From −1 to 2 in 3 steps of 1: zero lies at 1."""
    weight = torch.tensor([[-1.0, 2.0, 0.6, 0.2]])
    scales, zeros = grids.fit(weight, Spec(2, 16, False))
    grid = grids.encode(weight, Spec(2, 16, False), scales, zeros)
    assert (scales.tolist(), zeros.tolist()) == ([[1.0]], [[1]])
    assert grid.values().tolist() == [[-1.0, 2.0, 1.0, 0.0]]


@drawn(st.integers(0, 9999), st.sampled_from([2, 3, 4, 8]), st.booleans(), st.integers(1, 70))
def test_rounding_is_within_half_a_step_and_what_is_rounded_stays(
    seed: int, bits: int, symmetric: bool, inputs: int
) -> None:
    spec = Spec(bits, 32, symmetric)
    weight = torch.randn(3, inputs, generator=torch.Generator().manual_seed(seed))
    grid = grids.encode(weight, spec, *grids.fit(weight, spec))
    steps = grid.scales.abs()[:, grid.block_of()]
    slack = 1.0 if symmetric else 0.5  # the positive end of a symmetric grid is one step short
    short = 2**bits * 2**-11  # a scale is a half: the last level may lie so many steps from the end of the range
    assert ((grid.values() - weight).abs() <= steps * (slack + short + 0.01)).all()
    again = grids.encode(grid.values(), spec, grid.scales, grid.zeros)
    assert torch.equal(again.ints, grid.ints)
    assert grids.read(grid.tensors()).values().equal(grid.values())


def test_a_searched_range_loses_no_more() -> None:
    weight = torch.randn(64, 128, generator=torch.Generator().manual_seed(1)) ** 3
    spec = Spec(4, 32, True)
    plain, searched = (
        (grids.encode(weight, spec, *grids.fit(weight, spec, by)).values() - weight).square().sum()
        for by in (None, torch.ones(128))
    )
    assert searched < 0.98 * plain


def test_a_block_of_zeros_stays_zero() -> None:
    for symmetric in (True, False):
        spec = Spec(4, 16, symmetric)
        grid = grids.encode(torch.zeros(2, 16), spec, *grids.fit(torch.zeros(2, 16), spec))
        assert not grid.values().any() and (grid.scales == 1).all()


@drawn(st.integers(0, 9999), st.booleans(), st.floats(-12, 12))
def test_scales_are_halves_where_halves_can_hold_them(seed: int, symmetric: bool, magnitude: float) -> None:
    spec = Spec(4, 16, symmetric)
    weight = torch.randn(3, 32, generator=torch.Generator().manual_seed(seed)) * 10**magnitude
    for importance in (None, torch.ones(32)):
        scales, _ = grids.fit(weight, spec, importance)
        held = scales.half().float()
        assert ((scales == held) | held.isinf() | (held.abs() < torch.finfo(torch.float16).tiny)).all()
        assert (grids.encode(weight, spec, *grids.fit(weight, spec)).values() - weight).norm() < 0.2 * weight.norm()


def test_fewer_bits_lose_more(small: Small) -> None:
    lost = []
    for bits in (8, 4, 3, 2):
        held = rtn.apply(small.held(), small.given, rtn.SAMPLE.model_copy(update={"bits": bits}))
        assert len(held.grids) == 3 * 7  # layers × matrices
        lost.append(small.nats(held.model) - small.nats(small.model))
    assert lost == sorted(lost) and lost[0] < 1e-3 < 0.02 < lost[-1]


def test_tied_embeddings_go_with_the_head(small: Small) -> None:
    held = rtn.apply(small.held(), small.given, rtn.SAMPLE.model_copy(update={"layers": ["lm_head"], "bits": 8}))
    assert held.model.model.embed_tokens.weight.equal(held.grids["lm_head"].values())
    assert small.nats(held.model) == pytest.approx(small.nats(small.model), abs=2e-3)


def test_a_table_of_embeddings_of_its_own_is_rounded_and_one_that_is_the_output_goes_with_it(small: Small) -> None:
    cfg = rtn.SAMPLE.model_copy(update={"layers": ["model.embed_tokens"], "bits": 8})
    with pytest.raises(ConfigError, match=r"expected linear layers named like 'model\.embed_tokens'"):
        rtn.apply(small.held(), small.given, cfg)
    held = small.held()
    head, table = held.model.lm_head, held.model.model.embed_tokens
    head.weight = torch.nn.Parameter(table.weight.detach().clone())
    rtn.apply(held, small.given, cfg)
    assert set(held.grids) == {"model.embed_tokens"}
    assert table.weight.equal(held.grids["model.embed_tokens"].values()) and not table.weight.equal(head.weight)
    shapes = {f"{name}.weight": Footprint(tuple(table.weight.shape), 32) for name in ("model.embed_tokens", "lm_head")}
    assert [one.bits for one in rtn.least(shapes, cfg).values()] == [8.5, 32]
    held.model.config.tie_word_embeddings = False
    distill.apply(held, small.given, distill.SAMPLE)
    assert table.weight.equal(held.grids["model.embed_tokens"].values()), "training leaves the table as it was rounded"


def test_only_a_pass_that_rounds_tables_may_name_one() -> None:
    context = Context("causal_lm", "transformers", False, {"model.embed_tokens.weight": (9, 4)})
    check_layers(context, ["model.embed_tokens"], rtn.TABLE)
    with pytest.raises(ConfigError, match="there are lm_head"):
        check_layers(context, ["model.embed_tokens"])
    tied = Context("causal_lm", "transformers", True, context.shapes)
    with pytest.raises(ConfigError, match="there are lm_head"):
        check_layers(tied, ["model.embed_tokens"], rtn.TABLE)
