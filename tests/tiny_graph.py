"""A small network with a convolution, a transposed one, a matrix product, a table and a norm, and its graph."""

from functools import cache
from typing import Any

import torch

from nightforge import graphs
from nightforge.export import onnx_graph


class Net(torch.nn.Module):
    """Latents (rows, 6) and labels (rows,) → pictures (rows, 1, 8, 8)."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.table = torch.nn.Embedding(4, 6)
        self.enter = torch.nn.Linear(6, 256)
        self.grow = torch.nn.ConvTranspose2d(16, 16, 4, 2, padding=1)
        self.norm = torch.nn.GroupNorm(4, 16)
        self.leave = torch.nn.Conv2d(16, 1, 3, padding=1)
        self.unused = torch.nn.Linear(100, 100)
        self.scale = torch.nn.Parameter(torch.full((1,), 2.0))

    def decode(self, z: torch.Tensor, y: torch.Tensor, *, twice: bool = False) -> torch.Tensor:
        """What is a part."""
        hidden = self.enter(z + self.table(y)).view(-1, 16, 4, 4)
        out: torch.Tensor = self.leave(self.norm(self.grow(hidden)).relu())
        return out * 2 if twice else out


def watched() -> tuple[Net, graphs.Part]:
    """The network, and its part after two calls."""
    net = Net().eval()
    generator = torch.Generator().manual_seed(5)

    def run() -> None:
        for _ in range(6):
            net.decode(torch.randn(8, 6, generator=generator), torch.arange(8) % 4)

    with torch.no_grad():
        return net, graphs.find(net, run)["decode"]


@cache
def exported() -> tuple[Net, graphs.Part, Any]:
    """The network, its part, and the graph of it."""
    net, part = watched()
    return net, part, onnx_graph.graph(net, part, onnx_graph.SAMPLE)


def run(graph: bytes, part: graphs.Part, x: torch.Tensor) -> torch.Tensor:
    """What a graph gives for latents, the labels in turn."""
    made: torch.Tensor = graphs.runner(graph, part.gives)(x, torch.tensor([0, 1, 2, 3, 0])[: len(x)])
    return made
