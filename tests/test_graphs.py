"""Parts are found by watching, and a network with graphs in it does as before."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from nightforge import graphs
from nightforge.compress import _network
from nightforge.errors import DataError
from nightforge.export import onnx_graph
from tasks.hashing import size_mb
from tests import network_contracts as networks
from tests import tiny_graph


class Outer(torch.nn.Module):
    """Calls a layer, then a method that calls the same layer."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.nn.Linear(2, 2)

    def both(self, x: torch.Tensor) -> Any:
        """A method."""
        return self.inner(x), [x, x + 1]

    def later(self, x: torch.Tensor) -> Any:
        """Calls the layer, and gives a function that will."""
        self.inner(x)
        return self.inner


def test_parts_are_what_is_called_from_outside_any_other() -> None:
    model, x = Outer(), torch.ones(3, 2)

    def run() -> None:
        model.inner(x)
        model.both(x)
        model.both(x)

    parts = graphs.find(model, run)
    assert {name: len(part.calls) for name, part in parts.items()} == {"inner": 1, "both": 2}
    assert parts["both"].gives == [None, [None, None]]
    assert parts["both"].feeds()[0]["in0"].tolist() == x.tolist()
    assert "both" not in model.__dict__ and "forward" not in model.inner.__dict__, "the network was left watched"


def test_a_method_that_gives_no_tensors_is_looked_through() -> None:
    model, x = Outer(), torch.ones(3, 2)
    parts = graphs.find(model, lambda: model.later(x)(x))
    assert {name: len(part.calls) for name, part in parts.items()} == {"inner": 2}


def test_what_no_graph_can_do_is_refused() -> None:
    class Odd(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"a": x}

    model = torch.nn.Sequential(Odd())
    with pytest.raises(DataError, match=r"to give tensors or lists of them; got .* and dict"):
        graphs.find(model, lambda: model[0](torch.ones(1, 2)))
    net = tiny_graph.Net()
    z, y = torch.ones(2, 6), torch.tensor([0, 1])
    with pytest.raises(DataError, match="the same way each time"):
        graphs.find(net, lambda: (net.decode(z, y), net.decode(z, y, twice=True)))


def test_a_graph_takes_the_place_of_its_part() -> None:
    net, part, graph = tiny_graph.exported()
    other = tiny_graph.Net()
    for weight in other.parameters():
        torch.nn.init.zeros_(weight)
    other.load_state_dict(graphs.rest(net), strict=False)
    graphs.put(other, {"decode": graphs.runner(graph.SerializeToString(), part.gives)})
    z, y = torch.randn(7, 6), torch.arange(7) % 4
    torch.testing.assert_close(other.decode(z, y), net.decode(z, y), rtol=1e-4, atol=1e-5)
    assert float(other.scale) == 2, "what is of no part comes along"


PARTS = {
    "vae": {"encode", "decode"},
    "gan": {"generator"},
    "diffusion": {"forward"},
    "latent_diffusion": {"encode", "decode", "denoise"},
    "text_diffusion": {"forward"},
}


@pytest.mark.parametrize("family", sorted(_network.COMPATIBLE["family"]))
def test_every_family_scores_and_samples_with_graphs_as_without(family: str) -> None:
    network, given = networks.dense(family), networks.given(family)

    def works(model: Any) -> tuple[torch.Tensor, torch.Tensor]:
        module, cfg, rows = network.family.module, network.family.cfg, given.calibration
        score = module.score(model, cfg, rows.tensors, rows.seeds, given.judge)
        return score, module.sample(model, cfg, rows.tensors["y"], networks.SEED)

    wanted = works(network.model)
    parts = graphs.find(network.model, lambda: works(network.model))
    assert parts.keys() == PARTS[family]
    made = {path: onnx_graph.graph(network.model, part, onnx_graph.SAMPLE) for path, part in parts.items()}
    runners = {path: graphs.runner(graph.SerializeToString(), parts[path].gives) for path, graph in made.items()}
    other = networks.dense(family).model
    for found, value in zip(works(graphs.put(other, runners)), wanted, strict=True):
        torch.testing.assert_close(found, value, rtol=1e-3, atol=1e-3)


def test_the_share_of_weights_that_are_held_in_less_than_32_bits(tmp_path: Path) -> None:
    import copy

    from nightforge.compress import int8_weights

    net, part, graph = tiny_graph.exported()
    (tmp_path / "decode.onnx").write_bytes(graph.SerializeToString())
    assert graphs.changed_share(tmp_path) == 0
    made = int8_weights.rewrite(copy.deepcopy(graph), part.feeds(), int8_weights.SAMPLE)
    (tmp_path / "decode.onnx").write_bytes(made.SerializeToString())
    weights = [net.table.weight, net.enter.weight, net.grow.weight, net.leave.weight]
    integers, scales = sum(w.numel() for w in weights), 4 + 256 + 16 + 1
    others = 256 + 16 + 32 + 1 + scales  # biases, the norm, the scales
    assert graphs.changed_share(tmp_path) == pytest.approx(integers / (integers + others), rel=0.02)


def test_what_two_graphs_hold_is_stored_and_counted_once(tmp_path: Path) -> None:
    import copy

    net, part, graph = tiny_graph.exported()
    alone, twice = tmp_path / "alone", tmp_path / "twice"
    graphs.save(alone, {"decode": copy.deepcopy(graph)}, {}, {})
    graphs.save(twice, {"decode": copy.deepcopy(graph), "again": copy.deepcopy(graph)}, {}, {})
    shared = (twice / graphs.SHARED).stat().st_size
    assert not (alone / graphs.SHARED).exists(), "nothing is taken out of a single graph"
    assert shared == (256 * 6 + 256 + 16 * 16 * 16) * 4, "the product's matrix and bias, the transposed convolution"
    assert size_mb(twice) < size_mb(alone) * 1.5
    z, y = torch.randn(5, 6), torch.arange(5) % 4
    for name in ("decode", "again"):
        made = graphs.runner(str(twice / f"{name}.onnx"), part.gives)(z, y)
        torch.testing.assert_close(made, net.decode(z, y), rtol=1e-4, atol=1e-5)


def test_a_graph_is_held_against_what_it_stands_for() -> None:
    torch.manual_seed(0)
    model, x = Outer(), torch.randn(3, 2)
    part = graphs.find(model, lambda: (model.inner(x), model.inner(x + 1)))["inner"]
    graph = onnx_graph.graph(model, part, onnx_graph.SAMPLE)
    assert graphs.difference(graph, part) < 1e-6
    model.inner.weight.data[0, 0] = math.nan
    assert graphs.difference(onnx_graph.graph(model, part, onnx_graph.SAMPLE), part) == math.inf
    model.inner.weight.data[0, 0] = 0.0
    graph = onnx_graph.graph(model, part, onnx_graph.SAMPLE)
    model.inner.bias.data += 0.5
    largest = max(float(model.inner(one).abs().max().detach()) for one in (x, x + 1))
    assert 0.5 / largest == pytest.approx(graphs.difference(graph, part), rel=0.5)
