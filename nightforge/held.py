"""A language model on its way through a recipe, with how its weights are held: passes change it, exporters write it."""

from dataclasses import dataclass, field
from typing import Any

import torch

from nightforge.grids import Grid, read

Tensors = dict[str, torch.Tensor]


@dataclass(slots=True)
class Held:
    """A model on its way through a recipe, in evaluation mode; passes change it in place."""

    model: Any
    grids: dict[str, Grid] = field(default_factory=dict)
    """Name of a linear layer → how its weight is held on disk; the layer's own weight equals the grid's values."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Name of a layer that a pass could not work on → why."""


class Factored(torch.nn.Module):
    """A linear layer as two of a lower rank, which other passes see as layers of their own: x → up(down(x))."""

    def __init__(self, down: torch.nn.Linear, up: torch.nn.Linear) -> None:
        super().__init__()
        self.down, self.up = down, up

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(…, inputs) → (…, outputs)."""
        out: torch.Tensor = self.up(self.down(x))
        return out


def put(held: Held, name: str, layer: torch.nn.Linear, tensors: Tensors) -> None:
    """Give a layer its new weight: a grid's tensors, or a `weight`, which takes it off any grid."""
    if "ints" in tensors:
        held.grids[name] = read(tensors)
        layer.weight.data = held.grids[name].values()
    else:
        held.grids.pop(name, None)
        layer.weight.data = tensors["weight"]
