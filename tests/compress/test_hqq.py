"""HQQ: its parts by hand, and what it does to blocks with a few far weights."""

import pytest
import torch
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from nightforge import grids
from nightforge.compress import hqq, rtn
from nightforge.grids import Grid, Spec
from tests.small_lm import Small


def test_errors_within_the_threshold_are_none_and_far_ones_keep_their_sign() -> None:
    """|x| − |x|^(p−1)/β: 0.5 − 0.5^(−0.5)/2 < 0, and 4 − 4^(−0.5)/2 = 3.75."""
    assert hqq.shrunk(torch.tensor([0.0, 0.5, -4.0, 4.0]), 2.0, 0.5).tolist() == [0, 0, -3.75, 3.75]


def test_a_line_through_integers_by_hand() -> None:
    """Weights 0.5 · (integer − 3) give that scale and that zero back, whatever they were before."""
    ints = torch.tensor([[0, 3, 5, 7]], dtype=torch.uint8)
    was = Grid(Spec(3, 16, False), ints, torch.tensor([[0.3]]), torch.tensor([[1]], dtype=torch.uint8))
    scales, zeros = hqq.refitted(0.5 * (ints.float() - 3), was)
    assert scales.tolist() == [[pytest.approx(0.5)]] and zeros.tolist() == [[3]]


def test_blocks_of_one_value_or_of_zeros_keep_their_scale() -> None:
    for symmetric in (True, False):
        weight = torch.stack([torch.zeros(40), torch.full((40,), 0.7)])
        values = hqq.rounded(weight, Spec(4, 16, symmetric), 0.7, 5).values()
        torch.testing.assert_close(values, weight, rtol=2**-11, atol=0)


@settings(deadline=None, max_examples=30)
@drawn(st.integers(0, 999), st.sampled_from([2, 3, 4]), st.booleans(), st.integers(5, 90))
def test_no_block_loses_more_than_by_rounding(seed: int, bits: int, symmetric: bool, inputs: int) -> None:
    weight = torch.randn(6, inputs, generator=torch.Generator().manual_seed(seed)) ** 3
    spec = Spec(bits, 32, symmetric)
    nearest = grids.encode(weight, spec, *grids.fit(weight, spec))
    lost, before = (
        hqq.by_block((weight - one.values()).abs() ** 0.7, spec)
        for one in (hqq.rounded(weight, spec, 0.7, 10), nearest)
    )
    assert (lost <= before * (1 + 1e-6)).all()


def test_with_far_weights_it_loses_clearly_less_by_the_norm_that_it_fits() -> None:
    rng = torch.Generator().manual_seed(3)
    weight = torch.randn(64, 256, generator=rng)
    weight[:, ::37] *= 4
    for symmetric in (True, False):
        spec = Spec(3, 64, symmetric)
        nearest = grids.encode(weight, spec, *grids.fit(weight, spec)).values()
        lost, before = (
            float((weight - values).abs().pow(0.7).sum())
            for values in (hqq.rounded(weight, spec, 0.7, 20).values(), nearest)
        )
        assert lost < 0.9 * before


def test_on_a_model_it_loses_less_than_rounding(small: Small) -> None:
    at = {"bits": 2, "symmetric": False}
    ours = hqq.apply(small.held(), small.given, hqq.SAMPLE.model_copy(update=at))
    nearest = rtn.apply(small.held(), small.given, rtn.SAMPLE.model_copy(update=at))
    assert len(ours.grids) == 3 * 7
    assert small.nats(ours.model) < small.nats(nearest.model)
