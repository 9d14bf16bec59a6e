"""A language model on its way through a recipe, with how its weights are held: passes change it, exporters write it."""

from collections.abc import Collection, Iterator
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
    pruned: dict[str, torch.Tensor] = field(default_factory=dict)
    """Name of a layer on a grid whose weight had zeros before → which weights were none: (outputs, inputs) bool. The
    others must stay zero; what merely was rounded to zero need not."""
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
            held.pruned[name] = layer.weight.detach() != 0
        held.grids[name] = read(tensors)
        layer.weight.data = held.grids[name].values()
    else:
        held.grids.pop(name, None)
        held.pruned.pop(name, None)
        layer.weight.data = tensors["weight"]


def stored_bits(held: Held, matrix_bits: int, but: Collection[int] = ()) -> float:
    """What the weights take as a file holds them: those on grids as integers, other matrices in so many bits a weight.

    Args:
        held: the model.
        matrix_bits: a weight of a matrix that is on no grid.
        but: ids of parameters that are not counted.
    """
    on_grids = {id(held.model.get_submodule(name).weight): grid.size_bits for name, grid in held.grids.items()}
    counted = [p for p in held.model.parameters() if id(p) not in but]
    return float(sum(on_grids.get(id(p), (matrix_bits if p.ndim == 2 else 32) * p.numel()) for p in counted))


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
