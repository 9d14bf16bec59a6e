"""Zeros in rounds: the schedule is kept, zeros stay, and training in between regains what pruning at once loses."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from nightforge.compress import _curve, gradual, magnitude
from nightforge.held import Tensors
from tests.small_lm import Small


def test_it_regains_what_pruning_at_once_loses(small: Small) -> None:
    held = gradual.apply(small.held(), small.given, gradual.SAMPLE)
    weight = held.model.get_submodule("model.layers.1.mlp.up_proj").weight
    assert float((weight == 0).float().mean()) == pytest.approx(0.6, abs=1e-3)
    assert weight[weight != 0].unique().numel() > 2_000
    at_once = magnitude.apply(small.held(), small.given, magnitude.SAMPLE.model_copy(update={"sparsity": 0.6}))
    lost = [small.nats(one.model) - small.nats(small.model) for one in (held, at_once)]
    assert lost[0] < 0.3 * lost[1]
    assert [name for name, _ in held.notes] == ["gradual, round 1", "gradual, round 2"]
    assert [figures["sparsity"] for _, figures in held.notes] == pytest.approx([0.6 * 7 / 8, 0.6])


def test_what_a_round_made_is_not_made_again(small: Small) -> None:
    kept: dict[str, Tensors] = {}
    made: list[str] = []

    def keep(name: str, make: Callable[[], Tensors]) -> Tensors:
        if name not in kept:
            made.append(name)
            kept[name] = make()
        return dict(kept[name])

    keeping = replace(small.given, keep=keep)
    first, again = (gradual.apply(small.held(), keeping, gradual.SAMPLE) for _ in range(2))
    assert made == ["trained_1", "trained_2"]
    pairs = zip(first.model.parameters(), again.model.parameters(), strict=True)
    assert all(one.equal(other) for one, other in pairs)


def test_the_curve_begins_at_the_dense_model_and_rises(small: Small) -> None:
    points = list(_curve.curve(magnitude, magnitude.SAMPLE, small.given, rates=(0.3, 0.6, 0.9)))
    assert [point.sparsity for point in points] == [0, 0.3, 0.6, 0.9]
    assert points[0].nats == pytest.approx(small.nats(small.model))
    assert points[0].nats < points[2].nats < points[3].nats
    assert points[1].nats < points[2].nats
