"""A language model on its way through a recipe, with how its weights are held: passes change it, exporters write it."""

from collections.abc import Iterator
from contextlib import contextmanager
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
    pruned: set[str] = field(default_factory=set)
    """Names of the layers on grids whose weights had zeros before: of these no zero may become anything else."""
    notes: list[tuple[str, dict[str, float]]] = field(default_factory=list)
    """What passes measured on their way: (name of the pass, figures)."""


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
        if name not in held.grids and bool((layer.weight == 0).any()):
            held.pruned.add(name)
        held.grids[name] = read(tensors)
        layer.weight.data = held.grids[name].values()
    else:
        held.grids.pop(name, None)
        held.pruned.discard(name)
        layer.weight.data = tensors["weight"]


@contextmanager
def multiplied_out(model: Any) -> Iterator[Any]:
    """The model with each Factored layer as the one linear layer that it stands for, while it is looked at."""
    found = {name: module for name, module in model.named_modules() if isinstance(module, Factored)}
    for name, factored in found.items():
        down, up = factored.down, factored.up
        whole = torch.nn.Linear(down.in_features, up.out_features, bias=up.bias is not None)
        whole.weight.data = up.weight.data @ down.weight.data
        if up.bias is not None:
            whole.bias.data = up.bias.data
        model.set_submodule(name, whole)
    try:
        yield model
    finally:
        for name, factored in found.items():
            model.set_submodule(name, factored)
