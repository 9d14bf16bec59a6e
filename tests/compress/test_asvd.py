"""Activation-aware factors by hand, at the ends of alpha, and against plain ones where inputs differ in size."""

import torch
from hypothesis import given as drawn
from hypothesis import strategies as st

from nightforge.compress import _factor, asvd
from nightforge.held import Factored
from tests.small_lm import Small


def product(found: dict[str, torch.Tensor]) -> torch.Tensor:
    return (found["up"] @ found["down"]).float()


def test_by_hand() -> None:
    """Sizes 16 and 1, so columns count 4 and 1: of 1 and 3 on the diagonal the first now is the larger, 4 to 3."""
    weight, sizes = torch.diag(torch.tensor([1.0, 3.0])), torch.tensor([16.0, 1.0])
    torch.testing.assert_close(product(asvd.split(weight, sizes, 1, 0.5)), torch.diag(torch.tensor([1.0, 0.0])))
    torch.testing.assert_close(product(asvd.split(weight, sizes, 1, 0.0)), torch.diag(torch.tensor([0.0, 3.0])))


@drawn(st.integers(0, 999), st.integers(1, 20), st.floats(0, 1))
def test_it_is_the_nearest_in_the_scaled_metric_and_plain_at_alpha_zero(seed: int, rank: int, alpha: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight, sizes = torch.randn(24, 32, generator=generator), torch.rand(32, generator=generator) + 0.01
    error = (weight - product(asvd.split(weight, sizes, rank, alpha))) * sizes**alpha
    dropped = torch.linalg.svdvals(weight * sizes**alpha)[rank:]
    torch.testing.assert_close(error.square().sum(), dropped.square().sum(), rtol=1e-3, atol=1e-4)
    plain = product(asvd.split(weight, sizes, rank, 0.0))
    torch.testing.assert_close(plain, product(_factor.truncated(weight, rank)), rtol=1e-3, atol=1e-4)


def test_outputs_lose_less_than_by_plain_factors_where_inputs_differ_in_size() -> None:
    generator = torch.Generator().manual_seed(4)
    weight = torch.randn(64, 128, generator=generator)
    x = torch.randn(500, 128, generator=generator) * torch.linspace(-2, 2, 128).exp2() ** 2
    aware = product(asvd.split(weight, x.abs().mean(0), 20, 1.0))
    half = product(asvd.split(weight, x.abs().mean(0), 20, 0.5))
    plain = product(_factor.truncated(weight, 20))
    lost = [float((x @ (weight - one).T).norm()) for one in (aware, half, plain)]
    assert lost[0] < lost[1] < 0.9 * lost[2]


def test_inputs_that_never_come_divide_nothing_by_zero() -> None:
    weight, sizes = torch.randn(8, 16, generator=torch.Generator().manual_seed(1)), torch.ones(16)
    sizes[::2] = 0
    assert product(asvd.split(weight, sizes, 3, 1.0)).isfinite().all()
    assert product(asvd.split(weight, torch.zeros(16), 3, 1.0)).isfinite().all()


def test_on_a_model(small: Small) -> None:
    held = asvd.apply(small.held(), small.given, asvd.SAMPLE)
    assert sum(isinstance(m, Factored) for m in held.model.modules()) == 3 * 7 and not held.skipped
    assert small.nats(small.model) < small.nats(held.model) < small.nats(small.model) + 1
