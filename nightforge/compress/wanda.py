"""The weights that matter least to what a layer gives, each weighed by the norm of what it is multiplied by.

Sun et al. 2023 (Wanda, 2306.11695, §3): |weight| · ‖input‖₂, compared within each output's row; no weight is changed.
"""

import torch

from nightforge.blocks import Moments
from nightforge.compress import _prune
from nightforge.compress._context import Context
from nightforge.compress._pass import Given, each_linear
from nightforge.held import Held

COMPATIBLE, KIND, AFTER = _prune.COMPATIBLE, _prune.KIND, _prune.AFTER
least = _prune.least


class Config(_prune.Pruning):
    """Which layers, and how many of their weights."""


SAMPLE = Config(layers=["model.layers.*"], sparsity=0.5)


def check(context: Context, cfg: Config) -> None:
    """Refuse another kind of model.

    Raises:
        ConfigError: it is not of a kind that this works on.
    """
    _prune.refuse("wanda", context)


def apply(held: Held, given: Given, cfg: Config) -> Held:
    """Prune layer by layer, each on what the pruned ones before it give; `held` is changed in place.

    Raises:
        DataError: a weight is not a finite number.
    """

    def make(name: str, weight: torch.Tensor, seen: Moments) -> torch.Tensor:
        return pruned(weight, seen.gram.diagonal(), cfg.sparsity)

    return each_linear(held, given, list(_prune.able(held, cfg.layers, cfg.sparsity)), make)


def pruned(weight: torch.Tensor, square_sums: torch.Tensor, sparsity: float | str) -> torch.Tensor:
    """The weight with zeros.

    Args:
        weight: (outputs, inputs).
        square_sums: Σ x² of each input (inputs,).
        sparsity: of each row, or n of m.
    """
    return weight.masked_fill(_prune.lowest(weight.abs() * square_sums.sqrt(), sparsity), 0)
