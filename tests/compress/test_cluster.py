"""Codebooks against an exhaustive search, and their size by hand."""

from itertools import combinations

import pytest
import torch
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from nightforge.compress import cluster
from tests.small_lm import Small


def test_three_clusters_by_hand() -> None:
    weight = torch.tensor([[-1.5, -3.0, 0.0], [5.0, 0.5, 0.7]])
    torch.testing.assert_close(cluster.clustered(weight, 3), torch.tensor([[-2.25, -2.25, 0.0], [5.0, 0.6, 0.6]]))


def test_huffman_by_hand() -> None:
    """Counts 5, 2, 1, 1: codes of 1, 2, 3 and 3 bits, 15 in all; and 4 numbers of 32 bits with a length of 8 each."""
    assert cluster.huffman_bits([5, 1, 2, 1]) == 15 + 4 * 40
    assert cluster.indexed_bits([5, 1, 2, 1]) == 9 * 2 + 4 * 32
    assert cluster.huffman_bits([7]) == 7 + 40


@settings(deadline=None, max_examples=30)
@drawn(st.lists(st.integers(1, 1000), min_size=2, max_size=40))
def test_huffman_is_within_a_bit_of_the_entropy(counts: list[int]) -> None:
    shares = torch.tensor(counts).double() / sum(counts)
    entropy = float(-(shares * shares.log2()).sum()) * sum(counts)
    assert entropy - 1e-6 <= cluster.huffman_bits(counts) - 40 * len(counts) < entropy + sum(counts)


def test_near_the_best_partition() -> None:
    numbers = torch.randn(14, generator=torch.Generator().manual_seed(1)).sort().values
    best = min(
        sum(float((part - part.mean()).square().sum()) for part in torch.tensor_split(numbers, list(cuts)))
        for cuts in combinations(range(1, 14), 3)
    )
    assert float((cluster.clustered(numbers, 4) - numbers).square().sum()) < 1.5 * best


def test_few_numbers_a_layer_and_honest_figures(small: Small) -> None:
    held = small.held()
    held.model.model.layers[0].mlp.up_proj.weight.data[:, ::2] = 0
    held.model.model.layers[1].mlp.up_proj.weight.data.zero_()
    cluster.apply(held, small.given, cluster.SAMPLE)
    pruned = held.model.model.layers[0].mlp.up_proj.weight
    assert not pruned[:, ::2].any() and len(pruned.unique()) <= 17
    ((_, figures),) = held.notes
    assert figures["weights_mb_dense"] == pytest.approx(110_592 * 32 / 8e6)
    assert figures["weights_mb_huffman"] < figures["weights_mb_indices"] < 0.2 * figures["weights_mb_dense"]
    assert not held.grids


def test_more_entries_lose_less(small: Small) -> None:
    lost = [
        small.nats(cluster.apply(small.held(), small.given, cluster.Config(layers=["model.layers.*"], entries=n)).model)
        for n in (3, 256)
    ]
    assert lost[1] < lost[0] and lost[1] == pytest.approx(small.nats(small.model), abs=1e-3)
