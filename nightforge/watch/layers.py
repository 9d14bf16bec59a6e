"""Norms of gradients and weights, and how far a step moves the weights, a layer (a transformer block, a table) each."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from pydantic import Field

from nightforge.config import Config as BaseConfig
from nightforge.ranks import full
from nightforge.watch._names import layer


class Config(BaseConfig):
    """What a layer is."""

    depth: int = Field(ge=1, le=10)
    """Parts of a parameter's name, after the last number, that name its layer: 1 gives a block's, 2 a matrix's."""


SAMPLE = Config(depth=1)


class Layers:
    """See nightforge.watching.Watcher."""

    def __init__(self, model: Any, cfg: Config) -> None:
        self.layers = {p: layer(name, cfg.depth) for name, p in model.named_parameters()}
        self.old: dict[torch.nn.Parameter, torch.Tensor] = {}
        self.figures: dict[str, float] = {}

    def before(self) -> None:
        """Nothing to put on."""

    @torch.no_grad()
    def graded(self, moving: Sequence[torch.nn.Parameter]) -> None:
        """Norms as they are, and a copy of the weights to see how far they go in all moves of the step."""
        self.figures |= self._norms("grad_norm", {p: p.grad for p in moving if p.grad is not None})
        new = [p for p in moving if p not in self.old]
        self.old |= zip(new, torch._foreach_mul([p.detach() for p in new], 1.0), strict=True) if new else {}

    @torch.no_grad()
    def read(self) -> dict[str, float]:
        """`grad_norm/`, `weight_norm/` and `update_ratio/` (norm of the step ÷ norm of the weights) of each layer."""
        old, figures = self.old, self.figures
        self.old, self.figures = {}, {}
        if old:
            weights = self._norms("weight_norm", old)
            moves = dict(zip(old, torch._foreach_sub(list(old), list(old.values())), strict=True))
            moved = self._norms("update_ratio", moves)
            figures |= weights | {
                name: step / norm if norm else 0.0
                for (name, step), norm in zip(moved.items(), weights.values(), strict=True)
            }
        return figures

    def _norms(self, what: str, tensors: dict[torch.nn.Parameter, torch.Tensor]) -> dict[str, float]:
        """The norm of each layer's tensors together; one wait for an accelerator, not one a layer."""
        of: dict[str, list[int]] = defaultdict(list)
        for at, parameter in enumerate(tensors):
            of[self.layers[parameter]].append(at)
        norms = torch._foreach_norm(list(tensors.values())) if tensors else []
        whole = [full(norm) for norm in norms]
        squares = torch.stack(whole).double().square().tolist() if whole else []
        return {f"{what}/{name}": sum(squares[at] for at in several) ** 0.5 for name, several in of.items()}


def start(model: Any, cfg: Config) -> Layers:
    """Watch the layers of a network."""
    return Layers(model, cfg)
