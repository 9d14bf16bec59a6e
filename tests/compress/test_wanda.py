"""Wanda by hand and against magnitude."""

import torch

from nightforge import blocks
from nightforge.compress import _prune, wanda
from tests.small_lm import Small


def test_by_hand() -> None:
    """Norms 1, 2, 3, 4: what counts is 4, 6, 6, 4 and 1, 2, 3, 40; each row loses its own two, equal ones in order."""
    weight = torch.tensor([[4.0, -3.0, 2.0, 1.0], [1.0, 1.0, -1.0, 10.0]])
    squares = torch.tensor([1.0, 4.0, 9.0, 16.0])
    assert wanda.pruned(weight, squares, 0.5).tolist() == [[0, -3, 2, 0], [0, 0, -1, 10]]
    assert wanda.pruned(weight, squares, "1 of 2").tolist() == [[0, -3, 2, 0], [0, 1, 0, 10]]


def test_inputs_of_one_size_make_it_magnitude_by_row() -> None:
    weight = torch.randn(8, 64, generator=torch.Generator().manual_seed(1))
    pruned = wanda.pruned(weight, torch.full((64,), 9.0), 0.25)
    bound = weight.abs().sort(dim=1).values[:, 15:16]
    assert torch.equal(pruned == 0, weight.abs() <= bound)


def test_a_layer_sees_what_the_pruned_ones_before_it_give(small: Small) -> None:
    held = wanda.apply(small.held(), small.given, wanda.SAMPLE)
    seen: dict[str, blocks.Moments] = {}
    name = "model.layers.2.mlp.down_proj"  # what goes in there has passed through pruned layers alone
    with torch.no_grad():
        blocks.walk(held.model, small.given.calibration, lambda _, layers, found: seen.update(found), [name])
    share = (held.model.get_submodule(name).weight == 0).float().mean(dim=1)
    assert (share == 0.5).all()
    assert seen[name].tokens == sum(int(rows.mask.sum()) for rows in small.given.calibration)


def test_outputs_lose_less_than_by_magnitude_where_inputs_differ_in_size() -> None:
    generator = torch.Generator().manual_seed(4)
    weight = torch.randn(32, 128, generator=generator)
    x = torch.randn(500, 128, generator=generator) * torch.linspace(-2, 2, 128).exp2() ** 2
    by_inputs = wanda.pruned(weight, x.square().sum(0), 0.5)
    by_size = weight.masked_fill(_prune.lowest(weight.abs(), 0.5), 0)
    assert (x @ (weight - by_inputs).T).norm() < 0.7 * (x @ (weight - by_size).T).norm()
