"""Norms of gradients and weights, and how far a step moves the weights, a layer (a transformer block, a table) each."""

import re
from collections import defaultdict
from typing import Any

import torch
from pydantic import Field

from nightforge.config import Config as BaseConfig


class Config(BaseConfig):
    """What a layer is."""

    depth: int = Field(ge=1, le=10)
    """Parts of a parameter's name, after the last number, that name its layer: 1 gives a block's, 2 a matrix's."""


SAMPLE = Config(depth=1)


class Layers:
    """See nightforge.watching.Watcher."""

    def __init__(self, model: Any, cfg: Config) -> None:
        self.parameters: dict[str, list[torch.nn.Parameter]] = defaultdict(list)
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                self.parameters[layer(name, cfg.depth)].append(parameter)
        self.before_step: dict[str, list[torch.Tensor]] = {}
        self.figures: dict[str, float] = {}

    def before(self) -> None:
        """Nothing to put on."""

    @torch.no_grad()
    def graded(self) -> None:
        """Norms as they are, and a copy of the weights to see how far they go."""
        for name, several in self.parameters.items():
            graded = [p.grad for p in several if p.grad is not None]
            if graded:
                self.before_step[name] = [p.detach().clone() for p in several]
                self.figures[f"grad_norm/{name}"] = _norm(graded)
                self.figures[f"weight_norm/{name}"] = _norm([p.detach() for p in several])

    @torch.no_grad()
    def read(self) -> dict[str, float]:
        """`grad_norm/`, `weight_norm/` and `update_ratio/` (norm of the step ÷ norm of the weights) of each layer."""
        for name, old in self.before_step.items():
            moved = _norm(torch._foreach_sub([p.detach() for p in self.parameters[name]], old))
            weight = self.figures[f"weight_norm/{name}"]
            self.figures[f"update_ratio/{name}"] = moved / weight if weight else 0.0
        seen, self.figures, self.before_step = self.figures, {}, {}
        return seen


def start(model: Any, cfg: Config) -> Layers:
    """Watch the layers of a network."""
    return Layers(model, cfg)


def layer(name: str, depth: int) -> str:
    """The layer of a parameter: its name up to the last number and `depth` parts more, the weight's own left out."""
    parts = name.split(".")[:-1]
    numbered = max((i for i, part in enumerate(parts) if re.fullmatch("[0-9]+", part)), default=-1)
    return ".".join(parts[: numbered + depth] if numbered >= 0 else parts[: depth + 1]) or name


def _norm(tensors: Any) -> float:
    return float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(tensors)))))
