"""Histograms of weights and gradients as quantiles, a layer (a transformer block, a table) each."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Annotated, Any

import torch
from pydantic import Field

from nightforge.config import Config as BaseConfig
from nightforge.watch._names import layer


class Config(BaseConfig):
    """Which quantiles, of what."""

    quantiles: list[Annotated[float, Field(ge=0, le=1)]] = Field(min_length=1)
    """Shares of the values that lie below; 0 and 1 give the least and the largest."""
    values: int = Field(ge=100)
    """Values of a tensor that are looked at, at most, evenly spaced in it."""
    depth: int = Field(ge=1, le=10)
    """Parts of a parameter's name, after the last number, that name its layer: 1 gives a block's, 2 a matrix's."""


SAMPLE = Config(quantiles=[0.05, 0.5, 0.95], values=500, depth=1)


class Histograms:
    """See nightforge.watching.Watcher."""

    def __init__(self, model: Any, cfg: Config) -> None:
        self.layers = {p: layer(name, cfg.depth) for name, p in model.named_parameters()}
        self.cfg = cfg
        self.figures: dict[str, float] = {}

    def before(self) -> None:
        """Nothing to put on."""

    @torch.no_grad()
    def graded(self, moving: Sequence[torch.nn.Parameter]) -> None:
        """Quantiles of what is about to move, and of its gradients."""
        of: dict[str, list[torch.nn.Parameter]] = defaultdict(list)
        for parameter in moving:
            of[self.layers[parameter]].append(parameter)
        found = {
            f"{what}/{{}}/{name}": self._quantiles(tensors)
            for name, several in of.items()
            for what, tensors in (("weight", several), ("gradient", [p.grad for p in several if p.grad is not None]))
        }
        for name, values in zip(found, torch.stack(list(found.values())).tolist(), strict=True):
            self.figures |= {name.format(q): v for q, v in zip(self.cfg.quantiles, values, strict=True)}

    def read(self) -> dict[str, float]:
        """`weight/<quantile>/<layer>` and `gradient/<quantile>/<layer>`."""
        figures, self.figures = self.figures, {}
        return figures

    def _quantiles(self, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        """(quantiles,) of all values together, those of each tensor thinned."""
        flat = [t.detach().flatten() for t in tensors]
        thin = torch.cat([t[:: max(1, -(-len(t) // self.cfg.values))].float() for t in flat])
        return torch.quantile(thin, thin.new_tensor(self.cfg.quantiles))


def start(model: Any, cfg: Config) -> Histograms:
    """Watch the weights and gradients of a network."""
    return Histograms(model, cfg)
