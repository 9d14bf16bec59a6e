"""Numbers shared by hash: least squares, and as few as it says."""

import pytest
import torch

from nightforge.compress import hashing
from tests.small_lm import Small


def test_so_few_numbers_the_same_for_the_same_seed() -> None:
    weight = torch.randn(20, 30, generator=torch.Generator().manual_seed(1))
    made = hashing.shared(weight, 50, 7)
    assert len(made.abs().unique()) <= 50
    assert made.equal(hashing.shared(weight, 50, 7)) and not made.equal(hashing.shared(weight, 50, 8))


def test_what_shares_already_stays_and_no_other_number_is_nearer() -> None:
    weight = torch.randn(20, 30, generator=torch.Generator().manual_seed(1))
    made = hashing.shared(weight, 50, 7)
    torch.testing.assert_close(hashing.shared(made, 50, 7), made)
    for number in made.abs().unique():
        here = made.abs() == number
        assert float((made * (weight - made))[here].sum()) == pytest.approx(0, abs=1e-5), "its gradient is zero"


def test_figures_and_no_runtime(small: Small) -> None:
    held = hashing.apply(small.held(), small.given, hashing.SAMPLE)
    ((told, figures),) = held.notes
    assert "no runtime" in told
    assert figures["weights_mb_hashed"] == pytest.approx(figures["weights_mb_dense"] / 8)
    assert small.nats(held.model) > small.nats(small.model)
