"""Halved weights are the nearest half-precision numbers; small tensors stay as they are."""

import copy

import numpy as np
from onnx.numpy_helper import to_array

from nightforge.compress import half_weights
from tests import tiny_graph


def test_tensors_from_the_least_size_on_are_halved() -> None:
    net, part, graph = tiny_graph.exported()
    made = half_weights.rewrite(copy.deepcopy(graph), part.feeds(), half_weights.Config(elements_min=100))
    kinds = {tuple(t.dims): t.data_type for t in made.graph.initializer if t.data_type in (1, 10)}
    assert kinds[(16, 16, 4, 4)] == 10 and kinds[(4, 6)] == 1 and kinds[(256,)] == 10
    half = next(to_array(t) for t in made.graph.initializer if tuple(t.dims) == (16, 16, 4, 4))
    assert np.array_equal(half, net.grow.weight.detach().numpy().astype(np.float16))
    assert part.feeds()[0]["in0"].shape == (8, 6)
