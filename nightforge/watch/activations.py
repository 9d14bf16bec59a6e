"""Dead and saturated units, of the outputs of every activation function that is a module of the network.

A unit (a channel of a picture, else an entry of the last dimension) is dead where its output stays near an asymptote
through a whole step: zero for ReLU, GELU, SiLU and their kin, where no gradient passes (Lu et al. 2019, Dying ReLU and
Initialization). Saturated is the share of outputs there (Glorot and Bengio 2010, section 3). An activation that is
called as a function and not as a module, or runs inside a compiled network, is not seen.
"""

from collections.abc import Sequence
from typing import Any

import torch
from pydantic import Field
from torch.nn import Module

from nightforge.config import Config as BaseConfig

HOMES = {"torch.nn.modules.activation", "transformers.activations"}
"""Modules of Python whose classes are activation functions."""
OTHERS = {"MultiheadAttention", "Softmax", "LogSoftmax", "Softmin", "Softmax2d"}
"""Of the same homes, and no function of one number."""
ASYMPTOTES = {
    "Tanh": (-1.0, 1.0),
    "Softsign": (-1.0, 1.0),
    "Hardtanh": (-1.0, 1.0),
    "Sigmoid": (0.0, 1.0),
    "Hardsigmoid": (0.0, 1.0),
}
"""Where the slope goes to zero; of any other at 0."""

INSIDE = True
"""It needs hooks, which a compiled network does not call."""


class Config(BaseConfig):
    """What counts as near."""

    near: float = Field(gt=0, le=0.5)
    """Distance from an asymptote below which an output is saturated; in units of the output."""


SAMPLE = Config(near=0.001)


class Activations:
    """See nightforge.watching.Watcher."""

    def __init__(self, model: Any, cfg: Config) -> None:
        self.modules: dict[str, Module] = {
            name: module
            for name, module in model.named_modules()
            if type(module).__module__ in HOMES and type(module).__name__ not in OTHERS
        }
        self.near = cfg.near
        self.hooks: list[Any] = []
        self.alive: dict[tuple[str, int], torch.Tensor] = {}
        self.near_and_all: dict[str, list[Any]] = {}

    def before(self) -> None:
        """Hook on every activation function."""
        self.hooks = [module.register_forward_hook(self._hook(name)) for name, module in self.modules.items()]

    def graded(self, moving: Sequence[torch.nn.Parameter]) -> None:
        """Nothing is asked of the gradients."""

    def read(self) -> dict[str, float]:
        """`dead_share/` of the units and `saturated_share/` of the outputs of each activation function."""
        for hook in self.hooks:
            hook.remove()
        alive, counts = self.alive, self.near_and_all
        self.hooks, self.alive, self.near_and_all = [], {}, {}
        figures: dict[str, float] = {}
        for name, (near, every) in counts.items():
            units = torch.cat([each for (of, _), each in alive.items() if of == name])
            figures |= {f"dead_share/{name}": 1 - float(units.double().mean())}
            figures |= {f"saturated_share/{name}": float(near) / every}
        return figures

    def _hook(self, name: str) -> Any:
        @torch.no_grad()
        def look(module: Module, inputs: Any, output: torch.Tensor) -> None:
            near = torch.zeros_like(output, dtype=torch.bool)
            for asymptote in ASYMPTOTES.get(type(module).__name__, (0.0,)):
                near |= (output - asymptote).abs_() < self.near
            unit = 1 if output.ndim == 4 else output.ndim - 1
            lives = ~near.transpose(0, unit).flatten(1).all(1)
            key = name, len(lives)  # one module may serve tensors of several widths
            self.alive[key] = self.alive[key] | lives if key in self.alive else lives
            seen = self.near_and_all.setdefault(name, [0, 0])
            seen[0], seen[1] = seen[0] + near.sum(), seen[1] + near.numel()

        return look


def start(model: Any, cfg: Config) -> Activations:
    """Watch the activation functions of a network."""
    return Activations(model, cfg)
