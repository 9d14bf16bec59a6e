"""Weights in 8 bits, by hand: a scale for each output, around zero, and a bound on the error."""

import copy

import numpy as np

from nightforge.compress import _graph, int8_weights
from nightforge.compress._context import Context
from tests import tiny_graph


def test_rounding_by_hand() -> None:
    weight = _graph.Weight("w", np.array([[1.27, -0.64], [0.0, 0.0]], np.float32), 0)
    integers, scale = _graph.rounded(weight)
    assert integers.tolist() == [[127, -64], [0, 0]]
    np.testing.assert_allclose(scale, [0.01, 1.0], rtol=1e-6)
    columns, scales = _graph.rounded(weight._replace(axis=1))
    assert columns.tolist() == [[127, -127], [0, 0]]
    np.testing.assert_allclose(scales, [0.01, 0.64 / 127], rtol=1e-6)


def test_each_weight_has_its_scale_along_its_outputs() -> None:
    net, _, graph = tiny_graph.exported()
    axes = {w.values.shape: w.axis for w in _graph.weights(graph)}
    assert axes[(16, 16, 4, 4)] == 1 and axes[(1, 16, 3, 3)] == 0 and axes[(4, 6)] == 0
    matrix = next(w for w in _graph.weights(graph) if w.values.size == 6 * 256)
    assert matrix.values.shape[matrix.axis] == 256
    assert {tuple(net.table.weight.shape), tuple(net.leave.weight.shape)} <= set(axes)


def test_a_weight_that_is_turned_before_it_is_used_has_its_scale_along_its_outputs_too() -> None:
    from onnx import helper, numpy_helper

    table = numpy_helper.from_array(
        np.arange(12, dtype=np.float32).reshape(4, 3), name="table"
    )  # 4 outputs of 3 inputs
    nodes = [
        helper.make_node("Transpose", ["table"], ["turned"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "turned"], ["y"]),
    ]
    [weight] = _graph.weights(helper.make_model(helper.make_graph(nodes, "g", [], [], [table])))
    assert weight.name == "table" and weight.axis == 0


def test_no_weight_moves_by_more_than_half_a_step() -> None:
    _, part, graph = tiny_graph.exported()
    before = {w.name: w for w in _graph.weights(graph)}
    made = int8_weights.rewrite(copy.deepcopy(graph), part.feeds(), int8_weights.SAMPLE)
    assert not list(_graph.weights(made)), "a weight stayed in 32 bits"
    for weight in before.values():
        integers, scale = _graph.rounded(weight)
        steps = scale.reshape([-1 if i == weight.axis else 1 for i in range(weight.values.ndim)])
        assert np.abs(integers * steps - weight.values).max() <= scale.max() / 2 * 1.0001


def test_the_least_size_is_a_byte_a_weight() -> None:
    context = Context("vae", "array", False, {"a": (10, 100), "b": (100,)})
    assert int8_weights.least_mb(context, int8_weights.SAMPLE) == (1000 + 200) / 1e6
