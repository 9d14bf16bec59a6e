"""Weights put to zero one column after the other, those to the right changed to make up for it.

Frantar & Alistarh 2023 (SparseGPT, 2301.00774, alg. 1): which of a block's weights go is chosen when the block is
reached, by weight² / [H⁻¹]²; n of m, at each m columns.
"""

import torch
from pydantic import Field

from nightforge.blocks import Moments
from nightforge.compress import _hessian, _prune
from nightforge.compress._context import Context
from nightforge.compress._pass import Given, each_linear
from nightforge.held import Held

COMPATIBLE, KIND, AFTER = _prune.COMPATIBLE, _prune.KIND, _prune.AFTER
least = _prune.least


class Config(_prune.Pruning):
    """Which layers, and how many of their weights."""

    damp: float = Field(gt=0, le=1)
    """Added to the diagonal of the Hessian, as a share of its mean; more where few tokens are calibrated on."""


SAMPLE = Config(layers=["model.layers.*"], sparsity=0.5, damp=0.01)


def check(context: Context, cfg: Config) -> None:
    """Refuse another kind of model.

    Raises:
        ConfigError: it is not of a kind that this works on.
    """
    _prune.refuse("sparsegpt", context)


def apply(held: Held, given: Given, cfg: Config) -> Held:
    """Prune layer by layer, each on what the pruned ones before it give; `held` is changed in place.

    Raises:
        DataError: a weight or an activation is not a finite number.
    """

    def make(name: str, weight: torch.Tensor, seen: Moments) -> torch.Tensor:
        weight[:, seen.gram.diagonal() == 0] = 0  # nothing comes in there: the first to go
        return pruned(weight, _hessian.inverse_root(seen.gram, cfg.damp), cfg.sparsity)

    return each_linear(held, given, list(_prune.able(held, cfg.layers, cfg.sparsity)), make)


def pruned(weight: torch.Tensor, root: torch.Tensor, sparsity: float | str) -> torch.Tensor:
    """The weight with zeros, the rest changed; `weight` is used up.

    Args:
        weight: (outputs, inputs).
        root: of the inverse Hessian, as `_hessian.inverse_root` gives it.
        sparsity: of each block of 128 columns over all outputs, or n of m.
    """
    pattern = _prune.parts(sparsity)
    width = pattern[1] if pattern else _hessian.BLOCK
    gone = torch.zeros_like(weight, dtype=torch.bool)

    def settle(now: torch.Tensor, at: int) -> torch.Tensor:
        if at % width == 0:
            part = slice(at, at + width)
            scores = (now[:, part] / root.diagonal()[part]).square()
            rows = scores if pattern else scores.reshape(1, -1)
            gone[:, part] = _prune.lowest(rows, sparsity).reshape(scores.shape)
        return now[:, at].masked_fill(gone[:, at], 0)

    return _hessian.sweep(weight, root, settle)
