"""A network's parameters by their kind: optimizers, decay and initialisation treat them differently."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch


class Groups(NamedTuple):
    """The parameters that are trained, each in one group."""

    matrices: list[torch.nn.Parameter]
    """Weights of hidden layers: two or more dimensions."""
    heads: list[torch.nn.Parameter]
    """The output layer, where it does not share the weights of the embedding."""
    tables: list[torch.nn.Parameter]
    """Embeddings."""
    others: list[torch.nn.Parameter]
    """Norms and biases."""

    def decayed(self, weight_decay: float) -> list[dict[str, Any]]:
        """Groups for one optimizer over all: matrices and heads decay, embeddings, norms and biases do not."""
        several = [([*self.matrices, *self.heads], weight_decay), ([*self.tables, *self.others], 0.0)]
        return [{"params": params, "weight_decay": decay} for params, decay in several if params]


def groups(model: Any) -> Groups:
    """The trained parameters of a network, or of a part of it, in the order in which it names them."""
    tables = {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.Embedding)}
    top = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    head = id(top.weight) if top is not None else None
    found = Groups([], [], [], [])
    for p in model.parameters():
        if p.requires_grad:
            kind = "tables" if id(p) in tables else "heads" if id(p) == head else "matrices" if p.ndim > 1 else "others"
            getattr(found, kind).append(p)
    return found


@contextmanager
def untouched(model: Any) -> Iterator[None]:
    """Whatever losses are tried inside, buffers and torch's generators are as before, and no gradient stays.

    Weights are not copied: nothing inside may move them.
    """
    kept = {name: value.detach().clone() for name, value in model.named_buffers()}
    try:
        with torch.random.fork_rng():
            yield
    finally:
        model.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, value in model.named_buffers():
                value.copy_(kept[name])
