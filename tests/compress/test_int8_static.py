"""Ranges come from the calls that were watched, and without calls there are none."""

import copy

import numpy as np
import pytest
import torch

from nightforge.compress import int8_static
from nightforge.errors import DataError
from tests import tiny_graph


def test_weights_and_activations_are_integers() -> None:
    _, part, graph = tiny_graph.exported()
    made = int8_static.rewrite(copy.deepcopy(graph), part.feeds(), int8_static.SAMPLE)
    operators = [node.op_type for node in made.graph.node]
    assert operators.count("QuantizeLinear") >= 3, operators
    assert not any(t.data_type == t.FLOAT and len(t.dims) == 4 for t in made.graph.initializer), "a kernel in 32 bits"


@pytest.mark.parametrize("ranges", ["Entropy", "Percentile"])
def test_other_ranges_leave_out_what_is_rare(ranges: str) -> None:
    net, part, graph = tiny_graph.exported()
    feeds = [*part.feeds(), {"in0": np.zeros((3, 6), np.float32), "in1": np.zeros(3, np.int64)}]  # of another size
    made = int8_static.rewrite(copy.deepcopy(graph), feeds, int8_static.Config(ranges=ranges, calls_max=6))
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))
    wanted = net.decode(x, torch.arange(4))
    got = tiny_graph.run(made.SerializeToString(), part, x)
    assert float((got - wanted).norm() / wanted.norm()) < 0.3


def test_without_calls_there_are_no_ranges() -> None:
    with pytest.raises(DataError, match="expected calls"):
        int8_static.rewrite(tiny_graph.exported()[2], [], int8_static.SAMPLE)
